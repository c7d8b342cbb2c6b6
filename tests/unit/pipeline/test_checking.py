"""Looks that end when everything is decided, witnesses for what is shown, and flags that failures cannot move."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rollcall.admission.budget import Budget, Cut
from rollcall.checks.base import Subject
from rollcall.domain.compute import Job
from rollcall.domain.decision import Decision, Task
from rollcall.domain.errors import BackendError
from rollcall.domain.maps import MapKind, MapOptions, UnitMap
from rollcall.domain.rows import RemovalOperator, Row, RowResult
from rollcall.domain.verdicts import CheckKind, CheckOutcome, Flag, Reason
from rollcall.pipeline.checking import Checked, Checker
from rollcall.pipeline.stopwatch import Stopwatch
from rollcall.verdict.calibration import Calibration
from rollcall.verdict.policies import STANDARD
from tests.calibrations import calibration
from tests.unit.pipeline.fakes import TEXT, SumModel, effects_of, encoding, unit_map


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
    calibrated: Calibration | None = None,
) -> Checker:
    """Check maps of the sum model."""
    subject = subject_of(text, model)
    spending = budget or Budget(max_rows=122, deadline=None, clock=lambda: 0.0, estimate=lambda _: 0.0, rows=1)

    async def run(rows: list[Row]) -> list[RowResult]:
        results = await model.run(Job(arrived=0.0), "m", subject.encoding, rows, MapOptions())
        spending.spend(len(rows))
        return results

    return Checker(
        subject=subject,
        maps=maps,
        primary=primary or maps[0].kind,
        attention_is_uniform=False,
        calibration=calibrated,
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


async def test_where_maps_have_a_promise_only_such_a_one_is_recommended() -> None:
    """A map of a kind that the calibration has not seen may look better; what is recommended carries the promise."""
    other = unit_map(MapKind.DECOMPOSITION, TRUTH)
    order = np.argsort(TRUTH)
    swapped = TRUTH.copy()
    swapped[order[3:5]] = TRUTH[order[[4, 3]]]
    nearly = unit_map(MapKind.NORM_ROLLOUT, swapped)
    chosen = {}
    for calibrated in (None, calibration(c=0.05), calibration(c=0.05, longest=2), calibration(c=None)):
        checked = await checker_of(SumModel(), (nearly, other), calibrated=calibrated).check()
        assert flags(checked) == dict.fromkeys((nearly.kind, other.kind), (Flag.FAITHFUL, Reason.NONE))
        chosen[calibrated.reference(8).id if calibrated else ""] = checked.recommended
    without = MapKind.DECOMPOSITION
    assert chosen == {"": without, "cal": MapKind.NORM_ROLLOUT, "OUT_OF_RANGE": without, "FAILED": without}


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
    budget = Budget(max_rows=max_rows, deadline=None, clock=lambda: 0.0, estimate=lambda _: 0.0, rows=1)
    checked = await checker_of(SumModel(), (ATTENTIVE_HALF,), budget=budget).check()
    assert checked.looks == looks
    assert flags(checked)[ATTENTIVE_HALF.kind] == (Flag.INCONCLUSIVE, Reason.BUDGET)
    assert budget.cut is Cut.MAX_ROWS
    assert budget.rows <= max_rows
    if looks == 0:
        assert all(result.outcome is CheckOutcome.SKIPPED for result in checked.maps[0].checks)


async def test_a_budget_that_ends_takes_no_decision_back() -> None:
    """Maps decided by the first look keep their flags when there is nothing left for a second one."""
    budget = Budget(max_rows=22, deadline=None, clock=lambda: 0.0, estimate=lambda _: 0.0, rows=1)
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
    assert subject.flips([left]).all()
    assert all(margin < 0 for margin in checked.flip.margins)
