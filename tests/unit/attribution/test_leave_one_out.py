"""Leaving one word out, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from rollcall.attribution.leave_one_out import leave_one_out, leave_one_out_rows
from rollcall.domain.maps import MapKind
from rollcall.domain.rows import RemovalOperator
from tests.subjects import NAN, answer, by_removal, removed_units, subject

ABOUT = subject(3, margin=2.0)


def test_each_word_is_removed_alone_and_twice() -> None:
    """Two rows for each word, one per operator, and no other word is touched."""
    rows = leave_one_out_rows(ABOUT)
    assert [removed_units(row) for row in rows] == [{0}, {0}, {1}, {1}, {2}, {2}]
    assert [row.operator for row in rows] == [RemovalOperator.MASK_TOKEN, RemovalOperator.HIDDEN_KEYS] * 3


def test_the_map_is_the_mean_drop() -> None:
    """Drops of 1 and 2, of .5 twice, and a rise: 1.5 and .5 are shared out, what raises the margin gets nothing."""
    margins = {(0, "mask_token"): 1.0, (0, "hidden_keys"): 0.0, (1, "mask_token"): 1.5, (1, "hidden_keys"): 1.5}
    respond = by_removal(lambda units, operator: margins.get((min(units), operator.value), 5.0))
    found = leave_one_out(ABOUT, [respond(row) for row in leave_one_out_rows(ABOUT)])
    assert found.kind is MapKind.LEAVE_ONE_OUT
    assert_allclose(found.scores, [0.75, 0.25, 0])
    assert found.dropped_mass == 0


def test_operators_may_cancel() -> None:
    """The mean is taken before the sign is asked for."""
    respond = by_removal(lambda units, op: 2 + (-1 if op is RemovalOperator.MASK_TOKEN else 1.5) * (0 in units))
    found = leave_one_out(ABOUT, [respond(row) for row in leave_one_out_rows(ABOUT)])
    assert_allclose(found.scores, 1 / 3)


@pytest.mark.parametrize("margin", [2.0, 3.0])
def test_where_no_word_holds_the_decision_the_map_says_nothing(margin: float) -> None:
    """Uniform, which the verdict calls flat."""
    found = leave_one_out(ABOUT, [answer(margin)] * 6)
    assert_allclose(found.scores, 1 / 3)


def test_a_single_word_has_all_of_it() -> None:
    """There is nobody to share with."""
    assert_allclose(leave_one_out(subject(1), [answer(0.0)] * 2).scores, [1])


def test_not_a_number_stays_visible() -> None:
    """A NaN is never clipped away."""
    assert np.isnan(leave_one_out(ABOUT, [answer(NAN)] + [answer(1.0)] * 5).scores).any()
