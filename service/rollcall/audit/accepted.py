"""A record as it goes into the spool and from there into the log: canonical envelope, wrapped keys, sealed parts.

Everything that the operator's key does not protect is here already as it will be stored, so that no later step needs a
key or can change a byte. Pure but for the random nonces.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from rollcall.audit.canonical import canonical, sha256
from rollcall.audit.parts import KEPT, SALT, parts
from rollcall.audit.record import Circumstances, Told, envelope
from rollcall.audit.references import Reference, ReferenceKind
from rollcall.audit.sealing import SCHEME, KeyEncryptionKey, Sealed, commitment, seal

_LENGTH = struct.Struct("<I")
_FIELDS = 3
"""Blobs of each thing that belongs to a record: what it is, and two more."""
_REFERENCE, _SUBJECT_KEY = "reference:", "subject key"


class Unreadable(ValueError):
    """Bytes are no record of this version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """A subject's key as it is stored: what records call it, and 40 bytes that the operator's key opens."""

    key_id: str
    wrapped: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A record, complete. `wrapped_key` (40 bytes) opens `payloads` for whoever holds the key that wraps it.

    That is the `subject_key` where a subject is named, else the operator's.
    """

    record_id: str
    envelope: bytes = field(repr=False)
    wrapped_key: bytes = field(repr=False)
    payloads: tuple[Sealed, ...] = field(repr=False)
    references: tuple[Reference, ...] = ()
    subject_key: WrappedKey | None = None

    @property
    def envelope_sha256(self) -> str:
        """Digest of the envelope, hexadecimal."""
        return sha256(self.envelope)

    def encode(self) -> bytes:
        """Write it for the spool: blobs, each after its length."""
        rows = [(sealed.kind, sealed.nonce, sealed.ciphertext) for sealed in self.payloads]
        rows += [(_REFERENCE + found.kind.value, found.nonce, found.digest) for found in self.references]
        if self.subject_key is not None:
            rows.append((_SUBJECT_KEY, self.subject_key.key_id.encode(), self.subject_key.wrapped))
        blobs = (
            self.record_id.encode(),
            self.envelope,
            self.wrapped_key,
            *(blob for kind, *two in rows for blob in (kind.encode(), *two)),
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
        payloads, references, subject_key = [], [], None
        for kind, first, second in ((rest[i].decode(), rest[i + 1], rest[i + 2]) for i in range(0, len(rest), _FIELDS)):
            if kind == _SUBJECT_KEY:
                subject_key = WrappedKey(key_id=first.decode(), wrapped=second)
            elif kind.startswith(_REFERENCE):
                named = ReferenceKind(kind.removeprefix(_REFERENCE))
                references.append(Reference(kind=named, nonce=first, digest=second))
            else:
                payloads.append(Sealed(kind=kind, nonce=first, ciphertext=second))
        return cls(
            record_id=record_id.decode(),
            envelope=body,
            wrapped_key=wrapped_key,
            payloads=tuple(payloads),
            references=tuple(references),
            subject_key=subject_key,
        )


def accept(
    told: Told,
    where: Circumstances,
    *,
    salt: bytes,
    data_key: bytes,
    operator: KeyEncryptionKey,
    subject: KeyEncryptionKey | None = None,
    references: tuple[Reference, ...] = (),
) -> Accepted:
    """Make the record of an answer. `salt` and `data_key` are 32 random bytes each, of this record alone.

    The data key is wrapped by the key of the `subject`, where the request names one, else by the operator's.
    """
    contents = parts(told)
    kept = KEPT[where.mode]
    record_id = where.record_id
    sealed = {kind: seal(data_key, record_id, kind, content) for kind, content in contents.items() if kind in kept}
    sealed_salt = seal(data_key, record_id, SALT, salt)
    key = subject or operator
    wrapped_key = key.wrap(data_key)
    subject_key = None if subject is None else WrappedKey(key_id=subject.id, wrapped=operator.wrap(subject.key))
    integrity = {
        "canonicalization": "RFC 8785",
        "hash": "SHA-256",
        "sealing": SCHEME,
        "encryption_key": key.id,
        "wrapped_key_sha256": sha256(wrapped_key),
        "subject_key": None
        if subject_key is None
        else {
            "id": subject_key.key_id,
            "encryption_key": operator.id,
            "wrapped_key_sha256": sha256(subject_key.wrapped),
        },
        "salt_sha256": sealed_salt.digest,
        "references": [{"kind": found.kind.value, "commitment": found.commitment} for found in references],
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
        references=references,
        subject_key=subject_key,
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
