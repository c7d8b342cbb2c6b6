"""Heads that change the decision when they are silenced."""

from __future__ import annotations

import pytest

from rollcall.checks.heads import heads
from rollcall.domain.rows import AttentionEdit, Row, RowResult
from rollcall.domain.verdicts import CheckKind, CheckOutcome
from rollcall.verdict.policies import THOROUGH
from tests.subjects import answer, drive, subject

LAYERS, HEADS = 2, 3


def place(row: Row) -> tuple[int, int]:
    """Which head a row silences."""
    assert row.edit is AttentionEdit.SILENCED
    assert row.layers is not None
    return row.layers[0], row.heads[0]


def test_every_head_is_silenced_once_by_itself() -> None:
    """One row for each head of each layer, which joins the batch at its layer."""
    rows = drive(heads(subject(3), LAYERS, HEADS, THOROUGH), lambda _: answer(2.0)).rows
    assert [place(row) for row in rows] == [(layer, head) for layer in range(LAYERS) for head in range(HEADS)]


def test_heads_that_flip_are_the_witness_strongest_first() -> None:
    """Those that change the decision, by how far they move it, and how far the prediction goes."""
    margins = {(0, 1): -1.0, (1, 2): -3.0}

    def respond(row: Row) -> RowResult:
        return answer(margins.get(place(row), 1.5))

    found = drive(heads(subject(3), LAYERS, HEADS, THOROUGH), respond).finding
    assert found.result.value == 2
    assert found.result.outcome is CheckOutcome.MEASURED
    assert "layer 1 head 2, layer 0 head 1" in found.result.detail
    assert found.witness is not None
    assert found.witness.kind is CheckKind.HEADS
    assert found.witness.heads == ((1, 2), (0, 1))
    assert found.witness.tvd == pytest.approx(subject(3).tvd(answer(-3.0)))


def test_where_none_flips_the_strongest_is_named() -> None:
    """No witness, and the head that moves the decision most."""
    found = drive(heads(subject(1), LAYERS, HEADS, THOROUGH), lambda row: answer(1.0 if place(row) == (1, 0) else 2.0))
    assert found.finding.witness is None
    assert found.finding.result.value == 0
    assert "layer 1 head 0" in found.finding.result.detail


def test_more_heads_than_rows_are_skipped() -> None:
    """A model with too many heads is not measured by half."""
    driven = drive(heads(subject(3), 100, 100, THOROUGH), lambda _: answer(2.0))
    assert driven.rows == []
    assert driven.finding.result.outcome is CheckOutcome.SKIPPED
