"""The log in its database has no gap, no record twice, and cannot be changed by a slip of the hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import alembic.command
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import delete, func, insert, inspect, select, update
from sqlalchemy.exc import IntegrityError

from rollcall.audit import merkle, queries
from rollcall.audit.database import Database, open_database, reading, writing
from rollcall.audit.notes import Signer, open_checkpoint
from rollcall.audit.references import ReferenceKind, index_digest
from rollcall.audit.schema import EVENT, IMMUTABLE, LEAF, METADATA, RECORD, REFERENCE, SUBJECT_KEY
from rollcall.audit.sealing import index_key
from rollcall.audit.store import MIGRATIONS, LogMoved, Store, WrongLog
from rollcall.audit.verify import verify
from rollcall.audit.verify_postgresql import verify_postgresql
from rollcall.audit.verifying import Report
from tests.unit.audit import samples

ORIGIN = "log.example/records"
NOW = 1_764_000_000.0


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    """Begin a log."""
    store = Store(database=database, signer=Signer.generate(ORIGIN))
    store.open(NOW)
    yield store
    store.close()


def leaves(store: Store) -> list[bytes]:
    """Hash the entries as they are in the database."""
    with reading(store.database) as connection:
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
    with reading(store.database) as connection:
        last = queries.last_checkpoint(connection)
        assert last == signed
        proof = queries.proof(connection, 123, signed)
    assert proof.check(hashes[123], [store.signer.verifier]) == checkpoint


def test_a_record_comes_back(store: Store) -> None:
    """What was accepted is found under its own id and under that of its explanation."""
    record = samples.accepted(3)
    store.append([record])
    with reading(store.database) as connection:
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
    with pytest.raises(LogMoved), writing(store.opened) as connection:
        store._grow(connection, 1, [merkle.leaf_hash(b"another")])
    assert len(leaves(store)) == 2


def test_two_stores_on_one_database_take_turns(store: Store) -> None:
    """Two processes append to one log, and there is one sequence."""
    other = Store(database=store.database, signer=store.signer)
    other.open(NOW)
    for number in range(6):
        (store, other)[number % 2].append([samples.accepted(number)])
    other.close()
    assert len(leaves(store)) == 7


def test_rows_are_never_changed(store: Store) -> None:
    """The database itself refuses to change or remove an entry, a record, an event or a checkpoint."""
    store.append([samples.accepted(0)])
    store.checkpoint()
    text = dict.fromkeys(("event_id", "type", "created_at", "actor", "about", "code"), "x")
    with writing(store.opened) as connection:
        connection.execute(insert(EVENT).values(leaf_index=0, body=b"{}", **text))
    for table in (METADATA.tables[name] for name in IMMUTABLE):
        column = list(table.columns)[1]
        for statement in (delete(table), update(table).values({column: b"x" if column.name == "entry" else "x"})):
            with pytest.raises(IntegrityError, match="never changed"), writing(store.opened) as connection:
                connection.execute(statement)


def test_a_database_belongs_to_one_log(store: Store) -> None:
    """A key of another origin does not go on with the log."""
    other = Store(database=store.database, signer=Signer.generate("other.example"))
    with pytest.raises(WrongLog, match=ORIGIN):
        other.open(NOW)
    other.close()


def test_migrations_make_the_tables_of_the_schema(store: Store) -> None:
    """What Alembic makes is what the code asks for."""
    engine = open_database(store.database)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine.dispose()


def test_a_subject_has_one_key_for_all_records(store: Store) -> None:
    """The key is kept once and found by whoever can compute the subject's digest."""
    records = [samples.accepted(number, subject_ref=samples.SUBJECT) for number in range(3)]
    store.append(records[:2])
    store.append(records[2:])
    digest = index_digest(index_key(samples.KEY), ReferenceKind.SUBJECT, samples.SUBJECT)
    assert records[0].subject_key is not None
    assert store.subject_key(digest) == records[0].subject_key.wrapped
    assert store.subject_key(bytes(32)) is None
    with reading(store.database) as connection:
        assert connection.execute(select(func.count()).select_from(SUBJECT_KEY)).scalar() == 1
        assert queries.named(connection, ReferenceKind.SUBJECT, digest) == [record.record_id for record in records]
        assert queries.named(connection, ReferenceKind.DECISION, digest) == []


def test_a_destroyed_key_does_not_come_back(store: Store) -> None:
    """A record that was on its way when its subject was erased is in the log, and nothing of it can be read."""
    store.append([samples.accepted(0, subject_ref=samples.SUBJECT)])
    with writing(store.opened) as connection:
        connection.execute(update(SUBJECT_KEY).values(wrapped=None))
    late = samples.accepted(1, subject_ref=samples.SUBJECT)
    assert store.append([late]) == {late.record_id: 2}
    with reading(store.database) as connection:
        kept = queries.kept(connection, late.record_id)
        assert (kept.wrapped_key, kept.payloads) == (None, ())
        assert connection.execute(select(SUBJECT_KEY.c.wrapped)).scalar() is None
        rows = connection.execute(select(REFERENCE.c.record_id).where(REFERENCE.c.record_id == late.record_id))
        assert rows.all() == []


def test_a_log_of_an_earlier_schema_is_upgraded(database: Database) -> None:
    """What version 1 of the schema held is there after the upgrade, protected as before, and verifies."""
    store = Store(database=database, signer=Signer(name=ORIGIN, seed=bytes(32)))
    store.open(NOW)
    records = [samples.accepted(number) for number in range(50)]
    store.append(records)
    store.checkpoint()
    store.close()
    before = whole(database)
    downgrade(database, "0001")
    assert "subject_key" not in {table for table, _ in whole(database)}
    store.open(NOW)
    assert whole(database) == before
    with pytest.raises(IntegrityError, match="never changed"), writing(store.opened) as connection:
        connection.execute(delete(RECORD))
    store.append([samples.recorded(samples.decided(), 50)])
    store.close()
    assert check(database).problems == []


def check(database: Database) -> Report:
    """Verify a log, whatever it is kept in."""
    return verify(database, key=None) if isinstance(database, Path) else verify_postgresql(database, None)


def whole(database: Database) -> list[tuple[str, list[tuple[object, ...]]]]:
    """Read every table."""
    engine = open_database(database)
    tables = [table for table in inspect(engine).get_table_names() if table != "alembic_version"]
    with engine.connect() as connection:
        found = []
        for name in sorted(tables):
            columns = [f'"{column["name"]}"' for column in inspect(engine).get_columns(name)]
            rows = connection.exec_driver_sql(f'SELECT {", ".join(sorted(columns))} FROM "{name}"').all()
            found.append((name, sorted((tuple(row) for row in rows), key=repr)))
    engine.dispose()
    return found


def downgrade(database: Database, revision: str) -> None:
    """Take a database back to an earlier schema."""
    engine = open_database(database, foreign_keys=False)
    with writing(engine) as connection:
        config = Config()
        config.set_main_option("script_location", MIGRATIONS)
        config.attributes["connection"] = connection
        alembic.command.downgrade(config, revision)
    engine.dispose()
