"""What is true of a map: the removals behind A*, A* itself, and which flags it contradicts."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from rollcall.checks.alignment import EffectEstimate, estimate_effects
from rollcall.checks.base import OPERATORS
from rollcall.domain.verdicts import Flag
from rollcall.verdict.policies import STANDARD
from rollcall.verdict.truth import TRUTH_LAMBDA, Truth, clear, judge_truth, truth_removals

EFFECTS = np.array([3.0, 1.0, 0.5, -1.0])


def known(effects: np.ndarray = EFFECTS, scatter: float = 0.0) -> EffectEstimate:
    """Effects that are known up to `scatter`."""
    return EffectEstimate(effects=effects, covariance=np.eye(len(effects)) * scatter**2, ridge_lambda=0.1)


def test_more_removals_begin_with_the_same_ones() -> None:
    """Rows that have been run need not be run again when more are asked for."""
    few, of_few = truth_removals(12, 512, seed=7)
    many, of_many = truth_removals(12, 1024, seed=7)
    assert (many[:512] == few).all()
    assert of_many[:512] == of_few
    assert 0.45 < many.mean() < 0.55


def test_few_units_are_removed_in_every_way() -> None:
    """Up to ten units every subset is there, once under each operator."""
    removed, operators = truth_removals(4, 512, seed=1)
    pairs = {(row.tobytes(), operator) for row, operator in zip(removed, operators, strict=True)}
    assert len(pairs) == len(removed) == 2 * 2**4
    assert set(operators) == set(OPERATORS)


def test_alignment_is_between_chance_and_the_best_assignment() -> None:
    """A* is (T - E T) / (T max - E T) over all assignments of the weights, enumerated here."""
    weights = np.array([0.4, 0.1, 0.3, 0.2])
    every = [np.dot(weights[list(order)], EFFECTS) for order in permutations(range(4))]
    expected = (weights @ EFFECTS - np.mean(every)) / (np.max(every) - np.mean(every))
    truth = judge_truth({"map": weights}, known(), STANDARD)["map"]
    assert truth.alignment == pytest.approx(expected)
    assert truth.error == pytest.approx(0, abs=1e-12)
    assert not truth.omits_top_effect


def test_a_map_without_the_largest_effect_omits_it() -> None:
    """A weight below half of 1/n on the unit with the largest effect is an omission."""
    assert judge_truth({"map": np.array([0.1, 0.5, 0.2, 0.2])}, known(), STANDARD)["map"].omits_top_effect
    assert not judge_truth({"map": np.array([0.13, 0.47, 0.2, 0.2])}, known(), STANDARD)["map"].omits_top_effect


def test_standard_errors_are_those_of_the_effects() -> None:
    """An A* near the threshold is unclear while the effects are not known well, and clear once they are."""
    weights = {"map": np.array([0.3, 0.1, 0.4, 0.2])}
    vague, sharp = (
        judge_truth(weights, known(scatter=2.0), STANDARD),
        judge_truth(weights, known(scatter=1e-3), STANDARD),
    )
    assert vague["map"].error > 0.1 > sharp["map"].error > 0
    assert not clear(vague, STANDARD)
    assert clear(sharp, STANDARD)


@pytest.mark.parametrize("weights", [np.full(4, 0.25), np.array([0.5, np.nan, 0.25, 0.25])], ids=["constant", "NaN"])
def test_maps_that_say_nothing_are_at_chance(weights: np.ndarray) -> None:
    """Constant maps, and such that are not all numbers, have an A* of 0."""
    assert judge_truth({"map": weights}, known(), STANDARD)["map"].alignment == 0


def test_without_effects_every_map_is_at_chance() -> None:
    """Where removals change nothing no map is right."""
    removed, operators = truth_removals(4, 512, seed=1)
    estimate = estimate_effects(removed, operators, np.zeros(len(removed)), lambdas=TRUTH_LAMBDA)
    assert estimate is None
    assert judge_truth({"map": EFFECTS}, estimate, STANDARD) == {"map": Truth(alignment=0.0, omits_top_effect=False)}


@pytest.mark.parametrize(
    ("flag", "alignment", "omits", "wrong"),
    [
        (Flag.FAITHFUL, 0.5, False, False),
        (Flag.FAITHFUL, 0.49, False, True),
        (Flag.FAITHFUL, 0.9, True, True),
        (Flag.UNFAITHFUL, 0.5, False, True),
        (Flag.UNFAITHFUL, 0.5, True, True),
        (Flag.UNFAITHFUL, 0.49, False, False),
        (Flag.INCONCLUSIVE, 0.9, False, False),
        (Flag.NOT_CHECKED, -0.9, True, False),
    ],
)
def test_which_flags_are_wrong(flag: Flag, alignment: float, *, omits: bool, wrong: bool) -> None:
    """FAITHFUL is wrong below the threshold or with an omission, UNFAITHFUL from the threshold up, others never."""
    assert Truth(alignment=alignment, omits_top_effect=omits).contradicts(flag, STANDARD) is wrong
