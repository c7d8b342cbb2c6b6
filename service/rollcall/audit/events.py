"""What was done with records, as entries of the log: nothing that anybody does to a record is without a trace. Pure.

An event says who did what to which record, when, and in `details` with what result. Why, in somebody's own words, is
its note: sealed, because it may tell about the person whom the record is about, and erased with the record.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from rollcall.audit.canonical import canonical, sha256
from rollcall.audit.entries import VERSION
from rollcall.audit.sealing import KEY_BYTES, KeyEncryptionKey, Sealed, seal, unseal

SCHEMA = "rollcall-event-1"
NOTE = "note"
SERVER = "\u00a7 server"
"""What the log calls the server where it does something by its settings. Names of callers are ASCII."""


class EventKind(Enum):
    """What was done."""

    ACCESS = "access"
    """Sealed parts of a record were read."""
    ERASURE = "erasure"
    """Keys were destroyed: of one record, or of a person, or of what was kept long enough."""
    HOLD = "hold"
    """A record must not be erased, for a matter."""
    RELEASE = "release"
    """The matter no longer needs it."""
    REPLAY = "replay"
    """A record was worked out again and compared."""
    REVIEW = "review"
    """Somebody looked into a record."""
    EXPORT = "export"
    """Records were taken away, with their proofs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A note as it is stored, under a key of its own that `key_id` wraps."""

    key_id: str
    wrapped: bytes = field(repr=False)
    sealed: Sealed = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """That something is done once: what stands for the caller's idempotency key, and for the request, 64 digits each.

    Both are HMACs under a key of the operator's; the request's is over what the event tells in the clear anyway.
    """

    key: str
    request: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that was done. `about` names what it belongs to (an erasure, a matter, a review), `code` its result."""

    event_id: str
    kind: EventKind
    created_at: str
    actor: str
    record_id: str | None = None
    about: str = ""
    code: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    note: Note | None = None
    once: Once | None = None

    def body(self) -> bytes:
        """Write it as canonical bytes, which the entry names the digest of."""
        note = self.note
        return canonical(
            {
                "schema": SCHEMA,
                "event_id": self.event_id,
                "type": self.kind.value,
                "created_at": self.created_at,
                "actor": self.actor,
                "record_id": self.record_id,
                "about": self.about,
                "code": self.code,
                "details": dict(self.details),
                "note": None
                if note is None
                else {
                    "encryption_key": note.key_id,
                    "wrapped_key_sha256": sha256(note.wrapped),
                    "sealed_sha256": note.sealed.digest,
                },
                **({} if self.once is None else {"idempotency": self.once.key, "request": self.once.request}),
            }
        )

    def entry(self) -> bytes:
        """Write the entry of the log."""
        return canonical(
            {
                "v": VERSION,
                "type": self.kind.value,
                "event_id": self.event_id,
                "created_at": self.created_at,
                "event_sha256": sha256(self.body()),
            }
        )


def seal_note(event_id: str, text: str, key: KeyEncryptionKey) -> Note:
    """Seal a note under a new key that `key` wraps."""
    data_key = secrets.token_bytes(KEY_BYTES)
    sealed = seal(data_key, event_id, NOTE, text.encode(errors="surrogatepass"))
    return Note(key_id=key.id, wrapped=key.wrap(data_key), sealed=sealed)


def open_note(event_id: str, note: Note, key: KeyEncryptionKey) -> str:
    """Read a note; SealError."""
    return unseal(key.unwrap(note.wrapped), event_id, note.sealed).decode(errors="surrogatepass")
