"""An issuer of tokens, made with `cryptography` alone: what verifies them is a library that had no part in them."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ISSUER = "https://issuer.example"
AUDIENCE = "rollcall"


def encoded(data: bytes) -> str:
    """Write bytes as RFC 7515 does."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True, kw_only=True)
class Issuer:
    """Signs with Ed25519 (RFC 8037)."""

    key_id: str = "first"
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def public(self) -> dict[str, str]:
        """Its public key (RFC 7517)."""
        raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {"kty": "OKP", "crv": "Ed25519", "x": encoded(raw), "kid": self.key_id, "use": "sig"}

    def keys(self, *others: Issuer) -> bytes:
        """Write its key and those of others as a set."""
        return json.dumps({"keys": [each.public for each in (self, *others)]}).encode()

    def token(self, header: dict[str, Any] | None = None, **claims: Any) -> str:  # noqa: ANN401 - JSON
        """Sign a token that is good for an hour but for what is given; what is None is left out."""
        now = int(time.time())
        usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "reviews-backend", "exp": now + 3600, "roles": ["caller"]}
        body = {name: value for name, value in (usual | claims).items() if value is not None}
        headers = {"alg": "EdDSA", "typ": "JWT", "kid": self.key_id} | (header or {})
        head = {name: value for name, value in headers.items() if value is not None}
        parts = ".".join(encoded(json.dumps(part).encode()) for part in (head, body))
        return f"{parts}.{encoded(self.key.sign(parts.encode()))}"
