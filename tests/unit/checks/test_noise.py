"""What rounding does is no evidence: changes within the model's numerical floor are no flips, no reach, no effects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rollcall.checks.alignment import ROUNDING, estimate_effects
from rollcall.checks.base import NOISE_FACTOR, OPERATORS
from rollcall.checks.reach import ReachFinding, judge_reach
from rollcall.domain.verdicts import CheckOutcome
from tests.subjects import answer, subject

NOISE = 0.01


@pytest.mark.parametrize(("margin", "flips"), [(-0.02, False), (-0.06, True), (-2.0, True), (0.01, False)])
def test_a_flip_by_rounding_is_none(margin: float, flips: bool) -> None:  # noqa: FBT001 - a parameter
    """A decision on the edge that falls to the other side by less than four floors has not changed."""
    noisy = replace(subject(4, margin=0.01), noise=NOISE)
    assert noisy.margin_noise == pytest.approx(NOISE_FACTOR * NOISE * 1.01)
    assert noisy.flips([answer(margin)]).tolist() == [flips]


def test_without_noise_every_change_counts() -> None:
    """In exact arithmetic the smallest change of the decision is one."""
    assert subject(4, margin=1e-9).flips([answer(-1e-9)]).tolist() == [True]


def test_a_decision_that_moves_by_rounding_has_no_reach() -> None:
    """Removing everything must do more than another batch would."""
    removals = np.full(16, 0.01) + np.linspace(-0.005, 0.005, 16)
    finding = ReachFinding(margins=(0.02, 0.0))
    exact = subject(4, margin=0.01)
    assert judge_reach(exact, finding, removals).outcome is CheckOutcome.SUPPORTS
    assert judge_reach(replace(exact, noise=NOISE), finding, removals).outcome is CheckOutcome.CONTRADICTS
    moved = ReachFinding(margins=(0.5, 0.4))
    assert judge_reach(replace(exact, noise=NOISE), moved, removals).outcome is CheckOutcome.SUPPORTS


def test_effects_within_the_rounding_are_none() -> None:
    """Margins that differ by rounding alone give equal effects, and so no alignment with any map."""
    rng = np.random.default_rng(0)
    removed = rng.random((16, 8)) < 0.5
    operators = OPERATORS * 8
    margins = 1 + 0.001 * rng.normal(size=16)
    exact = estimate_effects(removed, operators, margins)
    assert exact is not None
    assert np.ptp(exact.effects) > ROUNDING
    noisy = estimate_effects(removed, operators, margins, rounding=NOISE_FACTOR * NOISE)
    assert noisy is not None
    assert np.ptp(noisy.effects) == 0
    real = estimate_effects(removed, operators, margins - removed @ np.arange(8.0), rounding=NOISE_FACTOR * NOISE)
    assert real is not None
    assert np.ptp(real.effects) > 1
