"""The log in its database has no gap, no record twice, and cannot be changed by a slip of the hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select

from rollcall.audit import merkle, queries
from rollcall.audit.database import open_database, reading, writing
from rollcall.audit.notes import Signer, open_checkpoint
from rollcall.audit.schema import IMMUTABLE, LEAF, METADATA
from rollcall.audit.store import LogMoved, Store, WrongLog
from tests.unit.audit import samples

ORIGIN = "log.example/records"
NOW = 1_764_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Begin a log."""
    store = Store(path=tmp_path / "log.db", signer=Signer.generate(ORIGIN))
    store.open(NOW)
    yield store
    store.close()


def leaves(store: Store) -> list[bytes]:
    """Hash the entries as they are in the database."""
    with reading(store.path) as connection:
        rows = connection.execute(select(LEAF.c.leaf_index, LEAF.c.entry).order_by(LEAF.c.leaf_index)).all()
    assert [row.leaf_index for row in rows] == list(range(len(rows)))
    return [merkle.leaf_hash(row.entry) for row in rows]


def test_records_get_indices_in_order(store: Store) -> None:
    """The first entry says whose log it is; records follow without a gap, whatever their batches."""
    records = [samples.accepted(number) for number in range(7)]
    first, second = store.append(records[:3]), store.append(records[3:])
    assert list((first | second).values()) == list(range(1, 8))
    assert len(leaves(store)) == 8


def test_a_record_is_taken_once(store: Store) -> None:
    """What is there already keeps its index, and the log does not grow."""
    records = [samples.accepted(number) for number in range(4)]
    store.append(records[:3])
    assert store.append(records[1:]) == {record.record_id: index for index, record in enumerate(records[1:], start=2)}
    assert len(leaves(store)) == 5


def test_checkpoints_are_about_the_entries(store: Store) -> None:
    """A checkpoint is signed by the log and has the root over its entries; a size is signed once."""
    store.append([samples.accepted(number) for number in range(300)])
    signed = store.checkpoint()
    assert signed is not None
    checkpoint = open_checkpoint(signed.note, [store.signer.verifier])
    hashes = leaves(store)
    assert (checkpoint.size, checkpoint.origin) == (301, ORIGIN)
    assert checkpoint.root == merkle.root(merkle.nodes_of(hashes), 301)
    assert store.checkpoint() is None
    with reading(store.path) as connection:
        last = queries.last_checkpoint(connection)
        assert last == signed
        proof = queries.proof(connection, 123, signed)
    assert proof.check(hashes[123], [store.signer.verifier]) == checkpoint


def test_a_record_comes_back(store: Store) -> None:
    """What was accepted is found under its own id and under that of its explanation."""
    record = samples.accepted(3)
    store.append([record])
    with reading(store.path) as connection:
        assert queries.find(connection, "e-3") == queries.find(connection, record.record_id) == record.record_id
        assert queries.find(connection, "nothing") is None
        kept = queries.kept(connection, record.record_id)
    assert (kept.envelope, kept.wrapped_key) == (record.envelope, record.wrapped_key)
    assert sorted(kept.payloads, key=lambda sealed: sealed.kind) == sorted(
        record.payloads, key=lambda sealed: sealed.kind
    )


def test_two_writers_cannot_give_one_index_twice(store: Store) -> None:
    """Whoever computed with a size that the log no longer has commits nothing."""
    store.append([samples.accepted(0)])
    with pytest.raises(LogMoved), writing(open_database(store.path)) as connection:
        store._grow(connection, 1, [merkle.leaf_hash(b"another")])
    assert len(leaves(store)) == 2


def test_two_stores_on_one_database_take_turns(store: Store) -> None:
    """Two processes append to one log, and there is one sequence."""
    other = Store(path=store.path, signer=store.signer)
    other.open(NOW)
    for number in range(6):
        (store, other)[number % 2].append([samples.accepted(number)])
    other.close()
    assert len(leaves(store)) == 7


def test_rows_are_never_changed(store: Store) -> None:
    """The database itself refuses to change or remove an entry, a record or a checkpoint."""
    store.append([samples.accepted(0)])
    store.checkpoint()
    with sqlite3.connect(store.path) as connection:
        for table in IMMUTABLE:
            column = connection.execute(f"SELECT * FROM {table}").description[1][0]
            for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET {column} = 'x'"):
                with pytest.raises(sqlite3.IntegrityError, match="never changed"):
                    connection.execute(statement)
    connection.close()


def test_a_database_belongs_to_one_log(store: Store) -> None:
    """A key of another origin does not go on with the log."""
    with pytest.raises(WrongLog, match=ORIGIN):
        Store(path=store.path, signer=Signer.generate("other.example")).open(NOW)


def test_migrations_make_the_tables_of_the_schema(store: Store) -> None:
    """What Alembic makes is what the code asks for."""
    engine = open_database(store.path)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine.dispose()
