"""What a server does with its records by itself goes on, whatever fails once."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from rollcall.audit.archive import Archive
from rollcall.audit.database import FILE
from rollcall.audit.erasing import Ground, erase_record
from rollcall.audit.events import SERVER, EventKind
from rollcall.audit.record import EXPLANATION
from rollcall.audit.records import happened
from rollcall.audit.reviewing import Doing, act
from rollcall.audit.reviews import ReviewAction
from rollcall.audit.sampling import SampledReplays
from rollcall.audit.steward import Chore, Steward, keeping_to_retention, looking_for_late_reviews
from rollcall.domain.errors import LogUnavailable
from rollcall.domain.recording import RecordMode
from rollcall.telemetry import logs
from tests.unit.audit import samples
from tests.unit.audit.archives import check, open_archive
from tests.unit.audit.test_replaying import House, replayer

DAY = 86_400.0


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """Keep an explanation in full, one by its digests alone, and a decision."""
    records = (
        samples.accepted(0),
        samples.accepted(1, RecordMode.DIGEST_ONLY),
        samples.recorded(samples.decided(), 2),
    )
    with open_archive(tmp_path / FILE, *records) as opened:
        yield opened


def events(archive: Archive, kind: EventKind) -> list[dict[str, object]]:
    """Read what was done."""
    with archive.reading() as connection:
        return [json.loads(event.body) for event in happened(connection, kind=kind)]


async def test_chores_are_done_again_and_failing_is_not_the_end() -> None:
    """Each in its own time, until the server stops; what is being done then is finished."""
    done: list[str] = []
    enough, release = asyncio.Event(), asyncio.Event()

    async def often() -> None:
        done.append("begun")
        match len(done):
            case 1:
                message = "the log's database does not answer"
                raise LogUnavailable(message)
            case 3:
                enough.set()
                await release.wait()
                done.append("finished")

    async def once() -> None:
        done.append("once")

    steward = Steward(
        chores=(
            Chore(name="often", every_seconds=0.001, do=often),
            Chore(name="once", every_seconds=1e6, do=once),
        )
    )
    steward.start()
    await enough.wait()
    stopping = asyncio.create_task(steward.stop())
    await asyncio.sleep(0)
    release.set()
    await stopping
    assert done == ["begun", "once", "begun", "finished"]


async def test_a_fault_that_nobody_thought_of_is_logged_and_not_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """A chore that fails in any way is done at its next time, and the server stops in good order."""
    done: list[str] = []
    enough = asyncio.Event()

    async def do() -> None:
        done.append("begun")
        if len(done) == 3:
            enough.set()
        message = "what a database has in it"
        raise sqlite3.OperationalError(message)

    steward = Steward(chores=(Chore(name="often", every_seconds=0.001, do=do),))
    with caplog.at_level(logging.INFO):
        steward.start()
        async with asyncio.timeout(30):
            await enough.wait()
        await steward.stop()
    lines = [json.loads(logs.JsonFormatter().format(record)) for record in caplog.records]
    assert {(line["event"], line["chore"], line["problem"]) for line in lines} == {
        ("audit_chore_failed", "often", "OperationalError")
    }
    assert len(lines) == len(done) >= 3
    assert "what a database has in it" not in json.dumps(lines)


async def test_late_reviews_are_told(archive: Archive) -> None:
    """How many there are now."""
    act(archive, "e-0", Doing(action=ReviewAction.OPEN, actor="Anna", rationale="so"), four_eyes=True)
    told: list[int] = []
    chore = looking_for_late_reviews(archive, told.append)
    await chore.do()
    now = archive.now()
    archive.now = lambda: now + 40 * DAY
    await chore.do()
    assert told == [0, 1]


async def test_what_was_kept_long_enough_is_erased_without_anybody_asking(archive: Archive) -> None:
    """By the server itself, as the log says; what is not due stays."""
    archive.retention = {("sentiment", EXPLANATION): 200}
    chore = keeping_to_retention(archive, 3600.0)
    await chore.do()
    assert events(archive, EventKind.ERASURE) == []
    now = archive.now()
    archive.now = lambda: now + 201 * DAY
    await chore.do()
    told = events(archive, EventKind.ERASURE)
    assert {event["actor"] for event in told} == {SERVER}
    assert {event["record_id"] for event in told} == {
        None,
        samples.accepted(0).record_id,
        samples.accepted(1).record_id,
    }
    await chore.do()
    assert len(events(archive, EventKind.ERASURE)) == len(told)
    assert check(archive).problems == []


async def test_records_in_full_are_replayed_when_nobody_waits(archive: Archive) -> None:
    """Drawn among those that can be replayed here; what it came to is counted, and the log has it."""
    outcomes: list[str] = []
    made = replayer(archive, House())
    made.told = outcomes.append
    busy, waited = [True, True, False], 0

    async def idle() -> None:
        nonlocal waited
        waited += 1

    sampled = SampledReplays(replayer=made, busy=lambda: busy.pop(0) if busy else False, idle=idle, random=Random(1))  # noqa: S311 - a draw that can be repeated
    for _ in range(8):
        await sampled.replay_one()
    told = events(archive, EventKind.REPLAY)
    assert waited == 2
    assert outcomes == ["exact"] * 8
    assert {event["actor"] for event in told} == {SERVER}
    full = {samples.accepted(0).record_id, samples.recorded(samples.decided(), 2).record_id}
    assert {event["record_id"] for event in told} == full
    erase_record(archive, samples.recorded(samples.decided(), 2).record_id, Ground.PERSON, "a letter", "officer")
    erase_record(archive, "e-0", Ground.PERSON, "a letter", "officer")
    await sampled.replay_one()
    made.models = lambda: ()
    await sampled.replay_one()
    assert len(events(archive, EventKind.REPLAY)) == 8
