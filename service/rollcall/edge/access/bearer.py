"""JSON Web Tokens of an OIDC issuer (RFC 7519, RFC 8725): verified, and read as identities."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jwt

from rollcall.domain.errors import NotAuthenticated
from rollcall.domain.identity import Identity, Role
from rollcall.edge.access.keys import KeySource

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures by a key that only the issuer has; which one a key is for the key itself says, never the token."""
LEEWAY_SECONDS = 30.0
"""By which the issuer's clock may differ."""
REQUIRED = ["exp", "sub", "iss", "aud"]
PRINTABLE = re.compile(r"[\x21-\x7e]{1,128}")


class TokenVerifier:
    """Verifies tokens of one issuer for one audience. Claims are named by `roles_claim`, `tenant_claim`, `sees_claim`.

    A dot leads into an object: "realm_access.roles". Roles that are not ours are left out; who has no tenant is a
    tenant of its own. Without a `sees_claim` everybody sees the records of all tenants; with one, those that it lists,
    and without it in a token none but their own tenant's.
    """

    def __init__(
        self,
        keys: KeySource,
        *,
        issuer: str,
        audience: str,
        roles_claim: str,
        tenant_claim: str,
        sees_claim: str | None = None,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._roles_claim = roles_claim
        self._tenant_claim = tenant_claim
        self._sees_claim = sees_claim

    async def identify(self, token: str) -> Identity:
        """Say whose token it is. Raises NotAuthenticated; CapacityError if the issuer's keys cannot be had."""
        claims = await self._verified(token)
        subject, tenant = claims["sub"], _claim(claims, self._tenant_claim)
        tenant = _name(subject if tenant is None else tenant)
        return Identity(
            name=_name(subject),
            tenant=tenant,
            roles=_roles(_claim(claims, self._roles_claim)),
            sees=None if self._sees_claim is None else _sees(_claim(claims, self._sees_claim), tenant),
        )

    async def _verified(self, token: str) -> Mapping[str, Any]:
        try:
            key = await self._keys.find(jwt.get_unverified_header(token).get("kid"))
            if key is None:
                message = "the token is signed with a key that is not the issuer's"
                raise NotAuthenticated(message)
            return jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_SECONDS,
                options={"require": REQUIRED, "enforce_minimum_key_length": True},
            )
        except jwt.ExpiredSignatureError:
            message = "the token has expired"
            raise NotAuthenticated(message) from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            message = "the token is not valid here"
            raise NotAuthenticated(message) from error


def _claim(claims: Mapping[str, Any], path: str) -> object:
    if path in claims:
        return claims[path]
    found: object = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _name(claim: object) -> str:
    if not isinstance(claim, str) or not PRINTABLE.fullmatch(claim):
        message = "subject and tenant of the token must be at most 128 printable ASCII characters"
        raise NotAuthenticated(message)
    return claim


def _sees(claim: object, tenant: str) -> frozenset[str]:
    """Read a list of tenants, or a text with blanks between."""
    names = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else [tenant]
    return frozenset(_name(name) for name in names)


def _roles(claim: object) -> frozenset[Role]:
    """Read a list of roles, or a text with blanks between, as OAuth writes scopes."""
    names = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []
    return frozenset(role for role in Role if role.value in names)
