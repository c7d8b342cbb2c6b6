"""Maps that take more than a capture: made only where asked for, in turns that others can get in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch
from numpy.testing import assert_allclose

from rollcall.backends.base import PathGradients
from rollcall.domain.compute import Captured
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
    dispatcher: Dispatcher, *kinds: MapKind, words: int = 4, half_way: bool = False, points: int = 4
) -> Captured:
    """Capture these maps of so many words."""
    return await dispatcher.capture(
        job(),
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
