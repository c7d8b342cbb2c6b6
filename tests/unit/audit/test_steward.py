"""What a server does with its records by itself goes on, whatever fails once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rollcall.audit.archive import Archive
from rollcall.audit.database import FILE
from rollcall.audit.reviewing import Doing, act
from rollcall.audit.reviews import ReviewAction
from rollcall.audit.steward import Steward
from rollcall.domain.errors import LogUnavailable
from tests.unit.audit import samples
from tests.unit.audit.archives import open_archive

DAY = 86_400.0


@dataclass(kw_only=True)
class Told:
    """What the steward tells."""

    overdue: list[int] = field(default_factory=list)

    def audit_reviews_overdue(self, count: int) -> None:
        """Keep it."""
        self.overdue.append(count)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """Keep three records, the last a decision."""
    records = (samples.accepted(0), samples.accepted(1), samples.recorded(samples.decided(), 2))
    with open_archive(tmp_path / FILE, *records) as opened:
        yield opened


async def test_late_reviews_are_counted_until_the_server_stops(archive: Archive) -> None:
    """At once and then again; a database that is away once is asked again."""
    act(archive, "e-0", Doing(action=ReviewAction.OPEN, actor="Anna", rationale="so"), four_eyes=True)
    told = Told()
    steward = Steward(archive=archive, telemetry=told, look_seconds=0.001)
    now = archive.now()
    archive.now = lambda: now + (40 * DAY if told.overdue else 0)
    steward.start()
    while told.overdue[-1:] != [1]:
        await asyncio.sleep(0.001)
    await steward.stop()
    assert told.overdue[:2] == [0, 1]


async def test_what_fails_is_not_the_end(archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the next turn does it."""
    told = Told()
    steward = Steward(archive=archive, telemetry=told)
    now = archive.now

    def away() -> float:
        message = "the log's database does not answer"
        raise LogUnavailable(message)

    archive.now = away
    await steward.turn()
    assert told.overdue == []
    assert "audit_steward_failed" in caplog.text
    archive.now = now
    await steward.turn()
    assert told.overdue == [0]
