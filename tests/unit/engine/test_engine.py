"""Rows and captures: batches of bounded size, split when memory runs out, failures with their cause."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from rollcall.backends.base import BatchRow, CaptureRequest, variants
from rollcall.domain.decision import Decision, Task
from rollcall.domain.errors import BackendError, DeviceLost, DeviceMemory, InvalidInput
from rollcall.domain.maps import DEFAULT_MAPS, Floats, MapKind, MapOptions
from rollcall.domain.rows import AttentionEdit, Row, RowResult
from tests.unit.engine.fakes import FakeBackend, encoding, engine_of

WORDS = encoding(6)
REQUEST = CaptureRequest(
    maps=frozenset(MapKind),
    options=MapOptions(),
    decide=lambda _: Decision(task=Task.SINGLE_LABEL, target=0),
    attention=None,
)


def seeded(*seeds: int) -> list[Row]:
    """Rows that the fake answers with their seeds."""
    return [Row(seed=seed) for seed in seeds]


def answers(backend: FakeBackend, rows: list[Row]) -> list[float]:
    """First logit of each row."""
    return [float(result.logits[0]) for result in engine_of(backend).run("m", variants(WORDS, rows))]


def test_results_are_plain_numbers_in_the_order_of_the_rows() -> None:
    """What leaves the engine is float64 in memory of its own, and holds what the row asked for."""
    rows = [Row(seed=3, readout=True), Row(seed=1), Row(seed=4, edit=AttentionEdit.PERMUTED), Row(seed=2)]
    results = engine_of(FakeBackend()).run("m", variants(WORDS, rows))
    assert [result.logits.tolist() for result in results] == [[3, -3], [1, -1], [4, -4], [2, -2]]
    assert all(result.logits.dtype == np.float64 for result in results)
    readout = results[0].readout
    assert readout is not None
    assert readout.tolist() == [3, 3, 3]
    assert [result.readout for result in results[1:]] == [None] * 3
    assert [set(result.maps) for result in results] == [
        set(),
        set(),
        {MapKind.RAW_ATTENTION, MapKind.ATTENTION_ROLLOUT},
        set(),
    ]
    assert results[2].maps[MapKind.RAW_ATTENTION].tolist() == [0, 0, 0, 1, 0, 0]


def test_permuted_rows_get_their_own_maps() -> None:
    """Among other rows, every permuted row gets the maps of its own attention."""
    rows = [Row(seed=i % 6 + 1, edit=AttentionEdit.PERMUTED if i % 2 else AttentionEdit.NONE) for i in range(12)]
    for capacity in (1000, 5, 1):
        results = engine_of(FakeBackend(capacity=capacity)).run("m", variants(WORDS, rows))
        for row, result in zip(rows, results, strict=True):
            peaks = [int(scores.argmax()) + 1 for scores in result.maps.values()]
            assert peaks == ([row.seed] * 2 if row.edit is AttentionEdit.PERMUTED else [])


@pytest.mark.parametrize("capacity", [1, 2, 3, 7])
def test_out_of_memory_splits_and_changes_nothing(capacity: int) -> None:
    """A device that holds less than it should gives the same answers, in smaller batches."""
    backend, rows = FakeBackend(capacity=capacity), seeded(*range(11))
    assert answers(backend, rows) == [float(i) for i in range(11)]
    fitting = [size for size in backend.batches if size <= capacity]
    assert sum(fitting) == 11
    assert len(fitting) <= 2 * -(-11 // capacity)


def test_one_row_that_does_not_fit_is_said_so() -> None:
    """Where not even one row fits, the caller hears that the device is too small, and the cause is kept."""
    with pytest.raises(DeviceMemory) as refusal:
        answers(FakeBackend(capacity=0), seeded(1, 2))
    assert isinstance(refusal.value.__cause__, torch.OutOfMemoryError)
    with pytest.raises(DeviceMemory):
        engine_of(FakeBackend(capacity=0)).capture("m", WORDS, REQUEST)


@pytest.mark.parametrize("full", [MemoryError, lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_a_full_host_splits_too(full: Callable[[], Exception]) -> None:
    """A processor that has no memory left says so in its own ways; the batch is split all the same."""
    backend = FakeBackend(capacity=2, out_of_memory=full)
    assert answers(backend, seeded(*range(5))) == [0, 1, 2, 3, 4]


def test_memory_is_free_before_the_second_try() -> None:
    """A batch that was too large has let go of its tensors before its halves are run, or they would not fit either."""
    backend = FakeBackend(capacity=2)
    answers(backend, seeded(1, 2, 3, 4))
    assert backend.batches == [4, 2, 2]
    assert not any(backend.kept_from_before)


def parts_of(*seeds: tuple[int, ...]) -> list[list[BatchRow]]:
    """Rows of several requests."""
    return [variants(WORDS, seeded(*part)) for part in seeds]


def logits_of(outcomes: list[list[RowResult] | Exception]) -> list[object]:
    """First logits by part, or what went wrong."""
    return [
        type(outcome) if isinstance(outcome, Exception) else [float(result.logits[0]) for result in outcome]
        for outcome in outcomes
    ]


def test_only_the_part_that_fails_suffers() -> None:
    """A row that crashes the model takes nobody along: the other requests of its batch get their answers."""
    engine = engine_of(FakeBackend(poison=7))
    assert logits_of(engine.run_parts("m", parts_of((1, 2), (3, 7), (4,)))) == [[1, 2], BackendError, [4]]


def test_not_a_number_stays_in_its_row() -> None:
    """NaN in one row is that row's affair."""
    outcomes = engine_of(FakeBackend(not_a_number=3)).run_parts("m", parts_of((1, 3), (2,)))
    assert not isinstance(outcomes[0], Exception)
    assert not isinstance(outcomes[1], Exception)
    assert [result.finite for result in outcomes[0]] == [True, False]
    assert [result.finite for result in outcomes[1]] == [True]


@pytest.mark.parametrize("stock", [True, False])
def test_results_are_never_given_to_the_wrong_caller(stock: bool) -> None:  # noqa: FBT001 - a parameter
    """A backend that loses a row fails those whose batch it was, rather than shift the answers by one."""
    engine = engine_of(FakeBackend(lost_rows=1))
    assert logits_of(engine.run_parts("m", parts_of((1, 2), (3,)), stock=stock)) == [BackendError, BackendError]


def test_a_dead_device_is_told_from_a_failing_model() -> None:
    """An error after which nothing will ever run again is nobody's in particular."""
    engine = engine_of(FakeBackend(failure=lambda: torch.AcceleratorError("CUDA error: device-side assert triggered")))
    with pytest.raises(DeviceLost):
        engine.run_parts("m", parts_of((1,), (2,)))
    with pytest.raises(DeviceLost):
        engine.capture("m", WORDS, REQUEST)


def test_a_question_that_makes_no_sense_is_the_callers_mistake() -> None:
    """Where the decision cannot be asked of these logits, the caller hears why."""

    def refuse(_: Floats) -> Decision:
        raise InvalidInput.of("target.foil", "must differ")

    with pytest.raises(InvalidInput):
        engine_of(FakeBackend()).capture("m", WORDS, replace(REQUEST, decide=refuse))


def test_a_failing_model_is_our_fault_without_its_words() -> None:
    """Whatever the model raises becomes an error of ours: the cause is kept for the log, its text is not repeated."""
    backend = FakeBackend(failure=lambda: RuntimeError("size mismatch for the film was good"))
    for call in (
        lambda: engine_of(backend).run("m", variants(WORDS, seeded(1))),
        lambda: engine_of(backend).capture("m", WORDS, REQUEST),
    ):
        with pytest.raises(BackendError) as failure:
            call()
        assert isinstance(failure.value.__cause__, RuntimeError)
        assert "film" not in str(failure.value)


def test_a_failing_reduction_is_our_fault_too() -> None:
    """A device that fails while maps are reduced, or copied to the host, fails as the model does."""
    broken = FakeBackend(spoiled=lambda found: replace(found, fused=tuple(layer[..., :-1] for layer in found.fused)))
    with pytest.raises(BackendError):
        engine_of(broken).run("m", variants(WORDS, [Row(seed=1, edit=AttentionEdit.PERMUTED)]))


def test_captured_maps_are_those_asked_for() -> None:
    """Only the maps that the plan names are made, in their usual order, over units and with their dropped mass."""
    some = replace(REQUEST, maps=frozenset({MapKind.ATTENTION_ROLLOUT, MapKind.RAW_ATTENTION}))
    captured = engine_of(FakeBackend()).capture("m", WORDS, some)
    assert [unit_map.kind for unit_map in captured.maps] == [MapKind.RAW_ATTENTION, MapKind.ATTENTION_ROLLOUT]
    raw, rollout = captured.maps
    assert raw.scores.tolist() == rollout.scores.tolist() == [1, 0, 0, 0, 0, 0]
    assert raw.dropped_mass == 0
    assert rollout.dropped_mass == 0.25
    everything = engine_of(FakeBackend()).capture("m", WORDS, REQUEST)
    assert [unit_map.kind for unit_map in everything.maps] == list(DEFAULT_MAPS)
    assert all(abs(unit_map.scores.sum() - 1) < 1e-12 for unit_map in everything.maps)


def test_not_a_number_stays_one() -> None:
    """NaN is passed on as NaN, so that the verdict can say so; it becomes neither 0 nor an error."""
    spoiled = FakeBackend(spoiled=lambda found: replace(found, readout=found.readout * float("nan")))
    (result,) = engine_of(spoiled).run("m", variants(WORDS, [Row(seed=1, edit=AttentionEdit.PERMUTED)]))
    assert np.isnan(result.maps[MapKind.RAW_ATTENTION]).all()
    assert not result.finite
    captured = engine_of(spoiled).capture("m", WORDS, REQUEST)
    assert np.isnan(captured.maps[0].scores).all()
