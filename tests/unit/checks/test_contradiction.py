"""The counterexample that removes a map's top without effect and its bottom with one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rollcall.checks.base import OPERATORS
from rollcall.checks.contradiction import contradiction
from rollcall.domain.rows import RemovalOperator, Row, RowResult
from rollcall.domain.verdicts import CheckKind, CheckOutcome
from tests.subjects import answer, by_removal, drive, flips_on, removed_units, witness_case

SCORES = [0.3, 0.2, 0.14, 0.1, 0.08, 0.06, 0.05, 0.04, 0.02, 0.01]
EFFECTS = [0.0] * 10
TOP, TOP_THREE, BOTTOM, BOTTOM_THREE = {0}, {0, 1, 2}, {9}, {7, 8, 9}


def test_top_and_bottom_are_removed_at_both_shares_under_both_operators() -> None:
    """Ten words cost eight rows: one and three at the top, one and three at the bottom, twice each."""
    driven = drive(contradiction(witness_case(SCORES, EFFECTS)), lambda _: answer(2.0))
    assert len(driven.asked) == 1
    assert [(removed_units(row), row.operator) for row in driven.rows] == [
        (frozenset(units), operator) for units in (TOP, BOTTOM, TOP_THREE, BOTTOM_THREE) for operator in OPERATORS
    ]


def test_a_harmless_top_and_a_decisive_bottom_contradict_the_map() -> None:
    """The smallest such pair is the counterexample, with both sets named so that it can be replayed."""
    finding = drive(contradiction(witness_case(SCORES, EFFECTS)), flips_on(BOTTOM, BOTTOM_THREE)).finding
    assert finding.result.outcome is CheckOutcome.CONTRADICTS
    assert finding.result.value == 1
    assert finding.result.rows == 8
    assert finding.witness is not None
    assert finding.witness.kind is CheckKind.CONTRADICTION
    assert (finding.witness.removed_units, finding.witness.control_units) == ((9,), (0,))


def test_the_larger_share_can_contradict_alone() -> None:
    """Where one word at the bottom is not enough, three may be."""
    finding = drive(contradiction(witness_case(SCORES, EFFECTS)), flips_on(BOTTOM_THREE)).finding
    assert finding.witness is not None
    assert set(finding.witness.removed_units) == BOTTOM_THREE
    assert set(finding.witness.control_units) == TOP_THREE


def test_nothing_decisive_at_the_bottom_is_no_counterexample() -> None:
    """A map whose bottom can be removed keeps its flag."""
    finding = drive(contradiction(witness_case(SCORES, EFFECTS)), flips_on(TOP, TOP_THREE)).finding
    assert finding.result.outcome is CheckOutcome.INCONCLUSIVE
    assert finding.witness is None


def test_a_top_that_matters_is_no_counterexample() -> None:
    """The map's top must be harmless: a margin that moves by more than a tenth is an effect."""
    weaker = by_removal(lambda units, _: -2.0 if units <= BOTTOM_THREE else 1.7)
    assert drive(contradiction(witness_case(SCORES, EFFECTS)), weaker).finding.witness is None


def _under_one_operator(flipping: RemovalOperator) -> Callable[[Row], RowResult]:
    return by_removal(lambda units, how: -2.0 if units == BOTTOM and how is flipping else 2.0)


def test_one_operator_alone_proves_nothing() -> None:
    """A flip that only one way of removing words produces is an artefact of that way until shown otherwise."""
    for operator in OPERATORS:
        driven = drive(contradiction(witness_case(SCORES, EFFECTS)), _under_one_operator(operator))
        assert driven.finding.witness is None


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_top_that_matters_to_one_operator_is_not_harmless(operator: RemovalOperator) -> None:
    """The top must be harmless however it is removed."""
    respond = by_removal(lambda units, how: -2.0 if units == BOTTOM or (units == TOP and how is operator) else 2.0)
    assert drive(contradiction(witness_case(SCORES, EFFECTS)), respond).finding.witness is None


def test_short_texts_compare_each_word_once() -> None:
    """With two words both shares mean one word, which is tried once."""
    driven = drive(contradiction(witness_case([0.9, 0.1], [0.0, 0.0])), flips_on({1}))
    assert len(driven.rows) == 4
    assert driven.finding.witness is not None


def test_one_word_has_no_bottom() -> None:
    """A single word is top and bottom at once: the check is skipped without a row."""
    driven = drive(contradiction(witness_case([1.0], [0.0])), flips_on())
    assert driven.rows == []
    assert driven.finding.result.outcome is CheckOutcome.SKIPPED
