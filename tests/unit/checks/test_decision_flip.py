"""The smallest set of words found whose removal changes the decision."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rollcall.checks.base import OPERATORS
from rollcall.checks.decision_flip import FlipFinding, decision_flip
from rollcall.domain.decision import Decision, Task
from rollcall.domain.verdicts import CheckOutcome
from rollcall.verdict.policies import STANDARD
from tests.subjects import Driven, by_removal, drive, removed_units, subject, three_way

EFFECTS = np.array([0.2, 1.5, -0.4, 0.9, 0.6, 0.1])
ORDER = (1, 3, 4, 0, 5, 2)


def search(enough: int, *, effects: np.ndarray = EFFECTS, margin: float = 2.0) -> Driven[FlipFinding]:
    """Search where removing the first `enough` words of the order, or more, changes the decision."""
    order = np.argsort(-effects, kind="stable")
    respond = by_removal(lambda units, _: -1.0 if set(order[:enough].tolist()) <= units else 1.0)
    return drive(decision_flip(subject(len(effects), margin=margin), effects), respond)


@pytest.mark.parametrize("enough", range(1, 7))
def test_the_set_found_flips_and_is_as_small_as_the_search_can_tell(enough: int) -> None:
    """With six words the search finds the smallest prefix, within four sets."""
    driven = search(enough)
    flip = driven.finding.flip
    assert flip.found
    assert flip.units == ORDER[:enough]
    assert flip.margins == (-1.0, -1.0)
    assert flip.sets_tried <= 4
    assert driven.finding.result.outcome is CheckOutcome.SUPPORTS
    assert driven.finding.result.value == enough


def test_the_first_set_tried_is_the_one_that_the_effects_predict() -> None:
    """1.5 + 0.9 exceeds the margin of 2: two words should do, and are tried first beside all five that carry it."""
    driven = search(2)
    assert {removed_units(row) for row in driven.asked[0]} == {frozenset(ORDER[:2]), frozenset(ORDER[:5])}


def test_nothing_found_is_said_and_costs_at_most_eight_rows() -> None:
    """A decision that no set changes is "none within budget", not an empty set that flips."""
    driven = search(99, effects=np.linspace(2, -1, 40), margin=3.0)
    assert not driven.finding.flip.found
    assert driven.finding.flip.units == ()
    assert driven.finding.flip.margins == ()
    assert len(driven.rows) <= 8
    assert driven.finding.result.rows == len(driven.rows)
    assert driven.finding.result.outcome is CheckOutcome.INCONCLUSIVE


@pytest.mark.parametrize("rows", [2, 4, 6, 8])
def test_the_budget_of_the_policy_holds(rows: int) -> None:
    """The search never asks for more rows than the policy grants."""
    about = subject(40, policy=replace(STANDARD, flip_rows=rows))
    driven = drive(decision_flip(about, np.linspace(2, -1, 40)), by_removal(lambda *_: 1.0))
    assert 0 < len(driven.rows) <= rows


@pytest.mark.parametrize("operator", OPERATORS)
def test_both_operators_must_flip(operator: object) -> None:
    """A set that changes the decision under one operator only is not reported."""
    respond = by_removal(lambda _, how: -1.0 if how is operator else 1.0)
    assert not drive(decision_flip(subject(6), EFFECTS), respond).finding.flip.found


def test_a_target_that_was_not_predicted_is_reached_by_removing_what_speaks_against_it() -> None:
    """Asked "why not yes?", the answer is the smallest set without which it would be yes."""
    decision = Decision(task=Task.SINGLE_LABEL, target=1, by_sign=True)
    respond = by_removal(lambda units, _: 1.0 if 2 in units else -1.0)
    about = subject(6, margin=-0.3, decision=decision)
    assert drive(decision_flip(about, EFFECTS), respond).finding.flip.units == (2,)


def test_a_winner_below_one_half_loses_by_losing_its_support() -> None:
    """Among three classes the winner's margin may be negative: what speaks for it is removed all the same."""
    about = subject(4, base=three_way(0.2), decision=Decision(task=Task.SINGLE_LABEL, target=0))
    driven = drive(
        decision_flip(about, np.array([-0.3, 0.5, -0.2, 0.0])),
        lambda row: three_way(-0.2 if 1 in removed_units(row) else 0.2),
    )
    assert removed_units(driven.rows[0]) == {1}
    assert driven.finding.flip.units == (1,)


def test_an_even_decision_is_searched_too() -> None:
    """A margin of exactly 0 is still a decision that can change."""
    about = subject(3, margin=0.0, decision=Decision(task=Task.SINGLE_LABEL, target=1, by_sign=True))
    driven = drive(
        decision_flip(about, np.array([0.5, -0.2, 0.0])), by_removal(lambda units, _: -0.5 if 0 in units else 0.0)
    )
    assert driven.finding.flip.units == (0,)
