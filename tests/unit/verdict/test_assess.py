"""From what the looks measured to the evidence for one map, and its ruling."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rollcall.checks.alignment import alignment_value, estimate_effects, plan_looks
from rollcall.checks.base import OPERATORS
from rollcall.checks.instrument import InstrumentFinding
from rollcall.checks.reach import ReachFinding
from rollcall.domain.maps import DEFAULT_MAPS, Floats, MapKind
from rollcall.domain.rows import RowResult
from rollcall.domain.verdicts import CheckKind, CheckOutcome, CheckResult, Flag, Reason
from rollcall.verdict.assess import (
    Assessment,
    Measurements,
    after_witnesses,
    assess,
    estimate_all,
)
from rollcall.verdict.decide import Ruling
from rollcall.verdict.policies import STANDARD
from tests.calibrations import calibration
from tests.subjects import NAN, answer, subject, unit_map

N = 8
EFFECTS = np.array([0.1, 0.9, 0.2, 0.0, 0.4, 0.1, 0.3, 0.05])
RIGHT = EFFECTS / EFFECTS.sum()
WRONG = (0.95 - EFFECTS) / (0.95 - EFFECTS).sum()
CRASH = RuntimeError("broken")


def check(kind: CheckKind, outcome: CheckOutcome) -> CheckResult:
    """A result with nothing else to say."""
    return CheckResult(kind=kind, outcome=outcome, statistic="none")


LIVE = InstrumentFinding(
    passed=True,
    vacuous=False,
    results=(
        check(CheckKind.INSTRUMENT, CheckOutcome.SUPPORTS),
        check(CheckKind.UNIFORM_ATTENTION, CheckOutcome.INCONCLUSIVE),
    ),
)


def measured(
    *,
    looks: int = 1,
    effects: Floats = EFFECTS,
    hidden: Floats | None = None,
    **changes: Any,  # noqa: ANN401 - fields of Measurements
) -> Measurements:
    """Measurements on a model of additive effects; those of hidden words may differ from those of masked ones."""
    planned = plan_looks(N, 0, STANDARD)[:looks]
    removed = np.concatenate([look.removed for look in planned])
    operators = tuple(o for look in planned for o in look.operators)
    costs = np.stack([effects if o is OPERATORS[0] or hidden is None else hidden for o in operators])
    measurements = Measurements(
        subject=subject(N, margin=2.0),
        calibration=None,
        instrument=LIVE,
        reach=ReachFinding(margins=(0.0, 0.0)),
        removed=removed,
        operators=operators,
        margins=2.0 - (removed * costs).sum(axis=1),
    )
    return replace(measurements, **changes)


def assessed(
    scores: Floats = RIGHT, measurements: Measurements | None = None, kind: MapKind = MapKind.RAW_ATTENTION
) -> Assessment:
    """Assess one map."""
    found = measurements or measured()
    (assessment,) = assess([unit_map(scores, kind)], found, estimate_all(found))
    return assessment


def outcomes(assessment: Assessment) -> dict[CheckKind, CheckOutcome]:
    """Outcome of each check."""
    return {result.kind: result.outcome for result in assessment.checks}


def test_a_right_map_is_faithful_and_a_wrong_one_is_not() -> None:
    """The same rows make one map faithful and the opposite one unfaithful."""
    assert assessed(RIGHT).ruling == Ruling(flag=Flag.FAITHFUL)
    assert assessed(WRONG).ruling == Ruling(flag=Flag.UNFAITHFUL)
    assert outcomes(assessed(RIGHT))[CheckKind.ALIGNMENT] is CheckOutcome.SUPPORTS
    assert outcomes(assessed(WRONG))[CheckKind.ALIGNMENT] is CheckOutcome.CONTRADICTS


def test_the_numbers_behind_the_flag_are_all_there() -> None:
    """A with its width, rho, p-values, the number of removals and A under each operator are reported as estimated."""
    found = measured(looks=2)
    assessment = assessed(RIGHT, found)
    estimate = estimate_effects(found.removed, found.operators, found.margins)
    assert estimate is not None
    alignment = assessment.alignment
    assert alignment is not None
    assert alignment.value == alignment_value(RIGHT, estimate.effects)
    assert (alignment.reliability, alignment.ridge_lambda) == (estimate.reliability, estimate.ridge_lambda)
    assert (alignment.width, alignment.removals) == (0.2, 32)
    assert alignment.p_up < 0.01
    assert alignment.p_low > 0.99
    assert [(o.operator, o.rows) for o in alignment.per_operator] == [(o, 16) for o in OPERATORS]
    assert assessment.strength == pytest.approx(alignment.value - 0.2)


def test_each_operator_is_fitted_on_its_own_rows() -> None:
    """A per operator comes from a fit of that operator's rows alone."""
    found = measured(looks=3, hidden=0.95 - EFFECTS)
    alignment = assessed(RIGHT, found).alignment
    assert alignment is not None
    for part in alignment.per_operator:
        rows = np.array([o is part.operator for o in found.operators])
        estimate = estimate_effects(found.removed[rows], (part.operator,) * int(rows.sum()), found.margins[rows])
        assert estimate is not None
        assert part.value == alignment_value(RIGHT, estimate.effects)
    masked, hidden = alignment.per_operator
    assert masked.value > 0.9
    assert hidden.value < -0.9


def test_operators_that_disagree_take_faithful_back() -> None:
    """Where one way of removing words says the opposite of the other, nobody can rely on the map."""
    hidden = 0.3 * (0.95 - EFFECTS)
    assessment = assessed(RIGHT, measured(looks=3, hidden=hidden))
    assert assessment.evidence.operators_disagree
    assert assessment.ruling == Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.OPERATOR_DISAGREEMENT)


@pytest.mark.parametrize(("weight", "omitted"), [(0.99 / 16, True), (1.01 / 16, False)])
def test_a_map_that_omits_the_most_important_word_is_not_faithful(weight: float, omitted: bool) -> None:  # noqa: FBT001 - a table
    """The word with the largest effect must have at least half of an equal share."""
    scores = np.array([0.0, weight, 0.17, 0.0, 0.5, 0.0, 0.27, 0.0])
    scores[4] += 1 - scores.sum()
    assert assessed(scores).evidence.may_omit_top_effect is omitted


def test_a_word_that_speaks_against_the_class_may_be_left_out() -> None:
    """What must not be omitted is the strongest word for the class, not the strongest against it."""
    effects = np.array([0.1, 0.9, 0.2, -3.0, 0.4, 0.1, 0.3, 0.05])
    scores = np.clip(effects, 0, None) / np.clip(effects, 0, None).sum()
    assert not assessed(scores, measured(looks=3, effects=effects)).evidence.may_omit_top_effect


def test_a_word_that_may_matter_most_must_not_be_left_out_either() -> None:
    """Two words matter about as much; with few noisy removals nobody knows which one more."""
    effects = np.array([1.0, 0.98, 0.1, 0.1, 0.05, 0.0, 0.1, 0.0])
    scores = effects / effects.sum()
    scores[1] = 0.0
    assert assessed(scores / scores.sum(), measured(looks=1, effects=effects)).evidence.may_omit_top_effect
    assert not assessed(effects / effects.sum(), measured(looks=1, effects=effects)).evidence.may_omit_top_effect


def test_omission_takes_faithful_back() -> None:
    """However well the rest aligns, a map without the word that matters most is not faithful."""
    effects = np.array([1.0, 0.98, 0.96, 0.0, 0.0, 0.0, 0.0, 1.02])
    scores = np.array([0.33, 0.32, 0.31, 0.0, 0.0, 0.0, 0.0, 0.04])
    assert assessed(scores, measured(looks=2, effects=effects)).ruling is None
    assessment = assessed(scores, measured(looks=3, effects=effects, last=True))
    assert assessment.ruling == Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.OMISSION)


@pytest.mark.parametrize(
    ("scores", "flat"), [(np.full(N, 1 / N), True), (np.r_[0.16, np.full(7, 0.12)], True), (RIGHT, False)]
)
def test_flat_maps_say_nothing(scores: Floats, flat: bool) -> None:  # noqa: FBT001 - a table
    """A map closer to uniform than 0.01 nats is neither right nor wrong."""
    assessment = assessed(scores)
    assert assessment.evidence.flat is flat
    assert (assessment.ruling == Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.FLAT_MAP)) is flat


@pytest.mark.parametrize("broken", ["map", "rows"])
def test_values_that_are_not_numbers_decide_nothing(broken: str) -> None:
    """NaN in the map or in any row gives NUMERICS, without a single number made from it."""
    scores = np.r_[NAN, RIGHT[1:]] if broken == "map" else RIGHT
    assessment = assessed(scores, measured(finite=broken == "map"))
    assert assessment.ruling == Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.NUMERICS)
    assert assessment.alignment is None
    assert np.isnan(assessment.jsd_from_uniform)
    assert outcomes(assessment)[CheckKind.ALIGNMENT] is CheckOutcome.INCONCLUSIVE


def test_constant_margins_have_no_alignment() -> None:
    """Where removing words never changes anything, but something else does, there is no A: too little power."""
    assessment = assessed(RIGHT, measured(effects=np.zeros(N)))
    assert assessment.alignment is None
    assert assessment.evidence.reliability == 0
    assert assessment.ruling == Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.LOW_POWER)


def test_maps_are_judged_together_as_they_are_alone() -> None:
    """Which other maps are asked for changes nothing about a map, not even where one of them is broken."""
    found = measured(looks=2, **twins(2.0))
    maps = [
        unit_map(scores, kind)
        for scores, kind in zip((RIGHT, np.full(N, 1 / N), np.r_[NAN, RIGHT[1:]], WRONG), DEFAULT_MAPS, strict=True)
    ]
    together = assess(maps, found, estimate_all(found))
    for one, other in zip(together, maps, strict=True):
        (alone,) = assess([other], found, estimate_all(found))
        assert repr(one) == repr(alone)
        assert one.map is other


def test_words_of_equal_weight_are_not_ranked() -> None:
    """Where every word carries the same, no map is right or wrong by the luck of rounding."""
    equal = measured(effects=np.full(N, 0.25))
    rounding = np.random.default_rng(0).normal(size=len(equal.margins)) * 1e-7
    assessment = assessed(RIGHT, replace(equal, margins=equal.margins + rounding))
    assert assessment.ruling == Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.LOW_POWER)


def test_no_reach_is_said_whatever_the_map() -> None:
    """Where the decision does not depend on the words, right and wrong maps alike get NO_EFFECT."""
    calm = measured(effects=EFFECTS * 0.01, reach=ReachFinding(margins=(2.0, 2.0)))
    for scores in (RIGHT, WRONG):
        assert assessed(scores, calm).ruling == Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.NO_EFFECT)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"instrument": None}, CheckOutcome.SKIPPED),
        ({"instrument": CRASH}, CheckOutcome.ERRORED),
        ({"crash": CRASH}, CheckOutcome.ERRORED),
    ],
)
def test_missing_instruments_are_inconclusive(changes: dict[str, Any], outcome: CheckOutcome) -> None:
    """Instruments that did not run, or crashed, prove nothing about right maps and wrong ones alike."""
    for scores in (RIGHT, WRONG):
        assessment = assessed(scores, measured(**changes))
        assert outcomes(assessment)[CheckKind.INSTRUMENT] is outcome
        assert assessment.ruling == Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.INSTRUMENT)


@pytest.mark.parametrize(("reach", "outcome"), [(None, CheckOutcome.SKIPPED), (CRASH, CheckOutcome.ERRORED)])
def test_missing_reach_is_inconclusive(reach: Exception | None, outcome: CheckOutcome) -> None:
    """Without an answer to "does it depend on the input at all" no map is judged."""
    assessment = assessed(RIGHT, measured(reach=reach))
    assert outcomes(assessment)[CheckKind.REACH] is outcome
    assert assessment.ruling == Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.INSTRUMENT)


def test_nothing_measured_is_a_matter_of_budget() -> None:
    """A deadline before the first look: no check ran, and the flag says why."""
    empty = Measurements(
        subject=subject(N), calibration=None, removed=np.zeros((0, N), dtype=np.bool_), margins=np.zeros(0), cut=True
    )
    assessment = assessed(RIGHT, empty)
    assert set(outcomes(assessment).values()) == {CheckOutcome.SKIPPED}
    assert assessment.ruling == Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.BUDGET)
    assert assessment.strength == -np.inf


def twins(margin: float) -> dict[str, Any]:
    """Eight draws with a very different map, all answered with this margin."""
    far = np.roll(RIGHT, 3)
    return drawn(*[answer(margin, maps={MapKind.RAW_ATTENTION: far}) for _ in range(8)])


def drawn(*draws: RowResult) -> dict[str, Any]:
    """Fields of Measurements after these draws."""
    return {"draws": draws, "same": subject(N, margin=2.0).same(draws)}


def test_attention_that_is_not_used_takes_faithful_back() -> None:
    """A map of attention that does not matter to the answer is not faithful, though it may rank the words well."""
    unused = measured(**twins(2.0))
    assert assessed(RIGHT, unused).ruling == Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.NOT_USED)
    assert assessed(RIGHT, unused).twin is not None
    assert assessed(RIGHT, measured(**twins(-2.0))).ruling == Ruling(flag=Flag.FAITHFUL)


def test_rewiring_is_not_held_against_other_maps() -> None:
    """A map of gradients is not about attention weights alone."""
    assessment = assessed(RIGHT, measured(**twins(2.0)), MapKind.GRADIENT_ROLLOUT)
    assert assessment.ruling == Ruling(flag=Flag.FAITHFUL)
    assert outcomes(assessment)[CheckKind.REWIRING] is CheckOutcome.SKIPPED


def test_a_crash_while_judging_rewiring_stays_within_that_check() -> None:
    """Draws without the map itself crash the judging: no FAITHFUL, UNFAITHFUL stays, and no error for the caller."""
    broken = measured(**drawn(*[answer(2.0)] * 8))
    for scores, ruling in (
        (RIGHT, Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.INSTRUMENT)),
        (WRONG, Ruling(flag=Flag.UNFAITHFUL)),
    ):
        assessment = assessed(scores, broken)
        assert outcomes(assessment)[CheckKind.REWIRING] is CheckOutcome.ERRORED
        assert assessment.ruling == ruling


def test_calibrated_widths_decide_where_they_cover_the_length() -> None:
    """A calibration for these lengths replaces the width, one for shorter inputs does not."""
    covered = assessed(RIGHT, measured(calibration=calibration(c=0.02, longest=N)))
    longer = assessed(RIGHT, measured(calibration=calibration(c=0.02, longest=N - 1)))
    assert (covered.evidence.width, covered.evidence.calibrated) == (0.08, True)
    assert (longer.evidence.width, longer.evidence.calibrated) == (0.4, False)


def test_a_policy_may_demand_a_calibration() -> None:
    """Under such a policy an uncalibrated model decides nothing."""
    demanding = subject(N, policy=replace(STANDARD, require_calibration=True))
    assessment = assessed(RIGHT, measured(subject=demanding))
    assert assessment.ruling == Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.UNCALIBRATED)


def test_one_word_has_too_little_power() -> None:
    """A single word has no other to be compared with, and its map is not called flat."""
    alone = Measurements(
        subject=subject(1),
        calibration=None,
        instrument=LIVE,
        reach=ReachFinding(margins=(0.0, 0.0)),
        removed=np.zeros((0, 1), dtype=np.bool_),
        margins=np.zeros(0),
        last=True,
    )
    assert assessed(np.ones(1), alone).ruling == Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.LOW_POWER)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Ruling(flag=Flag.FAITHFUL), Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.CONFLICT)),
        (Ruling(flag=Flag.UNFAITHFUL), Ruling(flag=Flag.UNFAITHFUL)),
        (
            Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.LOW_POWER),
            Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.LOW_POWER),
        ),
    ],
)
def test_a_counterexample_only_takes_faithful_back(before: Ruling, after: Ruling) -> None:
    """A witness turns FAITHFUL into CONFLICT and nothing else into anything."""
    assert after_witnesses(before, counterexample=True, crashed=False) == after
    assert after_witnesses(before, counterexample=True, crashed=True) == after
    assert after_witnesses(before, counterexample=False, crashed=False) == before
