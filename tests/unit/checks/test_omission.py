"""The witness that a map calls negligible what the decision hangs on."""

from __future__ import annotations

import pytest

from rollcall.checks.base import OPERATORS
from rollcall.checks.omission import omission
from rollcall.domain.decision import Decision, Task
from rollcall.domain.verdicts import CheckKind, CheckOutcome
from tests.subjects import answer, by_removal, drive, flips_on, removed_units, subject, three_way, witness_case

SCORES = [0.5, 0.3, 0.2, 0.0, 0.0, 0.0, 0.0, 0.0]
"""Negligible is below 1/16: words 3 to 7."""
EFFECTS = [0.1, 0.1, 0.1, -1.0, 3.0, 1.0, 2.0, 0.5]
"""Among them words 4, 6, 5 and 7 carry the decision, in this order."""


def test_up_to_three_negligible_words_are_removed_with_as_many_of_the_top_as_control() -> None:
    """Twelve rows: one, two and three words that the map calls negligible, and as many of its top."""
    driven = drive(omission(witness_case(SCORES, EFFECTS)), lambda _: answer(2.0))
    assert len(driven.asked) == 1
    assert [(removed_units(row), row.operator) for row in driven.rows] == [
        (frozenset(units), operator)
        for units in ({4}, {0}, {4, 6}, {0, 1}, {4, 5, 6}, {0, 1, 2})
        for operator in OPERATORS
    ]


@pytest.mark.parametrize(("decisive", "size"), [({4}, 1), ({4, 6}, 2), ({4, 5, 6}, 3)])
def test_the_smallest_omitted_set_that_flips_is_the_witness(decisive: set[int], size: int) -> None:
    """Removing words that the map calls negligible changes the decision, removing its top does not."""
    finding = drive(omission(witness_case(SCORES, EFFECTS)), flips_on(decisive)).finding
    assert finding.result.outcome is CheckOutcome.CONTRADICTS
    assert finding.result.value == size
    assert finding.witness is not None
    assert finding.witness.kind is CheckKind.OMISSION
    assert set(finding.witness.removed_units) == decisive
    assert finding.witness.control_units == (0, 1, 2)[:size]


def test_a_top_that_flips_as_well_is_no_witness() -> None:
    """Where removing the map's top changes the decision too, nothing was omitted."""
    finding = drive(omission(witness_case(SCORES, EFFECTS)), flips_on({4}, {0})).finding
    assert finding.result.outcome is CheckOutcome.INCONCLUSIVE
    assert finding.witness is None


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_flip_under_one_operator_is_no_witness(operator: object) -> None:
    """Both ways of removing words have to agree."""
    respond = by_removal(lambda units, how: -2.0 if units == {4} and how is operator else 2.0)
    assert drive(omission(witness_case(SCORES, EFFECTS)), respond).finding.witness is None


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_control_that_flips_under_one_operator_spoils_the_witness(operator: object) -> None:
    """The control must hold under both operators."""
    respond = by_removal(lambda units, how: -2.0 if units == {4} or (units == {0} and how is operator) else 2.0)
    assert drive(omission(witness_case(SCORES, EFFECTS)), respond).finding.witness is None


@pytest.mark.parametrize(
    ("scores", "effects"),
    [
        ([0.25, 0.25, 0.25, 0.25], [1.0, 1.0, 1.0, 1.0]),
        ([0.5, 0.5, 0.0, 0.0], [1.0, 1.0, -1.0, 0.0]),
    ],
)
def test_a_map_that_neglects_nothing_useful_is_not_tested(scores: list[float], effects: list[float]) -> None:
    """Without a negligible word that carries the decision no row is spent."""
    driven = drive(omission(witness_case(scores, effects)), flips_on())
    assert driven.rows == []
    assert driven.finding.result.outcome is CheckOutcome.SKIPPED


def test_half_of_an_equal_share_is_not_negligible() -> None:
    """A word with exactly 1/(2n) of the weight is not called negligible."""
    driven = drive(omission(witness_case([0.625, 0.25, 0.125, 0.0], [0.0, 0.0, 1.0, -1.0])), flips_on({2}))
    assert driven.finding.result.outcome is CheckOutcome.SKIPPED


def test_against_a_threshold_not_met_the_words_that_hold_it_down_count() -> None:
    """For a class that was asked about but not predicted, the decision hangs on what speaks against it."""
    decision = Decision(task=Task.SINGLE_LABEL, target=1, by_sign=True)
    case = witness_case([0.9, 0.1, 0.0, 0.0], [0.0, 0.0, 2.0, -2.0], about=subject(4, margin=-1.0, decision=decision))
    driven = drive(omission(case), flips_on({3}, margin=-1.0))
    assert {removed_units(row) for row in driven.rows} == {frozenset({3}), frozenset({0})}
    assert driven.finding.witness is not None


def test_the_predicted_class_is_held_by_what_speaks_for_it_even_below_one_half() -> None:
    """Among three classes the winner may have less than half: its margin is negative, what supports it is not."""
    about = subject(4, base=three_way(0.2), decision=Decision(task=Task.SINGLE_LABEL, target=0))
    assert about.margin < 0
    case = witness_case([0.9, 0.1, 0.0, 0.0], [0.0, 0.0, 0.5, -0.5], about=about)
    driven = drive(omission(case), lambda row: three_way(-0.2 if removed_units(row) == {2} else 0.2))
    assert driven.finding.witness is not None
    assert driven.finding.witness.removed_units == (2,)
