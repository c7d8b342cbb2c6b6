"""The alignment against recorded removals of eight models, computed elsewhere by other code."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rollcall.checks.alignment import EffectEstimate, alignment_value, estimate_effects
from rollcall.checks.base import OPERATORS

ROWS = Path(__file__).parents[4] / "shared" / "data" / "removal_rows" / "rows.jsonl.gz"
LOOKS = (16, 32, 48)

pytestmark = pytest.mark.skipif(
    not ROWS.is_file(),
    reason=f"NOT CHECKED: the recorded removals are missing; expected them at {ROWS.parent.name}/{ROWS.name} "
    "in shared/data beside the repository",
)


@cache
def recorded() -> tuple[dict[str, Any], ...]:
    """All recorded requests."""
    with gzip.open(ROWS, "rt") as lines:
        return tuple(json.loads(line) for line in lines)


@cache
def estimates() -> tuple[tuple[dict[str, Any], str, EffectEstimate], ...]:
    """Every request after every look, with the effects estimated from the recorded margins."""
    found = []
    for request in recorded():
        removed = np.array([[unit == "1" for unit in row] for row in request["removed"]])
        operators = tuple(OPERATORS[code] for code in request["operator"])
        margins = np.array(request["margins"], dtype=np.float64)
        for rows in LOOKS:
            estimate = estimate_effects(removed[:rows], operators[:rows], margins[:rows])
            assert estimate is not None
            found.append((request, str(rows), estimate))
    return tuple(found)


def test_the_recording_covers_eight_models() -> None:
    """The comparison below is about something."""
    assert len(recorded()) >= 480
    assert len({request["model"] for request in recorded()}) == 8


def test_penalties_and_reliabilities_are_the_recorded_ones() -> None:
    """Lambda is the same for every request and look, and rho agrees to 1e-4."""
    for request, rows, estimate in estimates():
        assert estimate.ridge_lambda == pytest.approx(request["lambda_reml"][rows], rel=1e-3)
        assert estimate.reliability == pytest.approx(request["reliability"][rows], abs=1e-4)


def test_alignments_are_the_recorded_ones() -> None:
    """A of every map agrees to 3e-3 (its weights are rounded in the recording), nearly always to 1e-3."""
    differences = np.array(
        [
            abs((alignment_value(np.array(weights["weights"]), estimate.effects) or 0.0) - weights["alignment"][rows])
            for request, rows, estimate in estimates()
            for weights in request["maps"].values()
        ]
    )
    assert len(differences) > 5000
    assert differences.max() <= 3e-3
    assert np.mean(differences <= 1e-3) >= 0.99
