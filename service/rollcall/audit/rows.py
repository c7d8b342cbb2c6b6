"""Records and events as rows of the database. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table

from rollcall.audit.accepted import Accepted
from rollcall.audit.entries import record_entry
from rollcall.audit.events import Event
from rollcall.audit.merkle import leaf_hash
from rollcall.audit.schema import DATA_KEY, LEAF, PAYLOAD, RECORD, REFERENCE, columns_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """A record with its index in the log, and what its envelope says.

    `dead`: its subject's key is destroyed, so that nothing of it can be kept.
    """

    record: Accepted
    body: Mapping[str, Any]
    index: int
    dead: bool


def leaf_of(numbered: Numbered) -> dict[str, Any]:
    """Make a record's entry and its row."""
    record, body = numbered.record, numbered.body
    entry = record_entry(
        kind=body["type"],
        record_id=record.record_id,
        created_at=body["created_at"],
        envelope_sha256=record.envelope_sha256,
    )
    return {
        "leaf_index": numbered.index,
        "type": body["type"],
        "record_id": record.record_id,
        "entry": entry,
        "leaf_hash": leaf_hash(entry),
    }


def rows_of(records: Sequence[Numbered], leaves: Sequence[Mapping[str, Any]]) -> dict[Table, list[Mapping[str, Any]]]:
    """Every row of some records, by table, in an order in which they can be inserted."""
    alive = [(numbered.record, numbered.body) for numbered in records if not numbered.dead]
    return {
        LEAF: list(leaves),
        RECORD: [columns_of(numbered.body) | {"envelope": numbered.record.envelope} for numbered in records],
        DATA_KEY: [
            {
                "record_id": record.record_id,
                "key_id": body["integrity"]["encryption_key"],
                "wrapped": record.wrapped_key,
            }
            for record, body in alive
        ],
        PAYLOAD: [
            {
                "record_id": record.record_id,
                "kind": sealed.kind,
                "nonce": sealed.nonce,
                "ciphertext": sealed.ciphertext,
            }
            for record, _ in alive
            for sealed in record.payloads
        ],
        REFERENCE: [
            {"record_id": record.record_id, "kind": found.kind.value, "digest": found.digest, "nonce": found.nonce}
            for record, _ in alive
            for found in record.references
        ],
    }


def event_row(index: int, event: Event) -> dict[str, Any]:
    """Make the row of an event."""
    return {
        "leaf_index": index,
        "event_id": event.event_id,
        "type": event.kind.value,
        "created_at": event.created_at,
        "actor": event.actor,
        "record_id": event.record_id,
        "about": event.about,
        "code": event.code,
        "body": event.body(),
        "idempotency": event.once.key if event.once else None,
    }


def note_rows(event: Event) -> list[dict[str, Any]]:
    """Make the row of an event's note, if it has one."""
    if event.note is None:
        return []
    sealed = event.note.sealed
    return [
        {
            "event_id": event.event_id,
            "key_id": event.note.key_id,
            "wrapped": event.note.wrapped,
            "nonce": sealed.nonce,
            "ciphertext": sealed.ciphertext,
        }
    ]
