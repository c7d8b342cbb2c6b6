"""Records go from spool to log in order, whatever fails in between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import ClassVar

from sqlalchemy import select

from rollcall.audit.accepted import Accepted
from rollcall.audit.database import FILE, Database, reading
from rollcall.audit.notes import Signer, open_checkpoint
from rollcall.audit.queries import Signed
from rollcall.audit.schema import LEAF
from rollcall.audit.sequencer import BATCH, Sequencer
from rollcall.audit.spool import Spool
from rollcall.audit.store import Store
from rollcall.audit.verify import verify
from rollcall.audit.verify_postgresql import verify_postgresql
from tests.unit.audit import samples
from tests.unit.audit.postgres import PostgresServer
from tests.waiting import wait_until

SECONDS = 30


@dataclass(slots=True)
class Told:
    """What the log told."""

    size: int = 0
    failures: int = 0
    outcomes: list[str] = field(default_factory=list)
    failed: threading.Event = field(default_factory=threading.Event)

    def audit_recorded(self, outcome: str) -> None:
        """Remember an outcome."""
        self.outcomes.append(outcome)

    def audit_log_grew(self, size: int) -> None:
        """Remember the size."""
        self.size = size

    def audit_store_failed(self) -> None:
        """Count a failure."""
        self.failures += 1
        self.failed.set()

    def watch_audit_spool(self, used_bytes: Callable[[], int], most_bytes: int) -> None:
        """Nobody scrapes."""


class Fragile(Store):
    """A store whose database is down while `down` is set; `batches` are the sizes of those that it took."""

    down = threading.Event()
    batches: ClassVar[list[int]] = []

    def append(self, records: list[Accepted]) -> dict[str, int]:  # type: ignore[override] # a list is a sequence
        """Take records in, unless the database is down."""
        if self.down.is_set():
            raise ConnectionError
        self.batches.append(len(records))
        return super().append(records)


@dataclass(kw_only=True)
class Desk:
    """A spool, a store and a sequencer between them."""

    spool: Spool
    store: Fragile
    sequencer: Sequencer
    told: Told
    signed: list[Signed]

    def sequence(self) -> list[str]:
        """Ids in the order of the log."""
        with reading(self.store.database) as connection:
            rows = connection.execute(select(LEAF.c.record_id).order_by(LEAF.c.leaf_index)).all()
        return [row.record_id for row in rows if row.record_id]


@contextmanager
def desk(
    directory: Path,
    signer: Signer,
    database: Database | None = None,
    store: type[Fragile] = Fragile,
    gather_seconds: float = 0.0,
) -> Iterator[Desk]:
    """Run a sequencer for the length of a block, on the log in `directory` if no other is named."""
    told = Told()
    signed: list[Signed] = []
    opened = store(database=database or directory / FILE, signer=signer)
    opened.down.clear()
    opened.batches.clear()
    opened.open(1.0)
    spool = Spool(directory=directory / "spool", most_bytes=1_000_000_000, segment_bytes=20_000)
    sequencer = Sequencer(
        spool=spool,
        store=opened,
        telemetry=told,
        checkpoint_seconds=3600.0,
        gather_seconds=gather_seconds,
        signed=signed.append,
    )
    spool.appended = sequencer.wake
    spool.open()
    sequencer.start()
    try:
        yield Desk(spool=spool, store=opened, sequencer=sequencer, told=told, signed=signed)
    finally:
        spool.close()
        sequencer.stop()
        opened.close()


def append(at: Desk, numbers: range) -> list[str]:
    """Append records and wait until they are flushed."""
    records = [samples.accepted(number) for number in numbers]
    for done in [at.spool.append(record.encode()) for record in records]:
        done.result(SECONDS)
    return [record.record_id for record in records]


def test_what_was_spooled_is_in_the_log_and_signed(tmp_path: Path) -> None:
    """When the process has ended in order, every record is in the log, the last state is signed, the spool is empty."""
    signer = Signer.generate("log.example")
    with desk(tmp_path, signer) as at:
        ids = append(at, range(30))
    assert at.sequence() == ids
    assert open_checkpoint(at.signed[-1].note, [signer.verifier]).size == 31
    assert list((tmp_path / "spool").iterdir()) == []
    assert (at.told.size, at.told.failures) == (31, 0)


def test_records_gather_until_somebody_waits_for_the_log(tmp_path: Path) -> None:
    """What comes within a moment is one transaction; who hurries the log does not wait for the moment to pass."""
    with desk(tmp_path, Signer.generate("log.example"), gather_seconds=3600.0) as at:
        ids = append(at, range(3)) + append(at, range(3, 5))
        assert at.store.batches == []
        at.sequencer.hurry()
        wait_until(lambda: at.sequence() == ids)
        assert at.store.batches == [5]


def test_a_flood_does_not_keep_the_log_from_being_signed(tmp_path: Path) -> None:
    """Although there is always more to take in, checkpoints come in time, and the spool gives room back."""
    signer, signed = Signer.generate("log.example"), list[Signed]()
    store = Store(database=tmp_path / FILE, signer=signer)
    store.open(1.0)
    spool = Spool(directory=tmp_path / "spool", most_bytes=1_000_000_000)
    spool.open()
    for done in [spool.append(samples.accepted(number).encode()) for number in range(2 * BATCH + 10)]:
        done.result(SECONDS)
    ticks = count()
    sequencer = Sequencer(
        spool=spool,
        store=store,
        telemetry=Told(),
        checkpoint_seconds=1.0,
        signed=signed.append,
        clock=lambda: float(next(ticks)),
    )
    sequencer.start()
    spool.close()
    sequencer.stop()
    store.close()
    assert [each.size for each in signed] == [BATCH + 1, 2 * BATCH + 1, 2 * BATCH + 11]


def test_while_the_database_is_down_the_spool_grows_and_drains_in_order(tmp_path: Path) -> None:
    """Nothing is lost, doubled or out of order, although every attempt begins anew."""
    signer = Signer.generate("log.example")
    with desk(tmp_path, signer) as at:
        before = append(at, range(5))
        at.store.down.set()
        during = append(at, range(5, 40))
        assert at.told.failed.wait(SECONDS)
        assert at.spool.used_bytes > 0
        at.store.down.clear()
        after = append(at, range(40, 45))
    assert at.sequence() == [*before, *during, *after]


def test_what_the_database_never_took_is_there_at_the_next_start(tmp_path: Path) -> None:
    """A process that ends while the database is down leaves its records for the next one."""
    signer = Signer.generate("log.example")
    with desk(tmp_path, signer) as at:
        at.store.down.set()
        ids = append(at, range(20))
    assert at.sequence() == []
    with desk(tmp_path, signer) as at:
        ids += append(at, range(20, 22))
    assert at.sequence() == ids


def test_a_server_that_is_stopped_and_started_loses_nothing(tmp_path: Path, postgres: PostgresServer) -> None:
    """While PostgreSQL is gone records wait in the spool; when it is back they are taken in, in their order, once."""
    database = postgres.make()
    with desk(tmp_path, Signer.generate("log.example"), database) as at:
        ids = append(at, range(10))
        wait_until(lambda: len(at.sequence()) == 10)
        postgres.stop()
        try:
            ids += append(at, range(10, 30))
            assert at.told.failed.wait(SECONDS)
        finally:
            postgres.start()
        ids += append(at, range(30, 35))
        wait_until(lambda: len(at.sequence()) == 35)
    assert at.sequence() == ids
    assert verify_postgresql(database, None).problems == []


def test_two_sequencers_append_to_one_log(tmp_path: Path, database: Database) -> None:
    """Two servers with spools of their own take turns: no index is given twice, none left out, nothing is lost."""
    signer = Signer.generate("log.example")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with desk(tmp_path / "a", signer, database) as first, desk(tmp_path / "b", signer, database) as second:
        ids = list(ThreadPoolExecutor(2).map(append, (first, second), (range(150), range(150, 300))))
    sequence = first.sequence()
    assert sorted(sequence) == sorted(ids[0] + ids[1])
    assert [each for each in sequence if each in ids[0]] == ids[0]
    found = verify(database, key=None) if isinstance(database, Path) else verify_postgresql(database, None)
    assert (found.problems, found.entries) == ([], 301)
