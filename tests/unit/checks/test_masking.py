"""Many more removals than a flag needs."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from rollcall.checks.masking import mask_rows, masking
from rollcall.domain.rows import TEXT_REMOVALS
from rollcall.verdict.policies import THOROUGH
from tests.subjects import answer, drive, removed_units, subject

MASK, HIDE, DELETE = TEXT_REMOVALS.every


@pytest.mark.parametrize("n", [2, 3, 6, 8])
def test_few_words_have_all_their_subsets_removed_each_way(n: int) -> None:
    """Every proper, non-empty subset, once under every operator, and no other."""
    rows, exhaustive = mask_rows(subject(n), THOROUGH)
    found = [(removed_units(row), row.operator) for row in rows]
    subsets = [frozenset(np.flatnonzero(mask).tolist()) for mask in product((0, 1), repeat=n)]
    wanted = {(units, operator) for units in subsets if 0 < len(units) < n for operator in TEXT_REMOVALS.every}
    assert exhaustive
    assert set(found) == wanted
    assert len(found) == len(wanted) <= THOROUGH.mask_rows


def test_one_word_has_no_proper_subset() -> None:
    """A single word costs no row and gives nothing."""
    driven = drive(masking(subject(1), THOROUGH), lambda _: answer(2.0))
    assert driven.rows == []
    assert driven.finding.margins.shape == (0,)
    assert driven.finding.removed.shape == (0, 1)


@pytest.mark.parametrize(("n", "usual"), [(9, 72), (20, 160), (64, 512), (200, 682)])
def test_many_words_get_eight_random_removals_each(n: int, usual: int) -> None:
    """Eight per word, the usual operators in turn, and half as many deletions, up to a bound."""
    rows, exhaustive = mask_rows(subject(n), THOROUGH)
    operators = [row.operator for row in rows]
    assert not exhaustive
    assert operators.count(MASK) == operators.count(HIDE) == operators.count(DELETE) == usual // 2
    assert len(rows) <= THOROUGH.mask_rows
    share = np.mean([row.removed for row in rows if row.removed is not None])
    assert abs(share - 0.5) < 4 * 0.5 / np.sqrt(len(rows) * n)


def test_the_same_seed_removes_the_same_words() -> None:
    """What was measured can be measured again."""
    first, second = (mask_rows(subject(12), THOROUGH)[0] for _ in range(2))
    assert [removed_units(row) for row in first] == [removed_units(row) for row in second]


def test_the_finding_can_be_taken_apart_by_operator() -> None:
    """Each operator's rows are its own, in order, with their margins and probabilities."""
    found = drive(masking(subject(3), THOROUGH), lambda row: answer(len(removed_units(row)))).finding
    part = found.by(DELETE)
    assert set(part.operators) == {DELETE}
    assert part.margins.tolist() == part.removed.sum(axis=1).tolist()
    assert np.allclose(part.probabilities, 1 / (1 + np.exp(-part.margins)))
    assert len(found.by(MASK, HIDE).margins) == 2 * len(part.margins)
