"""The generator keeps its timetable whatever the answers do, and reads the admin port."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

from prometheus_client import CollectorRegistry

from rollcall.telemetry.metrics import Metrics
from tests.bench.openloop import Due, Kind
from tests.bench.traffic import codes_handled, drive, gauges, served


async def test_later_requests_do_not_wait_for_earlier_answers() -> None:
    """While the first is still unanswered, all others are sent; results come in the order of the timetable."""
    plan = [Due(at=0.01 * number, kind=Kind.PREDICT, text=str(number)) for number in range(5)]
    last_came = asyncio.Event()

    async def handle(due: Due, start: float) -> str:
        assert time.monotonic() - start >= due.at
        if due is plan[-1]:
            last_came.set()
        await last_came.wait()
        return due.text

    assert await drive(plan, handle) == ["0", "1", "2", "3", "4"]


async def test_a_late_generator_still_lets_answers_come() -> None:
    """When everything is overdue, requests that have left get their turn between those that leave."""
    plan = [Due(at=0.0, kind=Kind.PREDICT, text=str(number)) for number in range(3)]
    running: list[int] = []

    async def handle(due: Due, start: float) -> int:
        del due, start
        running.append(1)
        return len(running)

    assert await drive(plan, handle) == [1, 2, 3]


def test_gauges_and_codes_are_read_from_what_the_service_exposes() -> None:
    """One call under way and one that has ended."""
    metrics = Metrics(CollectorRegistry(), models=["demo"], default_model="demo")
    metrics.watch_queue(rows=lambda: 7, tokens=lambda: 70, oldest=lambda: 0.0)
    metrics.rpc_started("Predict")
    metrics.rpc_started("Explain")
    metrics.rpc_handled("Predict", model="demo", code="UNAVAILABLE", seconds=0.1)
    scrape = metrics.exposition().decode()
    found = gauges(scrape)
    assert (found["rollcall_requests_in_flight"], found["rollcall_queue_depth"]) == (1.0, 7.0)
    assert codes_handled(scrape) == (2.0, Counter({"UNAVAILABLE": 1}))


def test_the_demo_model_is_served_unless_told_otherwise() -> None:
    """As `rollcall serve` takes it."""
    assert served(None) == ["--demo"]
    assert served(Path("some/model")) == ["--model", "model=some/model"]
