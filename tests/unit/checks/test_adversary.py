"""The most different map with the same prediction."""

from __future__ import annotations

import numpy as np
import pytest

from rollcall.checks.adversary import adversary, not_searched
from rollcall.checks.base import WitnessFinding
from rollcall.domain.distances import jensen_shannon
from rollcall.domain.maps import Floats, MapKind
from rollcall.domain.rows import AttentionEdit, Row, RowResult
from rollcall.domain.verdicts import CheckKind, CheckOutcome
from rollcall.verdict.policies import THOROUGH
from tests.subjects import NAN, Driven, answer, drive, subject, unit_map

SCORES = np.array([0.7, 0.1, 0.1, 0.1])
MAPS = [np.array(each) for each in ([0.6, 0.2, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1], [0.0, 0.0, 0.0, 1.0])]


def attended(margin: float, scores: Floats) -> RowResult:
    """A row that was answered with `margin`, and the map under it."""
    return answer(margin, maps={MapKind.RAW_ATTENTION: scores})


def run(margins: list[float], drawn: list[RowResult] | None = None) -> Driven[WitnessFinding]:
    """The map number i is answered with the i-th margin; the untouched one with 2."""
    biases = [np.full((1, 1, 6), float(i)) for i in range(len(margins))]

    def respond(row: Row) -> RowResult:
        assert row.edit is AttentionEdit.BIASED
        assert row.bias is not None
        number = int(row.bias[0, 0, 0])
        return attended(margins[number], MAPS[number])

    return drive(adversary(subject(4), unit_map(SCORES), biases, drawn or [], THOROUGH, 240), respond)


def test_the_most_different_confirmed_map_is_the_witness() -> None:
    """Of the maps whose fresh forward keeps the prediction, the farthest; with its distances, and what it proves."""
    found = run([2.0, 2.02, -2.0]).finding
    assert found.witness is not None
    assert found.witness.kind is CheckKind.ADVERSARY
    assert found.witness.map_scores is MAPS[1]
    assert found.witness.jsd == found.result.value == pytest.approx(float(jensen_shannon(MAPS[1], SCORES)))
    assert found.witness.tvd == pytest.approx(subject(4).tvd(answer(2.02)))
    assert "not that this one is wrong" in found.witness.detail
    assert found.result.outcome is CheckOutcome.MEASURED
    assert found.result.rows == 243


def test_the_prediction_must_stay_within_the_tolerance() -> None:
    """A total variation above the policy's is another prediction, whatever the search thought."""
    far = next(m for m in np.linspace(2, 3, 101) if subject(4).tvd(answer(m)) > THOROUGH.adversary_tvd)
    assert run([2.0, far, far]).finding.witness is not None
    nothing = run([far, far, far]).finding
    assert nothing.witness is None
    assert (nothing.result.outcome, nothing.result.value) == (CheckOutcome.MEASURED, None)


def test_rewired_rows_count_as_well() -> None:
    """A draw that keeps the prediction may be farther than anything that was searched."""
    found = run([2.0], [attended(2.0, MAPS[2]), attended(-2.0, MAPS[1])]).finding
    assert found.witness is not None
    assert found.witness.map_scores is MAPS[2]


def test_no_proposal_costs_no_row() -> None:
    """A search that found nothing asks for nothing."""
    driven = run([])
    assert driven.rows == []
    assert driven.finding.result.value is None


def test_what_is_no_number_is_no_witness() -> None:
    """NaN answers and NaN maps are left out."""
    found = run([NAN], [attended(2.0, MAPS[1] * NAN)]).finding
    assert found.witness is None


def test_maps_that_are_not_searched_say_why() -> None:
    """Skipped with the reason."""
    result = not_searched(subject(4), THOROUGH, "No gradients.").result
    assert (result.outcome, result.detail) == (CheckOutcome.SKIPPED, "No gradients.")
