"""Answers wait for the log while it is behind them and goes on; a log that does not go on holds nobody back."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from pathlib import Path

from rollcall.audit.accepted import Accepted
from rollcall.audit.notes import Signer
from rollcall.audit.pacing import Pace
from tests.unit.audit.test_sequencer import Fragile, append, desk

LONG = 30.0


@dataclass
class Behind:
    """How far a log is behind, as a test says."""

    bytes: int

    def __call__(self) -> int:
        """Say it."""
        return self.bytes


async def waiting(pace: Pace) -> asyncio.Task[None]:
    """Have somebody wait."""
    task = asyncio.create_task(pace.keep())
    await asyncio.sleep(0)
    return task


async def test_answers_wait_until_the_log_is_close_behind() -> None:
    """A batch that leaves too many waiting lets nobody go; the one after it lets all go."""
    behind = Behind(300)
    pace = Pace(behind=behind, most_bytes=100, patience_seconds=LONG)
    tasks = [await waiting(pace) for _ in range(3)]
    behind.bytes = 200
    pace.moved()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    behind.bytes = 100
    pace.moved()
    await asyncio.gather(*tasks)


async def test_nobody_waits_for_a_database_that_fails() -> None:
    """Who waits is let go, and who comes does not wait; once it works again they do."""
    pace = Pace(behind=Behind(300), most_bytes=100, patience_seconds=LONG)
    before = await waiting(pace)
    pace.failed()
    await before
    await pace.keep()
    pace.moved()
    after = await waiting(pace)
    assert not after.done()
    after.cancel()


async def test_nobody_waits_long_for_a_database_that_does_not_answer() -> None:
    """One answer waits until patience ends; those after it do not."""
    pace = Pace(behind=Behind(300), most_bytes=100, patience_seconds=0.01)
    await pace.keep()
    pace.patience_seconds = LONG
    await pace.keep()


async def test_a_batch_between_looking_and_waiting_is_not_missed() -> None:
    """However the log's thread and the caller's come between each other, nobody sleeps on what has happened."""

    def look() -> int:
        looked.append(300 if not looked else 0)
        pace.moved()
        return looked[-1]

    looked: list[int] = []
    pace = Pace(behind=look, most_bytes=100, patience_seconds=LONG)
    await pace.keep()
    assert looked == [300, 0]


async def test_a_caller_who_leaves_does_not_disturb_the_others() -> None:
    """A cancelled wait takes nobody with it."""
    behind = Behind(300)
    pace = Pace(behind=behind, most_bytes=100, patience_seconds=LONG)
    leaving, staying = await waiting(pace), await waiting(pace)
    leaving.cancel()
    await asyncio.wait([leaving])
    assert not staying.done()
    behind.bytes = 0
    pace.moved()
    await staying


class Slow(Fragile):
    """A store that takes a batch in once it may."""

    may = threading.Event()

    def append(self, records: list[Accepted]) -> dict[str, int]:  # type: ignore[override] # a list is a sequence
        """Take records in."""
        assert self.may.wait(LONG)
        return super().append(records)


async def test_a_spool_and_its_log_keep_pace(tmp_path: Path) -> None:
    """With a log that is slow an answer waits until what was flushed before it is in the log."""
    Slow.may.clear()
    with desk(tmp_path, Signer.generate("log.example"), store=Slow) as at:
        pace = Pace(behind=lambda: at.spool.behind_bytes, most_bytes=1_000, patience_seconds=LONG)
        at.sequencer.moved = pace.moved
        await asyncio.to_thread(append, at, range(5))
        assert at.spool.behind_bytes > pace.most_bytes
        held = await waiting(pace)
        assert not held.done()
        Slow.may.set()
        await held
        assert at.spool.behind_bytes <= pace.most_bytes
