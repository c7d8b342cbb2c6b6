"""The log's database: records, their keys and payloads, and the tree over them, appended to in whole transactions.

One batch is one transaction; it is committed only if the log still has the size that the batch was computed with
(compare and set), so two writers cannot give the same index twice, nor leave a gap. A record that is there already is
not taken again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import alembic.command
from alembic.config import Config
from sqlalchemy import Connection, Engine, insert, select, update

from rollcall.audit import queries, tiles
from rollcall.audit.accepted import Accepted
from rollcall.audit.canonical import timestamp
from rollcall.audit.database import Database, open_database, scrub, writing
from rollcall.audit.entries import GENESIS, genesis_entry
from rollcall.audit.events import Event, Once
from rollcall.audit.merkle import leaf_hash, root
from rollcall.audit.notes import Checkpoint, Signer
from rollcall.audit.rows import Numbered, event_row, leaf_of, note_rows, rows_of
from rollcall.audit.schema import CHECKPOINT, EVENT, LEAF, LOG, NOTE, SUBJECT_KEY, TILE

MIGRATIONS = "rollcall.audit:migrations"
_LOG_ID = 1


class LogMoved(Exception):
    """Another writer has appended meanwhile; nothing of this batch was committed."""


class WrongLog(Exception):
    """The database is the log of another origin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """An event that was logged before: its index, and its body, read."""

    leaf_index: int
    body: Mapping[str, Any] = field(repr=False)


@dataclass(slots=True, kw_only=True)
class Acting:
    """A transaction in which something is done, and the events that tell of it."""

    connection: Connection
    size: int
    events: list[Event] = field(default_factory=list)
    once: Once | None = None
    """For which idempotency key it is done; the first event says so."""
    before: Before | None = None
    """What was done for this key before: then nothing is to be done."""

    def log(self, event: Event) -> int:
        """Have an event logged when the transaction ends; return the index that it gets."""
        self.events.append(event if self.events or self.once is None else replace(event, once=self.once))
        return self.size + len(self.events) - 1


@dataclass(slots=True, kw_only=True)
class Store:
    """A log in its database. Each method is one transaction; raises sqlalchemy.exc.DBAPIError."""

    database: Database
    signer: Signer = field(repr=False)
    follow: Callable[[Mapping[str, Any]], Event | None] = lambda _: None
    """What the log says of a new record by itself, in the same transaction: its envelope in, an event or none out."""
    scrub_owed: bool = True
    """Whether bytes of what was erased may be left; an earlier process may have left some."""
    _engine: Engine | None = field(default=None, repr=False)

    def open(self, now: float) -> None:
        """Make or upgrade the tables, and begin the log if it is new (`now` in Unix seconds). Raises WrongLog.

        Whether it raises or not, `close` closes what was opened.
        """
        upgrade(self.database)
        self._engine = open_database(self.database)
        with writing(self._engine) as connection:
            origin = connection.execute(select(LOG.c.origin)).scalar_one_or_none()
            if origin is None:
                self._begin(connection, now)
            elif origin != self.signer.name:
                message = f"the database is the log {origin!r}, and the signing key is of {self.signer.name!r}"
                raise WrongLog(message)

    def close(self) -> None:
        """Close every connection."""
        if self._engine is not None:
            self._engine.dispose()

    def append(self, records: Sequence[Accepted]) -> dict[str, int]:
        """Take records in, in their order; return the index of each, also of those that were there. Raises LogMoved."""
        with writing(self.opened) as connection:
            ids = [record.record_id for record in records]
            there = connection.execute(select(LEAF.c.record_id, LEAF.c.leaf_index).where(LEAF.c.record_id.in_(ids)))
            indices = {str(row.record_id): int(row.leaf_index) for row in there}
            new = {record.record_id: record for record in records if record.record_id not in indices}
            if new:
                size = queries.size(connection)
                indices |= {record_id: size + offset for offset, record_id in enumerate(new)}
                self._insert(connection, size, list(new.values()))
        return indices

    @contextmanager
    def acting(self, once: Once | None = None) -> Iterator[Acting]:
        """Change something and log it, in one transaction: neither is there without the other. Raises LogMoved."""
        with writing(self.opened) as connection:
            before = _before(connection, once) if once else None
            acting = Acting(connection=connection, size=queries.size(connection), once=once, before=before)
            yield acting
            if acting.events:
                self._insert_events(connection, acting)

    def checkpoint(self) -> queries.Signed | None:
        """Sign the log as it is; None where its size has been signed already."""
        with writing(self.opened) as connection:
            size = queries.size(connection)
            if connection.execute(select(CHECKPOINT.c.size).where(CHECKPOINT.c.size == size)).first():
                return None
            made = Checkpoint(origin=self.signer.name, size=size, root=root(queries.node(connection), size))
            note = self.signer.sign(made.text())
            connection.execute(insert(CHECKPOINT).values(size=size, note=note))
        return queries.Signed(size=size, note=note)

    def scrub(self) -> None:
        """Have the database forget the bytes of what was erased; where that cannot be now it stays owed."""
        self.scrub_owed = False  # first: what somebody else erases meanwhile is owed anew
        done = False
        try:
            done = scrub(self.opened)
        finally:
            if not done:
                self.scrub_owed = True

    def subject_key(self, digest: bytes) -> bytes | None:
        """Wrapped key of the subject with an index digest; None where no record that is left has one."""
        with self.opened.connect() as connection:
            return queries.subject_key(connection, digest)

    @property
    def opened(self) -> Engine:
        """The database, once it is open."""
        assert self._engine is not None, "the store is not open"
        return self._engine

    # --- inside a transaction ----------------------------------------------------------------------------------------

    def _begin(self, connection: Connection, now: float) -> None:
        created_at, key = timestamp(now), self.signer.verifier.line()
        entry = genesis_entry(origin=self.signer.name, key=key, created_at=created_at)
        hashed = leaf_hash(entry)
        connection.execute(insert(LOG).values(id=_LOG_ID, origin=self.signer.name, size=0))
        connection.execute(
            insert(LEAF).values(leaf_index=0, type=GENESIS, record_id=None, entry=entry, leaf_hash=hashed)
        )
        self._grow(connection, 0, [hashed])

    def _insert(self, connection: Connection, size: int, records: Sequence[Accepted]) -> None:
        bodies = [json.loads(record.envelope) for record in records]
        destroyed = self._add_subject_keys(connection, records, bodies)
        numbered = [
            Numbered(
                record=record,
                body=body,
                index=size + offset,
                dead=record.subject_key is not None and record.subject_key.key_id in destroyed,
            )
            for offset, (record, body) in enumerate(zip(records, bodies, strict=True))
        ]
        leaves = [leaf_of(each) for each in numbered]
        for table, rows in rows_of(numbered, leaves).items():
            if rows:
                connection.execute(insert(table), rows)
        self._grow(connection, size, [leaf["leaf_hash"] for leaf in leaves])
        followed = (self.follow(each.body) for each in numbered)
        acting = Acting(connection=connection, size=size + len(records), events=[e for e in followed if e is not None])
        if acting.events:
            self._insert_events(connection, acting)

    def _insert_events(self, connection: Connection, acting: Acting) -> None:
        leaves: list[dict[str, Any]] = []
        for index, event in enumerate(acting.events, start=acting.size):
            entry = event.entry()
            leaves.append(
                {
                    "leaf_index": index,
                    "type": event.kind.value,
                    "record_id": None,
                    "entry": entry,
                    "leaf_hash": leaf_hash(entry),
                }
            )
        connection.execute(insert(LEAF), leaves)
        rows = [event_row(index, event) for index, event in enumerate(acting.events, start=acting.size)]
        connection.execute(insert(EVENT), rows)
        notes = [row for event in acting.events for row in note_rows(event)]
        if notes:
            connection.execute(insert(NOTE), notes)
        self._grow(connection, acting.size, [leaf["leaf_hash"] for leaf in leaves])

    def _add_subject_keys(
        self, connection: Connection, records: Sequence[Accepted], bodies: Sequence[Mapping[str, Any]]
    ) -> set[str]:
        """Keep keys that are new; return the ids of those that were destroyed, which do not come back."""
        wanted = {
            record.subject_key.key_id: {
                "key_id": record.subject_key.key_id,
                "encryption_key": body["integrity"]["subject_key"]["encryption_key"],
                "wrapped": record.subject_key.wrapped,
            }
            for record, body in zip(records, bodies, strict=True)
            if record.subject_key is not None
        }
        there = connection.execute(
            select(SUBJECT_KEY.c.key_id, SUBJECT_KEY.c.wrapped).where(SUBJECT_KEY.c.key_id.in_(wanted))
        ).all()
        new = [wanted[key_id] for key_id in wanted.keys() - {row.key_id for row in there}]
        if new:
            connection.execute(insert(SUBJECT_KEY), new)
        return {str(row.key_id) for row in there if row.wrapped is None}

    def _grow(self, connection: Connection, size: int, hashes: Sequence[bytes]) -> None:
        """Add leaves to the tiles, and set the size if it is still what it was."""
        for (level, index), tile in tiles.grow(lambda at: queries.tile(connection, at), size, hashes).items():
            at = (TILE.c.level == level) & (TILE.c.tile_index == index)
            if not connection.execute(update(TILE).where(at).values(hashes=tile)).rowcount:
                connection.execute(insert(TILE).values(level=level, tile_index=index, hashes=tile))
        moved = connection.execute(
            update(LOG).where(LOG.c.id == _LOG_ID, LOG.c.size == size).values(size=size + len(hashes))
        )
        if moved.rowcount != 1:
            raise LogMoved


def _before(connection: Connection, once: Once) -> Before | None:
    """Find what was done for an idempotency key."""
    row = connection.execute(
        select(EVENT.c.leaf_index, EVENT.c.body).where(EVENT.c.idempotency == once.key)
    ).one_or_none()
    return None if row is None else Before(leaf_index=int(row.leaf_index), body=json.loads(row.body))


def upgrade(database: Database) -> None:
    """Bring a database's tables to the newest version of the schema."""
    engine = open_database(database, foreign_keys=False)  # SQLite changes a table by making another one
    try:
        with writing(engine) as connection:
            migrate(connection)
    finally:
        engine.dispose()


def migrate(connection: Connection, revision: str = "head") -> None:
    """Bring the tables to a version of the schema."""
    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, revision)
