"""Maps that take more than a capture: made only where asked for, in turns that others can get in between."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest
import torch
from numpy.testing import assert_allclose

from rollcall.backends.base import AttentionReductions, PathGradients
from rollcall.domain.compute import Captured, Job
from rollcall.domain.decision import Decision, Task
from rollcall.domain.errors import BackendError, DeviceMemory
from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import DEFAULT_MAPS, MapKind, MapOptions
from rollcall.engine import further
from rollcall.engine.dispatch import Dispatcher
from tests.unit.engine.fakes import FakeBackend, encoding
from tests.unit.engine.test_dispatch import PATIENCE, dispatching, job

DECISION = Decision(task=Task.SINGLE_LABEL, target=0)
GRADIENTS = frozenset({MapKind.INPUT_X_GRADIENT, MapKind.INTEGRATED_GRADIENTS})


async def capture(
    dispatcher: Dispatcher,
    *kinds: MapKind,
    words: int = 4,
    half_way: bool = False,
    points: int = 4,
    asked: Job | None = None,
) -> Captured:
    """Capture these maps of so many words."""
    return await dispatcher.capture(
        asked or job(),
        "m",
        encoding(words),
        maps=frozenset(kinds),
        options=MapOptions(integration_points=points),
        decide=lambda _: DECISION,
        attention=None,
        half_way=half_way,
    )


async def test_nobody_pays_for_what_was_not_asked() -> None:
    """The usual maps are one turn on the device; no gradient at the embeddings is taken, and none comes back."""
    backend = FakeBackend()
    with dispatching(backend) as (dispatcher, told):
        captured = await capture(dispatcher, *DEFAULT_MAPS)
    assert [kind for kind, _, _ in told.batches] == ["capture"]
    assert backend.batches == []
    assert captured.half_way_gradient is None
    assert {m.kind for m in captured.maps} == set(DEFAULT_MAPS)


async def test_gradients_become_maps() -> None:
    """The path is averaged over the points asked for; what speaks against the target has no weight."""
    with dispatching(FakeBackend()) as (dispatcher, _):
        captured = await capture(dispatcher, MapKind.RAW_ATTENTION, *GRADIENTS)
    maps = {m.kind: m for m in captured.maps}
    assert set(maps) == {MapKind.RAW_ATTENTION, *GRADIENTS}
    # The fake's gradient along the way is the token's number times the point: words 1 to 4, separator 5.
    assert_allclose(maps[MapKind.INTEGRATED_GRADIENTS].scores, [0.1, 0.2, 0.3, 0.4])
    assert maps[MapKind.INTEGRATED_GRADIENTS].dropped_mass == pytest.approx(5 / 15)
    # At the point it is negative everywhere: nothing speaks for the target.
    assert_allclose(maps[MapKind.INPUT_X_GRADIENT].scores, 0.25)


async def test_a_decomposition_becomes_a_map() -> None:
    """The tokens' parts are summed over words; the first word speaks against the target."""
    with dispatching(FakeBackend()) as (dispatcher, told):
        (found,) = (await capture(dispatcher, MapKind.DECOMPOSITION)).maps
    assert [kind for kind, _, _ in told.batches] == ["capture", "call"]
    assert_allclose(found.scores, [0, 2 / 9, 3 / 9, 4 / 9])
    assert found.dropped_mass == pytest.approx(5 / 14)


async def test_the_half_way_gradient_keeps_its_sign() -> None:
    """A first guess at the effects: signed, per word, without special tokens."""
    with dispatching(FakeBackend()) as (dispatcher, _):
        captured = await capture(dispatcher, MapKind.RAW_ATTENTION, half_way=True)
    assert captured.half_way_gradient is not None
    assert_allclose(captured.half_way_gradient, [0.5, 1.0, 1.5, 2.0])


async def test_many_points_are_many_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prediction that comes while gradients are taken waits for one turn, not for all of them."""
    monkeypatch.setattr(further, "TURN_TOKENS", 12)
    backend = FakeBackend()
    with dispatching(backend) as (dispatcher, told):
        explaining = asyncio.create_task(capture(dispatcher, MapKind.INTEGRATED_GRADIENTS, points=10))
        while len(backend.batches) < 2:  # noqa: ASYNC110 - the fake sets no event
            await asyncio.sleep(0)
        await asyncio.wait_for(dispatcher.predict(job(), "m", encoding(4)), PATIENCE)
        await explaining
    kinds = [kind for kind, _, _ in told.batches]
    assert kinds.count("call") == 5
    assert kinds.index("predictions") < len(kinds) - 1


@pytest.mark.parametrize("points", [1, 7])
async def test_points_that_do_not_fit_are_halved(points: int) -> None:
    """A full device takes fewer points at a time, and the map is the same; one that takes none is an error."""
    answers = []
    for capacity in (100, 2):
        with dispatching(FakeBackend(capacity=capacity)) as (dispatcher, _):
            answers.append(await capture(dispatcher, MapKind.INTEGRATED_GRADIENTS, points=points))
    assert_allclose(answers[0].maps[-1].scores, answers[1].maps[-1].scores)


@dataclass(kw_only=True)
class Failing(FakeBackend):
    """Captures, and fails at gradients."""

    at_gradients: Callable[[], Exception]

    def path_gradients(self, encoding: Encoding, decision: Decision, points: Sequence[float]) -> PathGradients:  # noqa: ARG002 - the contract
        """Fail."""
        raise self.at_gradients()


@pytest.mark.parametrize(
    ("failure", "error"),
    [(lambda: torch.OutOfMemoryError("full"), DeviceMemory), (lambda: ValueError("no"), BackendError)],
)
async def test_failures_are_told_apart(failure: Callable[[], Exception], error: type[Exception]) -> None:
    """Too little memory for a single point and a failing model are what they are for rows, too."""
    with dispatching(Failing(at_gradients=failure)) as (dispatcher, _):
        with pytest.raises(error):
            await capture(dispatcher, MapKind.INPUT_X_GRADIENT)
        assert (await capture(dispatcher, MapKind.RAW_ATTENTION)).maps


@pytest.mark.parametrize("failure", [lambda: torch.OutOfMemoryError("full"), lambda: ValueError("no")])
async def test_checks_do_without_a_half_way_gradient_that_fails(failure: Callable[[], Exception]) -> None:
    """A prior helps the checks; where it cannot be had the answer does not fail."""
    with dispatching(Failing(at_gradients=failure)) as (dispatcher, _):
        captured = await capture(dispatcher, MapKind.RAW_ATTENTION, half_way=True)
    assert captured.half_way_gradient is None
    assert captured.maps


async def test_flow_runs_beside_the_device() -> None:
    """All attention is on the first word: it gets all that leaves the read-out, the other words nothing."""
    with dispatching(FakeBackend()) as (dispatcher, told):
        captured = await capture(dispatcher, MapKind.ATTENTION_FLOW)
    assert [kind for kind, _, _ in told.batches] == ["capture"]
    assert captured.layers is None
    (found,) = captured.maps
    # The read-out has 1/2 for the word and 1/2 for itself in both layers: the word gets 1, the read-out 1/2.
    assert_allclose(found.scores, [1, 0, 0, 0], atol=1e-8)
    assert found.dropped_mass == pytest.approx(1 / 3)
    assert found.note == ""


async def test_a_saturated_flow_says_so() -> None:
    """Of uniform attention nothing but the read-out's own edges is left to see."""

    def uniform(found: AttentionReductions) -> AttentionReductions:
        return replace(found, fused=tuple(torch.full_like(layer, 1 / layer.shape[-1]) for layer in found.fused))

    with dispatching(FakeBackend(spoiled=uniform)) as (dispatcher, _):
        (found,) = (await capture(dispatcher, MapKind.ATTENTION_FLOW)).maps
    assert found.note == further.SATURATED
    assert_allclose(found.scores, 0.25)


async def test_a_flow_without_time_is_missing_and_says_so() -> None:
    """A map that could not be finished is left out with its reason; the others are there."""
    with dispatching(FakeBackend()) as (dispatcher, _):
        late = replace(dispatcher, clock=Steps())
        captured = await capture(late, MapKind.RAW_ATTENTION, MapKind.ATTENTION_FLOW)
    assert [m.kind for m in captured.maps] == [MapKind.RAW_ATTENTION]
    (missing,) = captured.missing
    assert (missing.kind, missing.late) == (MapKind.ATTENTION_FLOW, True)
    assert "could not be solved for every word in 5.0 s" in missing.reason


async def test_a_flow_leaves_time_for_the_checks() -> None:
    """Of the time before a deadline it takes half at most."""
    with dispatching(FakeBackend()) as (dispatcher, _):
        now = time.monotonic()
        hurried = replace(dispatcher, clock=Steps(step=1.0, now=now))
        asked = Job(arrived=now, deadline=now + 8)
        captured = await capture(hurried, MapKind.ATTENTION_FLOW, asked=asked)
    (missing,) = captured.missing
    assert float(missing.reason.split()[-2]) <= 4.0


async def test_a_caller_who_leaves_ends_the_flow() -> None:
    """Nobody waits: the next word is not solved."""
    looked_at = threading.Event()
    go_on = threading.Event()

    def clock() -> float:
        """Stand still when the flow's thread looks at it."""
        if threading.current_thread().name.startswith("rollcall-beside"):
            clocked.append(None)
            looked_at.set()
            assert go_on.wait(PATIENCE)
        return 0.0

    clocked: list[None] = []
    with dispatching(FakeBackend()) as (dispatcher, _):
        leaving = asyncio.create_task(capture(replace(dispatcher, clock=clock), MapKind.ATTENTION_FLOW, words=9))
        assert await asyncio.to_thread(looked_at.wait, PATIENCE)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        go_on.set()
    assert len(clocked) == 1


@dataclass(kw_only=True)
class Steps:
    """A clock that goes on by a step whenever it is looked at."""

    step: float = 3.0
    now: float = 0.0

    def __call__(self) -> float:
        """Go on."""
        self.now += self.step
        return self.now
