"""The file of callers: who there is, by which tokens and certificates they are known, and their roles.

    [reviews-backend]
    tenant = "reviews"                       # the name, if left out
    roles = ["caller"]
    sees = ["reviews"]                       # tenants whose records it may ask of; all, if left out
    token_sha256 = ["9f86d081884c7d65..."]   # `rollcall token` makes a token and its digest; two while one is replaced
    certificate = ["spiffe://prod/reviews"]  # URI or DNS name of a client certificate

Tokens are long random strings, so that a plain digest keeps them safe. Messages never quote a value: somebody may have
written a token where its digest belongs.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from rollcall.domain.identity import Identity, Role

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@/-]{0,127}")
DIGEST = re.compile(r"[0-9a-f]{64}")
KEYS = ("tenant", "roles", "sees", "token_sha256", "certificate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Callers:
    """Identities by token digest and by certificate name."""

    tokens: tuple[tuple[bytes, Identity], ...]
    certificates: Mapping[str, Identity]

    def by_token(self, token: str) -> Identity | None:
        """Find who has a token, in the same time whoever it is, or nobody."""
        digest = token_digest(token).encode()
        found = None
        for known, identity in self.tokens:
            if hmac.compare_digest(known, digest):
                found = identity
        return found

    def by_certificate(self, names: Iterable[str]) -> Identity | None:
        """Find whose certificate has one of these names."""
        return next((self.certificates[name] for name in names if name in self.certificates), None)


def token_digest(token: str) -> str:
    """Return what the file holds of a token: SHA-256 in hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()


def parse_callers(content: bytes) -> Callers:
    """Read the file. Raises ValueError with the place of what is wrong."""
    try:
        table = tomllib.loads(content.decode())
    except ValueError:
        message = "is not valid TOML"
        raise ValueError(message) from None  # its message quotes what it found
    tokens: dict[str, Identity] = {}
    certificates: dict[str, Identity] = {}
    for name, entry in table.items():
        identity = _identity(name, entry)
        for key, found in (("token_sha256", tokens), ("certificate", certificates)):
            for value in _strings(name, entry, key):
                if key == "token_sha256" and not DIGEST.fullmatch(value):
                    message = f"{name}.{key}: expected digests of 64 hexadecimal digits in lower case"
                    raise ValueError(message)
                if value in found:
                    message = f"{name}.{key}: {found[value].name} has the same"
                    raise ValueError(message)
                found[value] = identity
    return Callers(
        tokens=tuple((digest.encode(), identity) for digest, identity in tokens.items()), certificates=certificates
    )


def _identity(name: str, entry: object) -> Identity:
    if not NAME.fullmatch(name):
        message = "expected names of callers of letters, digits and . _ @ / -, at most 128"
        raise ValueError(message)
    if not isinstance(entry, dict):
        message = f"{name}: expected a section"
        raise ValueError(message)  # noqa: TRY004 - one kind of error for all that is wrong
    for key in entry.keys() - set(KEYS):
        message = f"{name}.{key}: expected one of {', '.join(KEYS)}"
        raise ValueError(message)
    tenant = entry.get("tenant", name)
    if not isinstance(tenant, str) or not NAME.fullmatch(tenant):
        message = f"{name}.tenant: expected a name like that of a caller"
        raise ValueError(message)
    known = {role.value: role for role in Role}
    roles = tuple(_strings(name, entry, "roles"))
    if not roles or not set(roles) <= known.keys():
        message = f"{name}.roles: expected some of {', '.join(known)}"
        raise ValueError(message)
    sees = frozenset(_strings(name, entry, "sees")) if "sees" in entry else None
    if sees is not None and not all(NAME.fullmatch(each) for each in sees):
        message = f"{name}.sees: expected names of tenants"
        raise ValueError(message)
    return Identity(name=name, tenant=tenant, roles=frozenset(known[role] for role in roles), sees=sees)


def _strings(name: str, entry: Mapping[str, object], key: str) -> Iterator[str]:
    value = entry.get(key, [])
    values = value if isinstance(value, list) else [value]
    for each in values:
        if not isinstance(each, str) or not each:
            message = f"{name}.{key}: expected text, or a list of it"
            raise ValueError(message)
        yield each
