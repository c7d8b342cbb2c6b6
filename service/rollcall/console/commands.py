"""The command that serves the console, by itself or beside a demonstration server."""
# ruff: noqa: T201 - it talks to whoever started it

from __future__ import annotations

import argparse
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rollcall.audit.notes import NoteError, Verifier
from rollcall.console.options import Connect, ConsoleOptions, OpenId, problems
from rollcall_client import AuditClient, errors

STOP_SECONDS = 5
INSTALL = "the console needs its extra: pip install 'rollcall[console]'"


class ConsoleError(Exception):
    """The console cannot be served: one line for each reason."""

    def __init__(self, *lines: str) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


def read_options(options: argparse.Namespace, target: str) -> ConsoleOptions:
    """Read what was asked for. Raises ConsoleError, OSError for a file."""
    open_id = None
    if options.oidc_issuer:
        if not options.oidc_client or options.oidc_secret_file is None:
            message = "--oidc-issuer: needs --oidc-client and --oidc-secret-file"
            raise ConsoleError(message)
        open_id = OpenId(
            issuer=options.oidc_issuer,
            client_id=options.oidc_client,
            client_secret=options.oidc_secret_file.read_text(encoding="utf-8").strip(),
            sends=options.oidc_sends,
        )
    try:
        log_key = Verifier.parse(options.log_key.read_text(encoding="utf-8")) if options.log_key else None
    except NoteError as error:
        message = f"--log-key: {error}"
        raise ConsoleError(message) from error
    found = ConsoleOptions(target=target, public_url=options.public_url, log_key=log_key, open_id=open_id)
    wrong = problems(found, options.host)
    if wrong:
        raise ConsoleError(*wrong)
    return found


def console(options: argparse.Namespace) -> None:
    """Serve the console until interrupted. Raises ConsoleError."""
    if not options.demo:
        read = read_options(options, options.target)
        connect = connecting(options.target, ca=options.ca, cert=options.cert, key=options.key)
        serve(
            read,
            connect,
            host=options.host,
            port=options.port,
            ready=lambda url: print(f"The console: {url}", flush=True),
        )
        return
    from rollcall.console.demo import PEOPLE, demonstration  # noqa: PLC0415 - for the demonstration alone

    print("Starting a demonstration server, and leaving a few records ...", flush=True)
    with demonstration() as made:
        read = read_options(options, made.server.target)

        def ready(url: str) -> None:
            print(f"\nThe console: {url}\n\nSign in as one of these; it takes two to close a review:")
            for name, token in made.tokens.items():
                print(f"  {name:5}{token}   ({', '.join(PEOPLE[name])})")
            print("\nCtrl-C ends both.", flush=True)

        serve(read, connecting(made.server.target), host=options.host, port=options.port, ready=ready)


def serve(options: ConsoleOptions, connect: Connect, *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until interrupted. Raises ConsoleError where the extra is missing, OSError where the port is taken."""
    try:
        import uvicorn  # noqa: PLC0415 - an extra

        from rollcall.console.app import console  # noqa: PLC0415 - an extra
    except ImportError as error:
        message = f"{INSTALL} ({error.name} is missing)"
        raise ConsoleError(message) from error
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listening, suppress(KeyboardInterrupt):
        # No access log: addresses hold filters, and those may name people.
        config = uvicorn.Config(
            console(options, connect),
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        ready(options.public_url or f"http://{host}:{listening.getsockname()[1]}")
        uvicorn.Server(config).run(sockets=[listening])


def connecting(target: str, **security: str | Path | None) -> Connect:
    """Make what opens connections to the service as somebody."""

    def connect(token: str | None) -> AuditClient:
        if token is None and security.get("cert"):
            # The certificate is the console's: nobody may act as it for want of a token.
            message = "say who you are, by a token"
            raise errors.AccessDenied(message, code="UNAUTHENTICATED")
        return AuditClient(target, token=token, **security)  # type: ignore[arg-type]  # ca, cert and key by name

    return connect
