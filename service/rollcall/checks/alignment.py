"""Do a map's weights follow the causal effects of the units? The check that decides (DESIGN section 2).

Effects come from a Bayesian ridge of the margins on the 0/1 removal indicators, with intercept and operator unpenalised
and the penalty chosen by restricted maximum likelihood. A compares the map's agreement with the effects to the best,
the worst and the random assignment of these very weights to the units.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations

import numpy as np

from rollcall.checks.base import OPERATORS
from rollcall.domain.maps import Bools, Floats, Ints
from rollcall.domain.policy import Policy
from rollcall.domain.rows import RemovalOperator, Row
from rollcall.domain.seeds import random_permutations

RIDGE_LAMBDAS = np.geomspace(0.02, 50.0, 15)
MINIMUM_ROWS = 3
"""Intercept, operator, and one row to learn from."""
ROUNDING = 1e-5
"""Effects that all lie within this share of 1 + the largest margin are equal: float32 logits from batches of different
sizes differ by up to a tenth of it, and chance would decide the order."""
_NULL_SEED = 0
_DRAWS_AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look: `removed` [R, n], one operator per removal, and the width index of the policy that holds after it."""

    removed: Bools = field(repr=False)
    operators: tuple[RemovalOperator, ...]
    width_index: int

    def rows(self) -> list[Row]:
        """The removals as rows."""
        return [Row(removed=r, operator=o) for r, o in zip(self.removed, self.operators, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectEstimate:
    """Effects [n] of the units in log-odds, up to a common shift; `covariance` [n, n] is their posterior covariance."""

    effects: Floats = field(repr=False)
    covariance: Floats = field(repr=False)
    ridge_lambda: float

    @property
    def reliability(self) -> float:
        """rho: the expected correlation with the true effects, 0 to 1."""
        n = len(self.effects)
        centred = self.effects - self.effects.mean()
        signal = float(centred @ centred)
        noise = float(np.trace(self.covariance) - self.covariance.sum() / n)
        return math.sqrt(signal / (signal + noise)) if signal + noise > 0 else 0.0

    def shifted(self, total: float) -> Floats:
        """Effects shifted so that they sum to `total` (efficiency, as Shapley values)."""
        return np.asarray(self.effects - self.effects.mean() + total / len(self.effects))

    @property
    def standard_errors(self) -> Floats:
        """Posterior standard deviations [n]."""
        return np.asarray(np.sqrt(np.diag(self.covariance).clip(min=0)))


def plan_looks(n: int, seed: int, policy: Policy) -> tuple[Look, ...]:
    """Draw the removals of all looks for `n` units; none for a single unit."""
    last = len(policy.widths) - 1
    if n < 2:  # noqa: PLR2004 - a single unit has no proper subset to remove
        return ()
    if n <= policy.half_size_units:
        sizes = range(1, n) if n <= policy.exhaustive_units else (n // 2,)
        subsets = [subset for size in sizes for subset in combinations(range(n), size)]
        removed = np.zeros((len(subsets), n), dtype=np.bool_)
        for row, subset in zip(removed, subsets, strict=True):
            row[list(subset)] = True
        both = np.repeat(removed, len(OPERATORS), axis=0)
        return (Look(removed=both, operators=OPERATORS * len(subsets), width_index=last),)
    draws = _half_sets(n, seed)
    looks = []
    for index in range(len(policy.widths)):
        removed = np.stack([next(draws) for _ in range(policy.look_rows)])
        operators = tuple(OPERATORS[i % len(OPERATORS)] for i in range(policy.look_rows))
        looks.append(Look(removed=removed, operators=operators, width_index=index))
    return tuple(looks)


def _half_sets(n: int, seed: int) -> Iterator[Bools]:
    """Yield random sets of floor(n/2) units, without repetition until all have been drawn, for ever."""
    half, distinct = n // 2, math.comb(n, n // 2)
    seen: set[bytes] = set()
    block = 0
    while True:
        orders = random_permutations(seed, f"removals/{block}", (_DRAWS_AT_ONCE, n))
        block += 1
        for order in orders:
            removed = np.zeros(n, dtype=np.bool_)
            removed[order[:half]] = True
            key = removed.tobytes()
            if key not in seen:
                seen.add(key)
                if len(seen) == distinct:
                    seen.clear()
                yield removed


def estimate_effects(
    removed: Bools,
    operators: tuple[RemovalOperator, ...],
    margins: Floats,
    lambdas: Floats = RIDGE_LAMBDAS,
) -> EffectEstimate | None:
    """Estimate the effects from `removed` [R, n] and `margins` [R]; None where the margins are constant or too few.

    The penalty is the most likely of `lambdas`; a single one fixes it. Effects that are equal up to rounding are all 0.
    """
    if (
        len(margins) < MINIMUM_ROWS
        or not np.isfinite(margins).all()
        or np.ptp(margins) <= 1e-9 * (1 + np.abs(margins).max())
    ):
        return None
    codes = np.array([OPERATORS.index(o) for o in operators], dtype=np.float64) - 0.5
    columns = [np.ones(len(margins))] + ([codes] if np.ptp(codes) > 0 else [])
    fixed = np.stack(columns, axis=1)
    orthonormal, _ = np.linalg.qr(fixed, mode="complete")
    residual = orthonormal[:, fixed.shape[1] :].T
    design, response = residual @ removed.astype(np.float64), residual @ margins
    left, singular, right = np.linalg.svd(design, full_matrices=True)
    rank = len(singular)
    rotated = left.T @ response
    squared = np.zeros(len(response))
    squared[:rank] = singular**2
    ridge_lambda, noise = _restricted_maximum_likelihood(squared, rotated, lambdas)
    prior = np.zeros(removed.shape[1])
    prior[:rank] = singular**2
    coefficients = np.zeros(removed.shape[1])
    coefficients[:rank] = singular / (singular**2 + ridge_lambda) * rotated[:rank]
    effects = -(right.T @ coefficients)
    if np.ptp(effects) <= ROUNDING * (1 + np.abs(margins).max()):
        effects = np.zeros_like(effects)
    return EffectEstimate(
        effects=effects,
        covariance=(right.T * (noise / (prior + ridge_lambda))) @ right,
        ridge_lambda=ridge_lambda,
    )


def _restricted_maximum_likelihood(squared: Floats, rotated: Floats, lambdas: Floats) -> tuple[float, float]:
    """Choose a lambda; return it with the profiled noise variance.

    `squared` and `rotated` [m] are in the SVD's basis.
    """
    m = len(rotated)
    ratio = squared[None, :] / lambdas[:, None]
    noise = (rotated**2 / (1 + ratio)).sum(axis=1) / m
    with np.errstate(divide="ignore"):
        likelihood = -(m * np.log(noise) + np.log1p(ratio).sum(axis=1)) / 2
    best = int(np.argmax(likelihood))
    return float(lambdas[best]), float(noise[best])


def alignment_value(weights: Floats, effects: Floats) -> float | None:
    """A of `weights` [n] against `effects` [n]; None where either is constant."""
    if len(weights) < 2 or np.ptp(weights) == 0 or np.ptp(effects) == 0:  # noqa: PLR2004 - one unit is a constant
        return None
    agreement = float(weights @ effects)
    chance = float(len(weights) * weights.mean() * effects.mean())
    ordered, sorted_effects = np.sort(weights), np.sort(effects)
    if agreement >= chance:
        return (agreement - chance) / (float(ordered @ sorted_effects) - chance)
    return (agreement - chance) / (chance - float(ordered @ sorted_effects[::-1]))


def relabelling_p_values(weights: Floats, effects: Floats, permutations: int) -> tuple[float, float]:
    """Share of relabellings of the weights that do at least and at most as well, the observed one included."""
    agreement = float(weights @ effects)
    null = weights[_relabellings(len(weights), permutations)] @ effects
    tolerance = 1e-12 * (1 + abs(agreement))
    up = (1 + int((null >= agreement - tolerance).sum())) / (1 + permutations)
    low = (1 + int((null <= agreement + tolerance).sum())) / (1 + permutations)
    return up, low


@lru_cache(maxsize=128)
def _relabellings(n: int, permutations: int) -> Ints:
    return random_permutations(_NULL_SEED, "relabellings", (permutations, n))
