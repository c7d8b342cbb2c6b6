"""Effects as a map, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from rollcall.attribution.effect import effect_map
from rollcall.checks.alignment import EffectEstimate
from rollcall.domain.maps import MapKind


def estimate(*effects: float) -> EffectEstimate:
    """Effects that are known."""
    return EffectEstimate(effects=np.array(effects), covariance=np.zeros((len(effects),) * 2), ridge_lambda=1.0)


def test_what_speaks_for_the_target_is_kept() -> None:
    """Effects of -1, 0 and 4 that sum to 6 are 0, 1 and 5: shifted first, then cut off, then shared out."""
    found = effect_map(estimate(-1.0, 0.0, 4.0), 6.0, 3, removals=16, judged=True)
    assert found.kind is MapKind.EFFECT
    assert_allclose(found.scores, [0, 1 / 6, 5 / 6])
    assert found.note == "Made of the first 16 removals, which do not judge it."


def test_negative_effects_get_nothing() -> None:
    """With a sum of -3 the same effects are -3, -2 and 2."""
    assert_allclose(effect_map(estimate(-1.0, 0.0, 4.0), -3.0, 3, removals=16, judged=True).scores, [0, 0, 1])


@pytest.mark.parametrize("total", [-2.0, 0.0, 2.0])
def test_without_effects_it_says_nothing(total: float) -> None:
    """Margins that do not move make a uniform map, which the verdict calls flat."""
    assert_allclose(effect_map(None, total, 4, removals=16, judged=True).scores, 0.25)


def test_a_map_that_nothing_is_left_to_judge_says_so() -> None:
    """Short texts have one look; one word has none."""
    assert "none is left" in effect_map(estimate(0.0, 1.0), 1.0, 2, removals=4, judged=False).note
    assert effect_map(None, 1.0, 1, removals=0, judged=False).note == ""
