"""A pair's two texts, each judged for itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rollcall.checks.alignment import EffectEstimate, alignment_value
from rollcall.checks.base import Subject
from rollcall.domain.maps import Floats
from rollcall.domain.verdicts import CheckOutcome, Flag, Reason, SideVerdict
from rollcall.verdict.decide import MapEvidence
from rollcall.verdict.sides import judge_sides
from tests.subjects import subject, unit_map

EFFECTS = np.array([0.1, 0.9, 0.3, 0.0, 0.8, 0.1, 0.4, 0.05])
FIRST, SECOND = slice(0, 4), slice(4, 8)
EVIDENCE = MapEvidence(
    finite=True,
    instrument=CheckOutcome.SUPPORTS,
    reach=CheckOutcome.SUPPORTS,
    flat=False,
    alignment=0.1,
    width=0.1,
    reliability=0.9,
    calibrated=False,
    may_omit_top_effect=True,
    rewiring=CheckOutcome.CONTRADICTS,
    operators_disagree=True,
    last=False,
    cut=False,
)
"""About the whole: what it says of omission, rewiring and operators is no matter of one side."""


def pair() -> Subject:
    """Four words in each text."""
    about = subject(8)
    units = tuple(replace(unit, segment=i // 4) for i, unit in enumerate(about.encoding.units))
    return replace(about, encoding=replace(about.encoding, units=units))


def judged(
    scores: Floats,
    *,
    variance: float = 1e-4,
    about: Subject | None = None,
    **changes: Any,  # noqa: ANN401 - fields of MapEvidence
) -> tuple[SideVerdict, ...]:
    """Verdicts on a map, where the effects are known to this variance."""
    estimate = EffectEstimate(effects=EFFECTS, covariance=variance * np.eye(8), ridge_lambda=1.0)
    evidence = replace(EVIDENCE, **changes)
    return judge_sides(about or pair(), unit_map(scores / scores.sum()), estimate, evidence)


def test_a_map_may_be_right_about_one_text_and_wrong_about_the_other() -> None:
    """Each side has a flag of its own, its share of the map, and the alignment among its own words."""
    scores = EFFECTS.copy()
    scores[SECOND] = 3 * (1 - EFFECTS[SECOND])
    first, second = judged(scores)
    assert (first.segment, first.flag, first.reason) == (0, Flag.FAITHFUL, Reason.NONE)
    assert (second.segment, second.flag) == (1, Flag.UNFAITHFUL)
    assert first.alignment == pytest.approx(1.0)
    assert second.alignment == alignment_value(scores[SECOND], EFFECTS[SECOND])
    assert first.share == pytest.approx(scores[FIRST].sum() / scores.sum())
    assert first.share + second.share == pytest.approx(1)


def test_one_text_has_no_sides() -> None:
    """Nothing is said of sides where there are none."""
    assert judged(EFFECTS, about=subject(8)) == ()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"instrument": CheckOutcome.CONTRADICTS}, Reason.INSTRUMENT),
        ({"reach": CheckOutcome.CONTRADICTS}, Reason.NO_EFFECT),
        ({"finite": False}, Reason.NUMERICS),
        ({"cut": True, "reach": CheckOutcome.SKIPPED}, Reason.BUDGET),
    ],
)
def test_what_makes_the_whole_inconclusive_makes_both_sides(changes: dict[str, Any], reason: Reason) -> None:
    """A dead instrument speaks for no side either."""
    assert {(side.flag, side.reason) for side in judged(EFFECTS, **changes)} == {(Flag.INCONCLUSIVE, reason)}


def test_a_flat_or_empty_side_says_nothing() -> None:
    """A map that puts nothing on one text, or the same on each of its words, is no picture of it."""
    scores = EFFECTS.copy()
    scores[SECOND] = 0.25
    assert judged(scores)[1].reason is Reason.FLAT_MAP
    scores[SECOND] = 0.0
    empty = judged(scores)[1]
    assert (empty.reason, empty.share, empty.alignment) == (Reason.LOW_POWER, 0.0, None)


def test_effects_that_are_hardly_known_decide_nothing() -> None:
    """An unreliable estimate among one side's words is not turned into a contradiction."""
    backwards = 1 - EFFECTS
    sides = judged(backwards, variance=10.0)
    assert {side.flag for side in sides} == {Flag.INCONCLUSIVE}
    assert max(side.reliability for side in sides) < 0.7


def test_without_an_estimate_there_is_no_verdict() -> None:
    """Before anything is known both sides are open."""
    sides = judge_sides(pair(), unit_map(EFFECTS / EFFECTS.sum()), None, EVIDENCE)
    assert {(side.flag, side.reason) for side in sides} == {(Flag.INCONCLUSIVE, Reason.LOW_POWER)}
