"""What an operator can set of a console."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from rollcall.audit.notes import Verifier
from rollcall_client import AuditClient

Connect = Callable[[str | None], AuditClient]
"""Opens a connection to the service that says who asks by a token; None for a service that asks nobody."""
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenId:
    """Whose word counts for who somebody is: an issuer of OpenID Connect, and what it knows this console by.

    `sends` is the token that the service gets: "access_token", or "id_token" where access tokens are opaque.
    """

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    sends: str = "access_token"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleOptions:
    """How a console is reached and whom it asks.

    `public_url` is where browsers find it ("" for the loopback); `target` names the service for people; `log_key` is
    the log's verifier key as somebody else than the service gave it; `open_id` None lets people sign in by a token.
    """

    target: str
    public_url: str = ""
    log_key: Verifier | None = None
    open_id: OpenId | None = None

    @property
    def secure(self) -> bool:
        """Whether browsers come by https."""
        return self.public_url.startswith("https://")

    @property
    def hosts(self) -> list[str]:
        """Names by which browsers may call it; any other is somebody's trick."""
        return [urlsplit(self.public_url).hostname or "", *LOOPBACK_NAMES] if self.public_url else [*LOOPBACK_NAMES]


def problems(options: ConsoleOptions, host: str) -> list[str]:
    """Say what must not be: sessions of people beyond this machine without https, an issuer that knows no way back."""
    found = []
    address = urlsplit(options.public_url)
    if options.public_url and not (
        address.scheme in {"http", "https"} and address.hostname and address.path in {"", "/"}
    ):
        found.append("--public-url: expected https://NAME, without a path")
    if not _is_loopback(host) and not options.secure:
        found.append(
            "--host: beyond the loopback browsers must come by https: put a proxy that speaks TLS in front, and "
            "say where with --public-url https://NAME"
        )
    if options.open_id is not None and not options.public_url:
        found.append("--oidc-issuer: needs --public-url, where the issuer sends people back to")
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
