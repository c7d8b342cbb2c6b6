"""Reads the log entry by entry, with what each entry names: for whoever watches it from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import func, select

from rollcall.audit.archive import Archive
from rollcall.audit.schema import EVENT, LEAF, RECORD

BATCH = 100
"""Entries of one read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry, and the envelope of its record or the body of its event; the first of all has neither."""

    leaf_index: int
    entry: bytes
    envelope: bytes = field(repr=False)
    event: bytes = field(repr=False)


def entries(archive: Archive, start: int) -> list[Entry]:
    """Give the next entries from an index on, BATCH at most. Raises LogUnavailable."""
    with archive.reading() as connection:
        rows = connection.execute(
            select(LEAF.c.leaf_index, LEAF.c.entry, RECORD.c.envelope, EVENT.c.body)
            .outerjoin(RECORD, RECORD.c.record_id == LEAF.c.record_id)
            .outerjoin(EVENT, EVENT.c.leaf_index == LEAF.c.leaf_index)
            .where(LEAF.c.leaf_index >= start, archive.told(func.coalesce(LEAF.c.record_id, EVENT.c.record_id)))
            .order_by(LEAF.c.leaf_index)
            .limit(BATCH)
        ).all()
    return [
        Entry(
            leaf_index=int(row.leaf_index),
            entry=bytes(row.entry),
            envelope=bytes(row.envelope or b""),
            event=bytes(row.body or b""),
        )
        for row in rows
    ]
