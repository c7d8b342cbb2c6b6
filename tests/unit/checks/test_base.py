"""What every check sees of a request."""

from __future__ import annotations

import numpy as np
import pytest

from rollcall.checks.base import OPERATORS
from rollcall.domain.decision import Decision, Task
from rollcall.domain.rows import RemovalOperator, RowResult
from tests.subjects import SEED, answer, removed_units, subject, three_way, witness_case

DECISIONS = (
    Decision(task=Task.SINGLE_LABEL, target=0),
    Decision(task=Task.SINGLE_LABEL, target=0, foil=1, by_sign=True),
    Decision(task=Task.SINGLE_LABEL, target=0, threshold=0.5, by_sign=True),
    Decision(task=Task.MULTI_LABEL, target=0, by_sign=True),
)


def test_both_operators_take_part_mask_first() -> None:
    """Effects rest on replaced words and on hidden words alike."""
    assert OPERATORS == (RemovalOperator.MASK_TOKEN, RemovalOperator.HIDDEN_KEYS)


def test_a_subject_knows_its_size_and_margin() -> None:
    """Number of words and margin come from the encoding and the untouched row."""
    about = subject(5, margin=-0.75)
    assert (about.n, about.margin, about.seed) == (5, -0.75, SEED)


@pytest.mark.parametrize("units", [(), (0,), (1, 3), (0, 1, 2, 3)])
@pytest.mark.parametrize("operator", OPERATORS)
def test_a_removal_removes_exactly_the_named_words(units: tuple[int, ...], operator: RemovalOperator) -> None:
    """A row removes what the check named, by the operator it named."""
    row = subject(4).removal(units, operator)
    assert removed_units(row) == set(units)
    assert row.operator is operator
    assert row.removed is not None
    assert row.removed.shape == (4,)


@pytest.mark.parametrize(
    ("margin", "same"),
    [
        (5.0, True),
        (4.51, True),
        (5.49, True),
        (4.49, False),
        (5.51, False),
        (-5.0, False),
    ],
)
def test_the_same_answer_means_no_flip_and_at_most_a_tenth_of_the_margin(margin: float, same: bool) -> None:  # noqa: FBT001 - a table
    """Two answers are the same only where neither decision nor margin moved."""
    assert subject(3, margin=5.0).same([answer(margin)]).tolist() == [same]


def test_the_same_answer_means_close_probabilities_too() -> None:
    """With three classes an unchanged margin can hide a large change among the other two."""
    about = subject(
        3, base=RowResult(logits=np.array([3.0, 2.0, 0.0])), decision=Decision(task=Task.SINGLE_LABEL, target=0)
    )
    swapped = RowResult(logits=np.array([3.0, 0.0, 2.0]))
    assert about.decision.margin(swapped.logits) == pytest.approx(about.margin)
    assert not about.flips([swapped]).any()
    assert not about.same([swapped]).any()


def test_another_winner_is_another_answer_however_close() -> None:
    """Among three classes that are nearly as probable a tiny change can name another winner."""
    about = subject(3, base=three_way(0.001), decision=Decision(task=Task.SINGLE_LABEL, target=0))
    other = three_way(-0.001)
    assert about.tvd(other) < 0.001
    assert not about.same([other]).any()


def test_an_even_decision_tolerates_no_change() -> None:
    """With a margin of exactly 0 any change is one."""
    about = subject(3, margin=0.0)
    assert about.same([answer(0.0), answer(1e-6)]).tolist() == [True, False]


def test_flip_and_distance_are_measured_from_the_untouched_row() -> None:
    """Distances are taken from the untouched answer."""
    about = subject(3, margin=2.0)
    assert about.flips([answer(-0.1), answer(0.1)]).tolist() == [True, False]
    assert about.tvd(answer(2.0)) == 0
    assert about.tvd(answer(-2.0)) == pytest.approx(np.tanh(1.0))


@pytest.mark.parametrize("decision", DECISIONS)
def test_rows_are_judged_together_as_they_are_one_by_one(decision: Decision) -> None:
    """Which rows come back in one batch changes no number about any of them."""
    about = subject(3, base=RowResult(logits=np.array([1.0, 0.4, -0.3])), decision=decision)
    rng = np.random.default_rng(0)
    rows = [RowResult(logits=about.base.logits + rng.normal(size=3) * scale) for scale in np.geomspace(0.001, 2, 60)]
    alone = [decision.margin(row.logits) for row in rows]
    assert about.margins(rows).tolist() == alone
    flips = [bool(decision.flipped(about.base.logits, row.logits)) for row in rows]
    assert about.flips(rows).tolist() == flips
    close = [abs(margin - about.margin) <= 0.1 * abs(about.margin) for margin in alone]
    same = [not flip and near and about.tvd(row) <= 0.05 for flip, near, row in zip(flips, close, rows, strict=True)]
    assert about.same(rows).tolist() == same
    assert 0 < sum(same) < sum(not flip for flip in flips) < len(rows)


def test_no_rows_have_no_answers() -> None:
    """A look without removals, or without draws, is nothing special."""
    about = subject(3)
    assert about.margins([]).tolist() == about.flips([]).tolist() == about.same([]).tolist() == []


def test_units_are_ranked_by_weight_and_ties_in_reading_order() -> None:
    """The top of a map is the same on every machine, ties included."""
    assert witness_case([0.2, 0.3, 0.2, 0.3, 0.0], [0.0] * 5).ranked == (1, 3, 0, 2, 4)
    assert witness_case([1 / 64] * 64, [0.0] * 64).ranked == tuple(range(64))
