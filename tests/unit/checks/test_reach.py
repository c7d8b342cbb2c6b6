"""Does the decision depend on the input at all?"""

from __future__ import annotations

import numpy as np
import pytest

from rollcall.checks.base import OPERATORS
from rollcall.checks.reach import ReachFinding, judge_reach, reach
from rollcall.domain.verdicts import CheckOutcome
from tests.subjects import NAN, by_removal, drive, removed_units, subject

CALM = np.full(16, 2.0)


def test_everything_is_removed_once_under_each_operator() -> None:
    """Two rows: all words masked, all words hidden."""
    driven = drive(reach(subject(5)), by_removal(lambda _, how: 0.5 if how is OPERATORS[0] else 1.5))
    assert [(removed_units(row), row.operator) for row in driven.rows] == [(frozenset(range(5)), o) for o in OPERATORS]
    assert driven.finding.margins == (0.5, 1.5)
    assert driven.finding.mean == 1.0


@pytest.mark.parametrize(
    ("margins", "removals", "reached"),
    [
        ((2.0, 2.0), CALM, False),
        ((1.81, 2.19), CALM, False),
        ((1.79, 2.0), CALM, True),
        ((2.0, 2.21), CALM, True),
        ((2.0, 2.0), np.tile([1.89, 2.11], 8), True),
        ((2.0, 2.0), np.tile([1.91, 2.09], 8), False),
        ((1.9, 1.9), np.array([]), False),
    ],
)
def test_reach_is_a_tenth_of_the_margin_or_a_twentieth_of_spread(
    margins: tuple[float, float],
    removals: np.ndarray,
    reached: bool,  # noqa: FBT001 - a table
) -> None:
    """No reach where removing everything moves the margin by < 10 % under both operators and removals spread < 5 %."""
    result = judge_reach(subject(8, margin=2.0), ReachFinding(margins=margins), removals)
    assert result.outcome is (CheckOutcome.SUPPORTS if reached else CheckOutcome.CONTRADICTS)
    assert result.value == pytest.approx(max(abs(m - 2) for m in margins) / 2)
    assert result.threshold == 0.1
    assert result.rows == 2


@pytest.mark.parametrize(("margins", "reached"), [((0.0, 0.0), False), ((0.01, 0.0), True)])
def test_an_even_decision_is_reached_by_any_change_and_only_by_one(
    margins: tuple[float, float],
    reached: bool,  # noqa: FBT001 - a table
) -> None:
    """With a margin of 0 there is no share to speak of: what moves it, reaches it; nothing moved is no reach."""
    result = judge_reach(subject(4, margin=0.0), ReachFinding(margins=margins), np.zeros(8))
    assert result.outcome is (CheckOutcome.SUPPORTS if reached else CheckOutcome.CONTRADICTS)


@pytest.mark.parametrize(
    ("margins", "removals"), [((NAN, 1.0), CALM), ((1.0, 1.0), np.array([NAN])), ((1.0, np.inf), CALM)]
)
def test_values_that_are_not_numbers_are_no_evidence(margins: tuple[float, float], removals: np.ndarray) -> None:
    """A model that answers NaN has not shown that its words do not matter."""
    result = judge_reach(subject(8), ReachFinding(margins=margins), removals)
    assert result.outcome is CheckOutcome.ERRORED
    assert result.value is None
