"""A record as it goes into the spool and from there into the log: canonical envelope, wrapped key, sealed parts.

Everything that the operator's key does not protect is here already as it will be stored, so that no later step needs a
key or can change a byte. Pure but for the random nonces.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from rollcall.audit.parts import KEPT, SALT, parts
from rollcall.audit.record import Circumstances, Explained, canonical, envelope, sha256
from rollcall.audit.sealing import SCHEME, KeyEncryptionKey, Sealed, commitment, seal

_LENGTH = struct.Struct("<I")
_FIELDS = 3
"""Blobs of a payload: kind, nonce, ciphertext."""


class Unreadable(ValueError):
    """Bytes are no record of this version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A record, complete. `wrapped_key` (40 bytes) opens `payloads` for whoever holds the key-encryption key."""

    record_id: str
    envelope: bytes = field(repr=False)
    wrapped_key: bytes = field(repr=False)
    payloads: tuple[Sealed, ...] = field(repr=False)

    @property
    def envelope_sha256(self) -> str:
        """Digest of the envelope, hexadecimal."""
        return sha256(self.envelope)

    def encode(self) -> bytes:
        """Write it for the spool: blobs, each after its length."""
        payloads = ((sealed.kind.encode(), sealed.nonce, sealed.ciphertext) for sealed in self.payloads)
        blobs = (
            self.record_id.encode(),
            self.envelope,
            self.wrapped_key,
            *(blob for payload in payloads for blob in payload),
        )
        return b"".join(_LENGTH.pack(len(blob)) + blob for blob in blobs)

    @classmethod
    def decode(cls, data: bytes) -> Accepted:
        """Read what `encode` wrote; Unreadable."""
        blobs = list(_blobs(data))
        head, rest = blobs[:_FIELDS], blobs[_FIELDS:]
        if len(head) != _FIELDS or len(rest) % _FIELDS:
            message = "not a record"
            raise Unreadable(message)
        record_id, body, wrapped_key = head
        payloads = (rest[i : i + _FIELDS] for i in range(0, len(rest), _FIELDS))
        return cls(
            record_id=record_id.decode(),
            envelope=body,
            wrapped_key=wrapped_key,
            payloads=tuple(
                Sealed(kind=kind.decode(), nonce=nonce, ciphertext=ciphertext) for kind, nonce, ciphertext in payloads
            ),
        )


def accept(told: Explained, where: Circumstances, *, salt: bytes, data_key: bytes, key: KeyEncryptionKey) -> Accepted:
    """Make the record of an answer. `salt` and `data_key` are 32 random bytes each, of this record alone."""
    contents = parts(told)
    kept = KEPT[where.mode]
    record_id = where.record_id
    sealed = {kind: seal(data_key, record_id, kind, content) for kind, content in contents.items() if kind in kept}
    sealed_salt = seal(data_key, record_id, SALT, salt)
    wrapped_key = key.wrap(data_key)
    integrity = {
        "canonicalization": "RFC 8785",
        "hash": "SHA-256",
        "sealing": SCHEME,
        "encryption_key": key.id,
        "wrapped_key_sha256": sha256(wrapped_key),
        "salt_sha256": sealed_salt.digest,
        "parts": [
            {
                "kind": kind,
                "bytes": len(content),
                "commitment": commitment(salt, kind, content),
                "sealed_sha256": sealed[kind].digest if kind in sealed else None,
            }
            for kind, content in contents.items()
        ],
    }
    return Accepted(
        record_id=record_id,
        envelope=canonical(envelope(told, where, integrity)),
        wrapped_key=wrapped_key,
        payloads=(sealed_salt, *sealed.values()),
    )


def _blobs(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        end = at + _LENGTH.size
        if end > len(data):
            message = "a length is cut off"
            raise Unreadable(message)
        at, end = end, end + _LENGTH.unpack_from(data, at)[0]
        if end > len(data):
            message = "a blob is cut off"
            raise Unreadable(message)
        yield data[at:end]
        at = end
