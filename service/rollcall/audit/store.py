"""The log's database: records, their keys and payloads, and the tree over them, appended to in whole transactions.

One batch is one transaction; it is committed only if the log still has the size that the batch was computed with
(compare and set), so two writers cannot give the same index twice, nor leave a gap. A record that is there already is
not taken again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import alembic.command
from alembic.config import Config
from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from rollcall.audit import queries, tiles
from rollcall.audit.accepted import Accepted
from rollcall.audit.database import open_database, writing
from rollcall.audit.entries import EXPLANATION, GENESIS, explanation_entry, genesis_entry
from rollcall.audit.merkle import leaf_hash, root
from rollcall.audit.notes import Checkpoint, Signer
from rollcall.audit.record import timestamp
from rollcall.audit.schema import CHECKPOINT, DATA_KEY, LEAF, LOG, PAYLOAD, RECORD, TILE, columns_of

MIGRATIONS = "rollcall.audit:migrations"
_LOG_ID = 1


class LogMoved(Exception):
    """Another writer has appended meanwhile; nothing of this batch was committed."""


class WrongLog(Exception):
    """The database is the log of another origin."""


@dataclass(slots=True, kw_only=True)
class Store:
    """A log in a SQLite database. Each method is one transaction; raises sqlalchemy.exc.DBAPIError."""

    path: Path
    signer: Signer = field(repr=False)
    _engine: Engine | None = field(default=None, repr=False)

    def open(self, now: float) -> None:
        """Make or upgrade the tables, and begin the log if it is new (`now` in Unix seconds). Raises WrongLog."""
        engine = open_database(self.path)
        with writing(engine) as connection:
            migrate(connection)
            origin = connection.execute(select(LOG.c.origin)).scalar_one_or_none()
            if origin is None:
                self._begin(connection, now)
            elif origin != self.signer.name:
                message = f"{self.path} is the log {origin!r}, and the signing key is of {self.signer.name!r}"
                raise WrongLog(message)
        self._engine = engine

    def close(self) -> None:
        """Close every connection."""
        if self._engine is not None:
            self._engine.dispose()

    def append(self, records: Sequence[Accepted]) -> dict[str, int]:
        """Take records in, in their order; return the index of each, also of those that were there. Raises LogMoved."""
        with writing(self._opened) as connection:
            ids = [record.record_id for record in records]
            there = connection.execute(select(LEAF.c.record_id, LEAF.c.leaf_index).where(LEAF.c.record_id.in_(ids)))
            indices = {str(row.record_id): int(row.leaf_index) for row in there}
            new = {record.record_id: record for record in records if record.record_id not in indices}
            if new:
                size = queries.size(connection)
                indices |= {record_id: size + offset for offset, record_id in enumerate(new)}
                self._insert(connection, size, list(new.values()))
        return indices

    def checkpoint(self) -> queries.Signed | None:
        """Sign the log as it is; None where its size has been signed already."""
        with writing(self._opened) as connection:
            size = queries.size(connection)
            if connection.execute(select(CHECKPOINT.c.size).where(CHECKPOINT.c.size == size)).first():
                return None
            made = Checkpoint(origin=self.signer.name, size=size, root=root(queries.node(connection), size))
            note = self.signer.sign(made.text())
            connection.execute(insert(CHECKPOINT).values(size=size, note=note))
        return queries.Signed(size=size, note=note)

    @property
    def _opened(self) -> Engine:
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
        entries = [
            explanation_entry(
                record_id=record.record_id,
                created_at=body["created_at"],
                envelope_sha256=record.envelope_sha256,
            )
            for record, body in zip(records, bodies, strict=True)
        ]
        hashes = [leaf_hash(entry) for entry in entries]
        connection.execute(
            insert(LEAF),
            [
                {
                    "leaf_index": size + offset,
                    "type": EXPLANATION,
                    "record_id": record.record_id,
                    "entry": entry,
                    "leaf_hash": hashed,
                }
                for offset, (record, entry, hashed) in enumerate(zip(records, entries, hashes, strict=True))
            ],
        )
        connection.execute(
            insert(RECORD),
            [columns_of(body) | {"envelope": record.envelope} for record, body in zip(records, bodies, strict=True)],
        )
        connection.execute(
            insert(DATA_KEY),
            [
                {
                    "record_id": record.record_id,
                    "key_id": body["integrity"]["encryption_key"],
                    "wrapped": record.wrapped_key,
                }
                for record, body in zip(records, bodies, strict=True)
            ],
        )
        connection.execute(
            insert(PAYLOAD),
            [
                {
                    "record_id": record.record_id,
                    "kind": sealed.kind,
                    "nonce": sealed.nonce,
                    "ciphertext": sealed.ciphertext,
                }
                for record in records
                for sealed in record.payloads
            ],
        )
        self._grow(connection, size, hashes)

    def _grow(self, connection: Connection, size: int, hashes: Sequence[bytes]) -> None:
        """Add leaves to the tiles, and set the size if it is still what it was."""
        for (level, index), tile in tiles.grow(lambda at: queries.tile(connection, at), size, hashes).items():
            row = {"level": level, "tile_index": index, "hashes": tile}
            statement = sqlite_insert(TILE).values(row)
            connection.execute(
                statement.on_conflict_do_update(index_elements=["level", "tile_index"], set_={"hashes": tile})
            )
        moved = connection.execute(
            update(LOG).where(LOG.c.id == _LOG_ID, LOG.c.size == size).values(size=size + len(hashes))
        )
        if moved.rowcount != 1:
            raise LogMoved


def migrate(connection: Connection, revision: str = "head") -> None:
    """Bring the tables to a version of the schema."""
    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, revision)
