"""Counterfactual rows and what comes back for them."""

from __future__ import annotations

import numpy as np
import pytest

from rollcall.domain.maps import MapKind
from rollcall.domain.rows import AttentionEdit, Row, RowResult, all_finite

GOOD = np.array([0.1, 0.9])
BAD = np.array([0.1, float("nan")])


def test_the_empty_row_is_the_input_itself() -> None:
    """A row that says nothing changes nothing."""
    row = Row()
    assert row.removed is None
    assert row.edit is AttentionEdit.NONE
    assert not row.readout


@pytest.mark.parametrize(
    ("result", "finite"),
    [
        (RowResult(logits=GOOD), True),
        (RowResult(logits=GOOD, readout=GOOD, maps={MapKind.RAW_ATTENTION: GOOD}), True),
        (RowResult(logits=BAD), False),
        (RowResult(logits=np.array([np.inf, 0.0])), False),
        (RowResult(logits=GOOD, readout=BAD), False),
        (RowResult(logits=GOOD, maps={MapKind.RAW_ATTENTION: GOOD, MapKind.ATTENTION_ROLLOUT: BAD}), False),
    ],
)
def test_one_broken_number_anywhere_breaks_the_row(result: RowResult, finite: bool) -> None:  # noqa: FBT001 - a table
    """NaN in logits, state or maps is noticed, so that no flag rests on it."""
    assert result.finite is finite
    assert all_finite([RowResult(logits=GOOD), result]) is finite
