"""Checks in lockstep: shared batches, failures that stay where they are, looks that end when everything is decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from rollcall.admission.budget import Budget, Cut, Pace
from rollcall.checks.base import Asking, Subject
from rollcall.domain.compute import Priority
from rollcall.domain.decision import Decision, Task
from rollcall.domain.errors import BackendError, DeviceMemory
from rollcall.domain.maps import MapKind, MapOptions, UnitMap
from rollcall.domain.rows import RemovalOperator, Row, RowResult
from rollcall.domain.verdicts import CheckKind, CheckOutcome, Flag, Reason
from rollcall.pipeline.checking import Checked, Checker
from rollcall.pipeline.lockstep import OutOfBudgetError, run_together
from rollcall.pipeline.stopwatch import Stopwatch
from rollcall.verdict.policies import STANDARD
from tests.unit.pipeline.fakes import TEXT, SumModel, effects_of, encoding, unit_map


@dataclass(kw_only=True)
class Echo:
    """Answers each row with its seed, and remembers the batches."""

    batches: list[list[int]] = field(default_factory=list)
    failing: Callable[[int], Exception | None] = lambda _: None
    spoilt: frozenset[int] = frozenset()

    async def __call__(self, rows: list[Row]) -> list[RowResult]:
        """Run one batch."""
        self.batches.append([row.seed for row in rows])
        error = self.failing(len(self.batches))
        if error is not None:
            raise error
        return [RowResult(logits=np.array([np.nan if row.seed in self.spoilt else row.seed])) for row in rows]


def asking(*steps: list[int]) -> Asking[list[list[float]]]:
    """Ask for rows with these seeds, step by step; find their answers."""
    found = []
    for seeds in steps:
        results = yield [Row(seed=seed) for seed in seeds]
        found.append([float(result.logits[0]) for result in results])
    return found


def crashing(seeds: list[int]) -> Asking[None]:
    """Ask once, and crash on the answer."""
    yield [Row(seed=seed) for seed in seeds]
    raise ZeroDivisionError


async def test_checks_share_batches_and_get_their_own_answers() -> None:
    """Rows of all checks of a step run as one batch; each check hears of its own, for as many steps as it likes."""
    echo = Echo()
    found, finite = await run_together(
        echo, {"a": asking([1, 2], [3], [4]), "b": asking([10], [11, 12]), "c": asking()}
    )
    assert found == {"a": [[1, 2], [3], [4]], "b": [[10], [11, 12]], "c": []}
    assert echo.batches == [[1, 2, 10], [3, 11, 12], [4]]
    assert finite


async def test_a_crash_stays_within_its_check() -> None:
    """A check that crashes, at once or on its answer, leaves its error, and the others theirs."""

    def stillborn() -> Asking[None]:
        raise KeyError
        yield []

    echo = Echo()
    found, _ = await run_together(echo, {"a": crashing([1]), "b": asking([2], [3]), "c": stillborn()})
    assert isinstance(found["a"], ZeroDivisionError)
    assert isinstance(found["c"], KeyError)
    assert found["b"] == [[2], [3]]
    assert echo.batches == [[1, 2], [3]]


@pytest.mark.parametrize("error", [BackendError("failed"), DeviceMemory("too small")])
async def test_a_failing_batch_is_the_finding_of_those_who_waited(error: Exception) -> None:
    """A device that fails takes those with it whose rows were in the batch; what was found before stays found."""
    echo = Echo(failing=lambda batch: error if batch == 2 else None)
    found, _ = await run_together(echo, {"a": asking([1]), "b": asking([2], [3]), "c": asking([4], [5])})
    assert found == {"a": [[1]], "b": error, "c": error}


async def test_bugs_and_cancellations_are_not_swallowed() -> None:
    """What is neither a check's nor the device's failure goes up to whoever asked."""
    with pytest.raises(RuntimeError, match="bug"):
        await run_together(Echo(failing=lambda _: RuntimeError("bug")), {"a": asking([1])})


async def test_checks_that_cannot_be_afforded_are_closed() -> None:
    """Rows are allowed in the order of the checks as far as the budget goes; who is refused is told, and cleaned up."""
    closed = []

    def careful() -> Asking[None]:
        try:
            yield [Row(seed=seed) for seed in range(5)]
        finally:
            closed.append(True)

    echo = Echo()
    found, _ = await run_together(
        echo, {"a": asking([1, 2, 3]), "b": careful(), "c": asking([4], [5, 6])}, affords=lambda rows: rows <= 4
    )
    assert found["a"] == [[1, 2, 3]]
    assert isinstance(found["b"], OutOfBudgetError)
    assert found["c"] == [[4], [5, 6]]
    assert closed == [True]
    assert echo.batches == [[1, 2, 3, 4], [5, 6]]


async def test_nothing_affordable_runs_nothing() -> None:
    """Without a budget the device is left alone."""
    echo = Echo()
    found, finite = await run_together(echo, {"a": asking([1])}, affords=lambda _: False)
    assert isinstance(found["a"], OutOfBudgetError)
    assert finite
    assert echo.batches == []


async def test_values_that_are_not_numbers_are_seen() -> None:
    """Rows that are not numbers are reported; a check that must not see them gets an error instead."""
    spoilt = frozenset({2})
    seen, finite = await run_together(Echo(spoilt=spoilt), {"a": asking([1]), "b": asking([2])})
    assert seen["a"] == [[1]]
    assert np.isnan(seen["b"][0][0])
    assert not finite
    kept, finite = await run_together(Echo(spoilt=spoilt), {"a": asking([1]), "b": asking([2])}, finite_only=True)
    assert kept["a"] == [[1]]
    assert isinstance(kept["b"], FloatingPointError)
    assert not finite


def subject_of(text: str = TEXT, model: SumModel | None = None) -> Subject:
    """The untouched input of the sum model."""
    encoded = encoding(text)
    base = (model or SumModel()).answer(encoded, Row(readout=True))
    return Subject(
        encoding=encoded, decision=Decision(task=Task.SINGLE_LABEL, target=0), base=base, seed=7, policy=STANDARD
    )


def checker_of(
    model: SumModel,
    maps: tuple[UnitMap, ...],
    *,
    text: str = TEXT,
    budget: Budget | None = None,
    primary: MapKind | None = None,
) -> Checker:
    """Check maps of the sum model."""
    subject = subject_of(text, model)
    spending = budget or Budget(max_rows=122, deadline=None, clock=lambda: 0.0, pace=Pace(), length=10, rows=1)

    async def run(rows: list[Row]) -> list[RowResult]:
        results = await model.run("m", subject.encoding, rows, MapOptions(), Priority.CHECK)
        spending.spend(len(rows), 0.0)
        return results

    return Checker(
        subject=subject,
        maps=maps,
        primary=primary or maps[0].kind,
        attention_is_uniform=False,
        calibration=None,
        budget=spending,
        run=run,
        stopwatch=Stopwatch(),
    )


def flags(checked: Checked) -> dict[MapKind, tuple[Flag, Reason]]:
    """Flag and reason of each map."""
    return {m.assessment.map.kind: (m.ruling.flag, m.ruling.reason) for m in checked.maps}


def removals(checked: Checked) -> dict[MapKind, int]:
    """How many removals each map's ruling rests on."""
    return {m.assessment.map.kind: m.assessment.alignment.removals for m in checked.maps if m.assessment.alignment}


TRUTH = effects_of(encoding(TEXT)) + 0.01
RIGHT = unit_map(MapKind.NORM_ROLLOUT, TRUTH)
WRONG = unit_map(MapKind.GRADIENT_ROLLOUT, TRUTH.max() + 0.01 - TRUTH)
HALF_SCORES = np.array([0.2, 0.9, 0.2, 0.9, 0.4, 0.5, 1.0, 0.2])
"""Alignment 0.57: neither above nor below the threshold by any width, however long one looks."""
HALF = unit_map(MapKind.GRADIENT_ROLLOUT, HALF_SCORES)
ATTENTIVE_HALF = unit_map(MapKind.RAW_ATTENTION, HALF_SCORES)


async def test_what_is_clear_is_decided_by_the_first_look() -> None:
    """A map that is plainly right and one that is plainly wrong take one look, and nothing more is run for them."""
    checked = await checker_of(SumModel(), (RIGHT, WRONG)).check()
    assert flags(checked) == {
        MapKind.NORM_ROLLOUT: (Flag.FAITHFUL, Reason.NONE),
        MapKind.GRADIENT_ROLLOUT: (Flag.UNFAITHFUL, Reason.NONE),
    }
    assert checked.looks == len(checked.trace) == 1
    assert removals(checked) == {MapKind.NORM_ROLLOUT: 16, MapKind.GRADIENT_ROLLOUT: 16}
    assert checked.recommended is MapKind.NORM_ROLLOUT


async def test_a_decided_map_stays_decided() -> None:
    """While another map is still open the looks go on, and what they find changes nothing about a decided one."""

    def turn(stage: str, rows: list[Row], results: list[RowResult]) -> list[RowResult]:
        """After the first look the removals say the opposite."""
        if model.checked <= 21 or stage == "witness":
            return results
        return [
            replace(result, logits=result.logits if row.removed is None else -result.logits)
            for row, result in zip(rows, results, strict=True)
        ]

    model = SumModel(after=turn, witness_from=53)
    alone = await checker_of(SumModel(), (RIGHT,)).check()
    checked = await checker_of(model, (RIGHT, HALF)).check()
    assert checked.looks == len(checked.trace) > 1
    assert checked.trace[0][HALF.kind].ruling is None
    assert checked.maps[0].assessment == alone.maps[0].assessment == checked.trace[-1][RIGHT.kind]
    assert removals(checked)[HALF.kind] > removals(checked)[RIGHT.kind] == 16


async def test_first_round_has_the_rows_of_the_design() -> None:
    """The first batch holds instrument, reach, sixteen removals, and eight permuted rows for maps of attention."""
    sizes: dict[bool, int] = {}
    for about_attention in (True, False):
        model = SumModel()
        kind = MapKind.RAW_ATTENTION if about_attention else MapKind.NORM_ROLLOUT
        await checker_of(model, (unit_map(kind, TRUTH),)).check()
        sizes[about_attention] = model.rows[0][1]
    assert sizes == {True: 3 + 2 + 16 + 8, False: 3 + 2 + 16}


async def test_the_rows_of_an_open_map_stay_within_the_design() -> None:
    """A map that no look decides costs 66 shared rows, of which the last looks permute nothing."""
    model = SumModel()
    checked = await checker_of(model, (ATTENTIVE_HALF,)).check()
    assert flags(checked)[ATTENTIVE_HALF.kind] == (Flag.INCONCLUSIVE, Reason.LOW_POWER)
    assert [count for _, count in model.rows[:3]] == [29, 20, 16]
    assert sum(count for _, count in model.rows[:3]) + 1 == 66
    assert checked.looks == 3


@pytest.mark.parametrize(("max_rows", "looks"), [(29, 0), (30, 1), (49, 1), (50, 2)])
async def test_the_budget_ends_the_looks(max_rows: int, looks: int) -> None:
    """Where rows run out the open maps say BUDGET, and the looks that were paid for count."""
    budget = Budget(max_rows=max_rows, deadline=None, clock=lambda: 0.0, pace=Pace(), length=10, rows=1)
    checked = await checker_of(SumModel(), (ATTENTIVE_HALF,), budget=budget).check()
    assert checked.looks == looks
    assert flags(checked)[ATTENTIVE_HALF.kind] == (Flag.INCONCLUSIVE, Reason.BUDGET)
    assert budget.cut is Cut.MAX_ROWS
    assert budget.rows <= max_rows
    if looks == 0:
        assert all(result.outcome is CheckOutcome.SKIPPED for result in checked.maps[0].checks)


async def test_a_budget_that_ends_takes_no_decision_back() -> None:
    """Maps decided by the first look keep their flags when there is nothing left for a second one."""
    budget = Budget(max_rows=22, deadline=None, clock=lambda: 0.0, pace=Pace(), length=10, rows=1)
    checked = await checker_of(SumModel(), (RIGHT, HALF), budget=budget).check()
    assert flags(checked) == {
        RIGHT.kind: (Flag.FAITHFUL, Reason.NONE),
        HALF.kind: (Flag.INCONCLUSIVE, Reason.BUDGET),
    }
    skipped = {result.kind: result.outcome for result in checked.maps[0].checks}
    assert skipped[CheckKind.OMISSION] is CheckOutcome.SKIPPED
    assert skipped[CheckKind.DECISION_FLIP] is CheckOutcome.SKIPPED
    assert checked.flip is None


async def test_a_device_that_fails_in_the_first_look_decides_nothing() -> None:
    """Where the first batch fails no instrument was read: nothing is faithful, nothing is unfaithful."""

    def fail(stage: str) -> None:
        if stage == "look":
            message = "failed"
            raise BackendError(message)

    checked = await checker_of(SumModel(before=fail), (RIGHT, WRONG)).check()
    assert set(flags(checked).values()) == {(Flag.INCONCLUSIVE, Reason.INSTRUMENT)}
    assert checked.effects == ()
    assert checked.recommended is None
    outcomes = {result.kind: result.outcome for result in checked.maps[0].checks}
    assert outcomes[CheckKind.INSTRUMENT] is outcomes[CheckKind.REACH] is CheckOutcome.ERRORED


async def test_a_device_that_fails_in_the_witnesses_says_so() -> None:
    """Witnesses that could not be run are reported as errors, never as found or absent."""

    def fail(stage: str) -> None:
        if stage == "witness":
            message = "failed"
            raise BackendError(message)

    checked = await checker_of(SumModel(before=fail, witness_from=1), (RIGHT,)).check()
    outcomes = {result.kind: result.outcome for result in checked.maps[0].checks}
    witnesses = (CheckKind.OMISSION, CheckKind.SUPPORT, CheckKind.CONTRADICTION, CheckKind.DECISION_FLIP)
    assert {outcomes[kind] for kind in witnesses} == {CheckOutcome.ERRORED}
    assert checked.flip is None
    assert checked.maps[0].witnesses == ()


@pytest.mark.parametrize("stage", ["look", "witness"])
async def test_values_that_are_not_numbers_end_in_the_open(stage: str) -> None:
    """NaN in a look makes every flag NUMERICS; NaN in a witness row makes that witness an error."""

    def spoil(where: str, _: list[Row], results: list[RowResult]) -> list[RowResult]:
        broken = [replace(result, logits=np.full(2, np.nan)) for result in results[-1:]]
        return [*results[:-1], *broken] if where == stage else results

    checked = await checker_of(SumModel(after=spoil, witness_from=1), (RIGHT, WRONG)).check()
    if stage == "look":
        assert set(flags(checked).values()) == {(Flag.INCONCLUSIVE, Reason.NUMERICS)}
        assert checked.effects == ()
    else:
        outcomes = {result.kind: result.outcome for result in checked.maps[0].checks}
        assert CheckOutcome.ERRORED in outcomes.values()
        assert flags(checked)[WRONG.kind] == (Flag.UNFAITHFUL, Reason.NONE)


async def test_effects_sum_to_what_removing_everything_does() -> None:
    """The words' amounts add up to the margin that all of them carry together, and are those of the model."""
    checked = await checker_of(SumModel(), (RIGHT,)).check()
    amounts = np.array([effect.effect for effect in checked.effects])
    assert amounts.sum() == pytest.approx(TRUTH.sum() - 0.08)
    assert np.corrcoef(amounts, TRUTH)[0, 1] > 0.99
    assert all(effect.standard_error >= 0 for effect in checked.effects)


async def test_one_word_carries_everything() -> None:
    """Of a single word nothing can be ranked, and its effect is the whole of it."""
    one = unit_map(MapKind.NORM_ROLLOUT, np.ones(1))
    checked = await checker_of(SumModel(), (one,), text="moves").check()
    assert flags(checked)[one.kind] == (Flag.INCONCLUSIVE, Reason.LOW_POWER)
    (effect,) = checked.effects
    assert effect.effect == pytest.approx(1.6)
    assert checked.looks == 0


async def test_few_words_take_one_look_at_all_subsets() -> None:
    """With four words every subset is removed under both operators, once."""
    model = SumModel()
    four = unit_map(MapKind.NORM_ROLLOUT, effects_of(encoding("plot thin music moves")))
    checked = await checker_of(model, (four,), text="plot thin music moves").check()
    assert flags(checked)[four.kind] == (Flag.FAITHFUL, Reason.NONE)
    assert checked.looks == 1
    assert removals(checked)[four.kind] == 2 * (2**4 - 2)


async def test_witnesses_are_sought_for_the_maps_that_are_shown() -> None:
    """The primary and the recommended map get witnesses; the others are told why they get none."""
    checked = await checker_of(
        SumModel(), (RIGHT, WRONG, unit_map(MapKind.RAW_ATTENTION, TRUTH)), primary=WRONG.kind
    ).check()
    by_kind = {m.assessment.map.kind: {r.kind: r.outcome for r in m.checks} for m in checked.maps}
    skipped = {kind: outcomes[CheckKind.SUPPORT] is CheckOutcome.SKIPPED for kind, outcomes in by_kind.items()}
    assert checked.recommended is not None
    assert skipped == {kind: kind not in {WRONG.kind, checked.recommended} for kind in by_kind}


async def test_the_decision_flip_is_found_and_verified() -> None:
    """The words whose removal changes the answer are named, and removing them does change it under both operators."""
    checked = await checker_of(SumModel(), (RIGHT,)).check()
    assert checked.flip is not None
    assert checked.flip.found
    subject = subject_of()
    left = SumModel().answer(subject.encoding, subject.removal(checked.flip.units, RemovalOperator.MASK_TOKEN))
    assert subject.flips(left)
    assert all(margin < 0 for margin in checked.flip.margins)
