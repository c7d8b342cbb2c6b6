"""Rank correlation with other methods."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from rollcall.checks.base import OPERATORS
from rollcall.checks.rank_agreement import GRADIENT, rank_agreement, single_drops
from rollcall.domain.verdicts import CheckOutcome
from tests.subjects import NAN, answer, drive, removed_units, subject, unit_map


def test_single_drops_are_the_means_of_both_operators() -> None:
    """Two rows a word; the drop is how much less the margin is, mean of both."""

    def respond(row: object) -> object:
        (unit,) = removed_units(row)  # type: ignore[arg-type]
        return answer(2.0 - unit - (0.5 if row.operator is OPERATORS[1] else 0.0))  # type: ignore[attr-defined]

    driven = drive(single_drops(subject(3)), respond)  # type: ignore[arg-type]
    assert len(driven.rows) == 6
    assert driven.finding.tolist() == [0.25, 1.25, 2.25]


def test_tau_is_kendalls_over_all_pairs() -> None:
    """Concordant less discordant pairs, over pairs that are not tied on either side (tau-b)."""
    scores, reference = np.array([0.4, 0.3, 0.1, 0.1, 0.1]), np.array([2.0, -1.0, 0.5, 0.5, -3.0])
    signs = [
        (np.sign(scores[i] - scores[j]), np.sign(reference[i] - reference[j])) for i, j in combinations(range(5), 2)
    ]
    total = sum(a * b for a, b in signs)
    expected = total / np.sqrt(sum(a != 0 for a, _ in signs) * sum(b != 0 for _, b in signs))
    found = rank_agreement(subject(5), unit_map(scores), reference, GRADIENT, 0)
    assert found.value == pytest.approx(expected)
    assert found.outcome is CheckOutcome.MEASURED
    assert found.statistic == "kendall_tau_gradient_x_input"


@pytest.mark.parametrize(
    ("scores", "reference"),
    [
        ([1.0], [1.0]),
        ([0.6, 0.4], [1.0, 2.0]),
        ([0.25] * 4, [1.0, 2.0, 3.0, 4.0]),
        ([0.1, 0.2, 0.3, 0.4], [1.0] * 4),
        ([0.1, 0.2, 0.3, 0.4], [1.0, NAN, 2.0, 3.0]),
    ],
    ids=["one word", "two words", "flat map", "equal logits", "no number"],
)
def test_without_an_order_there_is_no_tau(scores: list[float], reference: list[float]) -> None:
    """Too few words, nothing but ties, or no numbers: skipped."""
    found = rank_agreement(subject(len(scores)), unit_map(scores), np.array(reference), GRADIENT, 0)
    assert (found.outcome, found.value) == (CheckOutcome.SKIPPED, None)


def test_a_backend_without_gradients_says_so() -> None:
    """The gradient's row is skipped with the reason, never left out silently."""
    found = rank_agreement(subject(4), unit_map([0.1, 0.2, 0.3, 0.4]), None, GRADIENT, 0)
    assert found.outcome is CheckOutcome.SKIPPED
    assert "no gradients" in found.detail
