"""An answer holds its place until it is recorded: a log that is behind refuses callers, and does not gather them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from rollcall.admission.gate import Gate
from rollcall.admission.quota import Quota, Quotas
from rollcall.domain.errors import Overloaded, QuotaExceeded, RecordingFailed
from rollcall.domain.identity import Identity
from rollcall.domain.recording import AuditChoice, Receipt, RecordState
from tests.harness import ask
from tests.unit.pipeline.fakes import TEXT, SumModel, pipeline_of
from tests.unit.pipeline.test_explain import PREDICT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rollcall.audit.record import Told
    from rollcall.pipeline.explain import Pipeline

PLACES = 3
SECONDS = 10.0


@dataclass
class Behind:
    """A log that takes nothing in until it is let."""

    waiting: int = 0
    taken: list[Told] = field(default_factory=list)
    let: asyncio.Event = field(default_factory=asyncio.Event)
    problem: Exception | None = None

    def check(self, choice: AuditChoice) -> None:
        """Have no objection."""

    async def record(self, told: Told) -> Receipt:
        """Take an answer in, once it may."""
        self.waiting += 1
        try:
            await self.let.wait()
        finally:
            self.waiting -= 1
        if self.problem is not None:
            raise self.problem
        self.taken.append(told)
        return Receipt(state=RecordState.SPOOLED)


def decide(pipeline: Pipeline) -> Awaitable[object]:
    """Ask for a decision that is recorded."""
    return pipeline.predict(replace(PREDICT, decision_ref="application 4711"))


def explain(pipeline: Pipeline) -> Awaitable[object]:
    """Ask for an explanation; each asks the same, so that they share their work."""
    return pipeline.explain(ask(TEXT))


async def begin(
    call: Callable[[Pipeline], Awaitable[object]], pipeline: Pipeline, log: Behind
) -> list[asyncio.Future[object]]:
    """Have as many wait for the log as there are permits."""
    waiting: list[asyncio.Future[object]] = [asyncio.ensure_future(call(pipeline)) for _ in range(PLACES)]
    async with asyncio.timeout(SECONDS):
        while log.waiting < PLACES:  # noqa: ASYNC110 - the log is a fake of this loop
            await asyncio.sleep(0.001)
    return waiting


@pytest.mark.parametrize("call", [decide, explain])
async def test_no_more_wait_for_the_log_than_there_are_permits(call: Callable[[Pipeline], Awaitable[object]]) -> None:
    """Who comes while as many wait is refused at once; who waited gets a receipt, and then there is room."""
    log = Behind()
    pipeline = pipeline_of(SumModel(), gate=Gate(max_in_flight=PLACES, share=1.0), records=log)
    waiting = await begin(call, pipeline, log)
    for another in (decide, explain):
        with pytest.raises(Overloaded):
            await asyncio.wait_for(another(pipeline), SECONDS)
    log.let.set()
    await asyncio.gather(*waiting)
    assert len(log.taken) == PLACES
    assert (pipeline.gate.in_flight, pipeline.gate.explaining) == (0, 0)
    await call(pipeline)


@pytest.mark.parametrize("call", [decide, explain])
async def test_a_tenant_waits_for_the_log_within_their_quota(call: Callable[[Pipeline], Awaitable[object]]) -> None:
    """What one tenant has waiting counts as theirs, and keeps no other tenant out."""
    log = Behind()
    pipeline = pipeline_of(SumModel(), gate=Gate(max_in_flight=9, share=1.0), records=log)
    pipeline.quotas = Quotas(of=lambda tenant: Quota(concurrency=9 if tenant == "two" else PLACES))
    waiting = await begin(call, pipeline, log)
    with pytest.raises(QuotaExceeded):
        await asyncio.wait_for(call(pipeline), SECONDS)
    two = Identity(name="two", tenant="two", roles=frozenset())
    other = asyncio.ensure_future(pipeline.explain(ask(TEXT, caller=two)))
    log.let.set()
    await asyncio.gather(*waiting, other)
    assert pipeline.quotas.usages["two"].running == 0


@pytest.mark.parametrize("call", [decide, explain])
async def test_who_leaves_or_fails_there_gives_their_place_back(
    call: Callable[[Pipeline], Awaitable[object]],
) -> None:
    """A caller who leaves frees one place, and takes nothing from those who wait; a failure frees them all."""
    log = Behind()
    pipeline = pipeline_of(SumModel(), gate=Gate(max_in_flight=PLACES, share=1.0), records=log)
    waiting = await begin(call, pipeline, log)
    waiting[0].cancel()
    await asyncio.wait({waiting[0]})
    assert pipeline.gate.in_flight == PLACES - 1
    log.problem = RecordingFailed("the answer could not be recorded")
    log.let.set()
    for left in waiting[1:]:
        with pytest.raises(RecordingFailed):
            await left
    assert (pipeline.gate.in_flight, pipeline.gate.explaining) == (0, 0)
