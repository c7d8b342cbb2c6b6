"""The demonstration that a map's top carries the decision alone."""

from __future__ import annotations

import pytest

from rollcall.checks.base import OPERATORS
from rollcall.checks.support import support, support_set
from rollcall.domain.verdicts import CheckKind, CheckOutcome
from tests.subjects import answer, by_removal, drive, flips_on, removed_units, witness_case

SCORES = [0.1, 0.4, 0.2, 0.1, 0.1, 0.1]
TOP, REST = {1, 2}, {0, 3, 4, 5}


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.1, 0.4, 0.2, 0.1, 0.1, 0.1], (1, 2)),
        ([0.1, 0.6, 0.1, 0.1, 0.1, 0.0], (1,)),
        ([0.5, 0.1, 0.1, 0.1, 0.1, 0.1], (0,)),
        ([0.2, 0.2, 0.2, 0.2, 0.1, 0.1], (0, 1)),
        ([0.6, 0.4], (0,)),
        ([0.4, 0.35, 0.25], (0,)),
        ([0.19, 0.15, 0.09, 0.07, *[0.5 / 14] * 14], (0, 1, 2, 3)),
        ([1.0], (0,)),
    ],
)
def test_the_set_is_half_the_mass_in_at_most_a_third_of_the_words(
    scores: list[float], expected: tuple[int, ...]
) -> None:
    """The smallest top set with half the mass, at most a third of the words, at least one."""
    assert support_set(witness_case(scores, [0.0] * len(scores))) == expected


def test_the_set_is_removed_and_then_kept_alone() -> None:
    """Four rows: without the map's top, and with nothing else, under each operator."""
    driven = drive(support(witness_case(SCORES, [0.0] * 6)), lambda _: answer(2.0))
    assert [(removed_units(row), row.operator) for row in driven.rows] == [
        (frozenset(units), operator) for units in (TOP, REST) for operator in OPERATORS
    ]


def test_a_necessary_and_sufficient_top_is_a_witness() -> None:
    """Without the top the decision changes, with only it the prediction stays: people understand that."""
    finding = drive(support(witness_case(SCORES, [0.0] * 6)), flips_on(TOP)).finding
    assert finding.result.outcome is CheckOutcome.SUPPORTS
    assert finding.result.value == 0
    assert finding.result.threshold == 0.25
    assert finding.witness is not None
    assert finding.witness.kind is CheckKind.SUPPORT
    assert set(finding.witness.removed_units) == TOP
    assert set(finding.witness.control_units) == REST


@pytest.mark.parametrize(
    ("without_top", "only_top", "says"),
    [
        (2.0, 2.0, "does not change the decision; keeping only it preserves"),
        (-2.0, -2.0, "changes the decision; keeping only it does not preserve"),
        (-2.0, 0.2, "changes the decision; keeping only it does not preserve"),
        (2.0, -2.0, "does not change the decision; keeping only it does not preserve"),
    ],
)
def test_an_unnecessary_or_insufficient_top_is_no_evidence(without_top: float, only_top: float, says: str) -> None:
    """The absence of a demonstration says nothing against the map, and the sentence tells which half is missing."""
    respond = by_removal(lambda units, _: without_top if units == TOP else only_top)
    finding = drive(support(witness_case(SCORES, [0.0] * 6)), respond).finding
    assert finding.result.outcome is CheckOutcome.INCONCLUSIVE
    assert finding.witness is None
    assert says in finding.result.detail


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("spoiled", [TOP, REST])
def test_both_operators_must_agree(operator: object, spoiled: set[int]) -> None:
    """One operator that disagrees about either half spoils the demonstration."""
    respond = by_removal(lambda units, how: -2.0 if (units == TOP) != (units == spoiled and how is operator) else 2.0)
    assert drive(support(witness_case(SCORES, [0.0] * 6)), respond).finding.witness is None


@pytest.mark.parametrize(("base", "kept"), [(0.1, (0.1, -0.1)), (4.0, (4.0, 0.2))])
def test_keeping_the_top_must_keep_the_prediction_under_both_operators(base: float, kept: tuple[float, float]) -> None:
    """Under neither operator may the top alone flip a close decision, or leave a clear one barely standing."""
    respond = by_removal(lambda units, how: -4.0 if units == TOP else kept[OPERATORS.index(how)])
    finding = drive(support(witness_case(SCORES, [0.0] * 6, margin=base)), respond).finding
    assert finding.witness is None
    assert "keeping only it does not preserve" in finding.result.detail


def test_one_word_has_no_rest() -> None:
    """A single word cannot be compared with the rest: no row is spent."""
    driven = drive(support(witness_case([1.0], [0.0])), flips_on())
    assert driven.rows == []
    assert driven.finding.result.outcome is CheckOutcome.SKIPPED
