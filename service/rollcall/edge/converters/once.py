"""Idempotency keys: what stands for a key, and for the request that was made with it."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

from rollcall.audit.events import Once
from rollcall.domain.errors import InvalidInput

if TYPE_CHECKING:
    from google.protobuf.message import Message

MAX_KEY_CHARACTERS = 64
UNTOLD = ("idempotency_key", "reason", "rationale", "subject_ref", "filter")
"""Fields that do not count: what a log must not tell, not even to whoever guesses, and the key itself."""


def once(request: Message, actor: str, key: bytes) -> Once | None:
    """Read for which idempotency key of an actor a request is made; None without one. Raises InvalidInput."""
    message: Any = request
    given: str = message.idempotency_key
    if not given:
        return None
    if len(given) > MAX_KEY_CHARACTERS or not given.isprintable():
        raise InvalidInput.of("idempotency_key", f"must have at most {MAX_KEY_CHARACTERS} printable characters")
    told: Any = type(request)()
    told.CopyFrom(request)
    for name in UNTOLD:
        if name in told.DESCRIPTOR.fields_by_name:
            told.ClearField(name)
    method = told.DESCRIPTOR.name.encode()
    parts = (b"rollcall-once-1", actor.encode(), method, given.encode())
    return Once(
        key=_digest(key, *parts),
        request=_digest(key, b"rollcall-once-request-1", method, told.SerializeToString(deterministic=True)),
    )


def _digest(key: bytes, *parts: bytes) -> str:
    joined = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hmac.digest(key, joined, "sha256").hex()
