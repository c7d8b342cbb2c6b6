"""Models in use: nobody is left without the weights that they began with."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from rollcall.domain.errors import ModelNotFound
from rollcall.pipeline.catalog import Entry
from rollcall.pipeline.leases import Leases
from tests.harness import ask
from tests.unit.pipeline.fakes import CARD, TEXT, SumModel, pipeline_of
from tests.unit.pipeline.test_explain import PREDICT


async def test_idle_waits_for_the_last_one() -> None:
    """Two users, one after the other, and none of another model."""
    leases = Leases()
    with leases.holding("other"):
        await leases.idle("m")
        with leases.holding("m"):
            waiting = asyncio.create_task(leases.idle("m"))
            with leases.holding("m"):
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not waiting.done()
        await asyncio.wait_for(waiting, 5)
    assert not leases.held


async def test_who_comes_while_others_wait_is_waited_for() -> None:
    """A model taken up again between the last return and the waking is in use."""
    leases = Leases()
    with leases.holding("m"):
        waiting = asyncio.create_task(leases.idle("m"))
        await asyncio.sleep(0)
    with leases.holding("m"):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 5)


@pytest.mark.parametrize("explains", [True, False])
async def test_a_request_keeps_the_revision_that_it_began_with(*, explains: bool) -> None:
    """The next one gets the new revision; the old one is in use until its answer is out, or it is cancelled."""
    model = SumModel(halt_at="look" if explains else "predict")
    pipeline = pipeline_of(model)

    def send() -> asyncio.Task[object]:
        if explains:
            return asyncio.ensure_future(pipeline.explain(ask(TEXT)))
        return asyncio.ensure_future(pipeline.predict(PREDICT))

    first, second = send(), send()
    await model.halted.wait()
    newer = replace(CARD, ref=replace(CARD.ref, revision="2", digest="sha256:" + "2" * 64))
    pipeline.add_model(Entry(card=newer, calibration=None))
    assert not pipeline.serves(CARD.ref.key)
    idle = asyncio.create_task(pipeline.leases.idle(CARD.ref.key))
    second.cancel()
    await asyncio.sleep(0)
    assert not idle.done()
    model.let_go.set()
    answer = await asyncio.wait_for(first, 5)
    await asyncio.wait_for(idle, 5)
    assert answer.model.revision == CARD.ref.revision  # type: ignore[attr-defined]
    assert (await send()).model == newer.ref  # type: ignore[attr-defined]
    pipeline.remove_model(CARD.ref.name)
    with pytest.raises(ModelNotFound):
        await send()
