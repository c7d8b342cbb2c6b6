"""From what came with a call to an identity: a bearer token, a client certificate, or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rollcall.domain.errors import NotAuthenticated
from rollcall.domain.identity import ANYONE, ANYONE_AT_ALL, Identity
from rollcall.edge.access.bearer import TokenVerifier
from rollcall.edge.access.callers import Callers, parse_callers
from rollcall.edge.access.keys import FileKeys, RemoteKeys, parse_keys
from rollcall.edge.access.watched import Watched
from rollcall.settings import AuthSettings

AUTHORIZATION = "authorization"
SCHEME = "bearer"
URI = "://"
Peer = Mapping[str, Iterable[bytes]]
"""What TLS tells of the other side, its certificate verified: gRPC's auth context."""


class Authenticator:
    """Says who calls, by the settings. Raises FileRejected where a file cannot be used.

    A token that comes counts, also beside a certificate: whoever presents one that is wrong is nobody.
    """

    def __init__(self, settings: AuthSettings) -> None:
        self._anyone = None if settings.required else _anyone(settings)
        self._callers: Watched[Callers] | None = None
        if settings.callers is not None:
            self._callers = Watched(parse_callers, settings.callers)
        self._tokens = _verifier(settings)

    async def identify(self, metadata: Iterable[tuple[str, str | bytes]], peer: Peer) -> Identity:
        """Say who calls. Raises NotAuthenticated, or CapacityError while an issuer's keys cannot be had."""
        if self._anyone is not None:
            return self._anyone
        authorizations = [str(value) for key, value in metadata if key == AUTHORIZATION]
        if authorizations:
            return await self._by_token(authorizations)
        names = tuple(_names(peer))
        if not names:
            message = "say who you are: metadata authorization: Bearer TOKEN, or a client certificate"
            raise NotAuthenticated(message)
        identity = self._callers.get().by_certificate(names) if self._callers else None
        if identity is None:
            message = "this certificate is nobody's here"
            raise NotAuthenticated(message)
        return identity

    async def _by_token(self, authorizations: list[str]) -> Identity:
        scheme, _, token = authorizations[0].partition(" ")
        if len(authorizations) > 1 or scheme.lower() != SCHEME or not token:
            message = "expected one authorization, of the form: Bearer TOKEN"
            raise NotAuthenticated(message)
        identity = self._callers.get().by_token(token) if self._callers else None
        if identity is not None:
            return identity
        if self._tokens is None:
            message = "the token is not valid here"
            raise NotAuthenticated(message)
        return await self._tokens.identify(token)


def _anyone(settings: AuthSettings) -> Identity:
    return ANYONE_AT_ALL if settings.dangerously_trust_anyone else ANYONE


def _verifier(settings: AuthSettings) -> TokenVerifier | None:
    if settings.jwt_keys_file is not None:
        keys: FileKeys | RemoteKeys = FileKeys(Watched(parse_keys, settings.jwt_keys_file))
    elif settings.jwt_keys_url:
        keys = RemoteKeys(settings.jwt_keys_url)
    else:
        return None
    return TokenVerifier(
        keys,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        roles_claim=settings.jwt_roles_claim,
        tenant_claim=settings.jwt_tenant_claim,
        sees_claim=settings.jwt_sees_claim,
    )


def _names(peer: Peer) -> Iterable[str]:
    """URIs, then DNS names. Neither is taken for the other: a URI has a scheme, and a DNS name has none."""
    uris, names = ([name.decode(errors="replace") for name in peer.get(kind, ())] for kind in ("peer_uri", "peer_dns"))
    return [*(name for name in uris if URI in name), *(name for name in names if URI not in name)]
