"""Do a map's weights follow the causal effects of the units? The check that decides (DESIGN section 2).

Effects come from a Bayesian ridge of the margins on the 0/1 removal indicators, with intercept and operator unpenalised
and the penalty chosen by restricted maximum likelihood. A compares the map's agreement with the effects to the best,
the worst and the random assignment of these very weights to the units.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import combinations, cycle, islice

import numpy as np

from rollcall.checks.base import NOISE_FACTOR, OPERATORS
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
CONSTANT = 1e-9
"""Margins that all lie within this share of 1 + the largest are constant."""
_NULL_SEED = 0
_DRAWS_AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look: `removed` [R, n] and one operator per removal."""

    removed: Bools = field(repr=False)
    operators: tuple[RemovalOperator, ...]

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

    def among(self, chosen: Bools) -> EffectEstimate:
        """The effects of some units [n] alone."""
        numbers = np.flatnonzero(chosen)
        return EffectEstimate(
            effects=self.effects[numbers],
            covariance=self.covariance[np.ix_(numbers, numbers)],
            ridge_lambda=self.ridge_lambda,
        )

    def shifted(self, total: float) -> Floats:
        """Effects shifted so that they sum to `total` (efficiency, as Shapley values)."""
        return np.asarray(self.effects - self.effects.mean() + total / len(self.effects))

    def may_be_largest(self, errors: float) -> Bools:
        """Whose effect [n] lies within so many standard errors of their difference from the largest."""
        top = int(self.effects.argmax())
        variances = self.covariance[top, top] + np.diag(self.covariance) - 2 * self.covariance[top]
        return np.asarray(self.effects[top] - self.effects <= errors * np.sqrt(variances.clip(min=0)))

    @property
    def standard_errors(self) -> Floats:
        """Posterior standard deviations [n]."""
        return np.asarray(np.sqrt(np.diag(self.covariance).clip(min=0)))


def rounding_of(noise: float) -> float:
    """The `rounding` of effects from margins with this relative noise."""
    return max(ROUNDING, NOISE_FACTOR * noise)


def plan_looks(
    n: int,
    seed: int,
    policy: Policy,
    *,
    prior: bool = False,
    operators: tuple[RemovalOperator, RemovalOperator] = OPERATORS,
) -> tuple[Look, ...]:
    """Draw the removals of all looks for `n` units; none for a single unit.

    With a prior there are other looks, which draw the same removals one after the other.
    """
    if n < 2:  # noqa: PLR2004 - a single unit has no proper subset to remove
        return ()
    if n <= policy.half_size_units:
        sizes = range(1, n) if n <= policy.exhaustive_units else (n // 2,)
        subsets = [subset for size in sizes for subset in combinations(range(n), size)]
        removed = np.zeros((len(subsets), n), dtype=np.bool_)
        for row, subset in zip(removed, subsets, strict=True):
            row[list(subset)] = True
        both = np.repeat(removed, len(operators), axis=0)
        return (Look(removed=both, operators=operators * len(subsets)),)
    draws = _half_sets(n, seed)
    turns = cycle(operators)
    return tuple(
        Look(removed=np.stack(list(islice(draws, rows))), operators=tuple(islice(turns, rows)))
        for rows in policy.removals(prior=prior)
    )


def _half_sets(n: int, seed: int) -> Iterator[Bools]:
    """Yield random sets of floor(n/2) units, without repetition until all have been drawn, for ever."""
    half, distinct = n // 2, math.comb(n, n // 2)
    seen: set[bytes] = set()
    block = 0
    while True:
        orders = random_permutations(seed, f"removals/{block}", (_DRAWS_AT_ONCE, n))
        block += 1
        drawn = np.zeros(orders.shape, dtype=np.bool_)
        np.put_along_axis(drawn, orders[:, :half], values=True, axis=1)
        for removed in drawn:
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
    rounding: float = ROUNDING,
    prior: Floats | None = None,
) -> EffectEstimate | None:
    """Estimate the effects from `removed` [R, n] and `margins` [R]; None where the margins are constant or too few.

    The penalty is the most likely of `lambdas`; a single one fixes it. Effects that are equal up to `rounding`,
    relative to the margins, are all 0. With a `prior` [n] the effects are a multiple of it, the best one by the rows,
    and what the ridge finds beside it.
    """
    if len(margins) < MINIMUM_ROWS or not np.isfinite(margins).all():
        return None
    size = 1 + np.abs(margins).max()
    if margins.max() - margins.min() <= CONSTANT * size:
        return None
    design, response, freedom = _centred(removed.astype(np.float64), margins, operators)
    along = np.zeros(len(margins)) if prior is None else design @ prior
    if prior is not None and freedom > 1 and along @ along > CONSTANT * (prior @ prior):
        estimate = _ridge_beside(prior, along, design, response, freedom, lambdas)
    else:
        estimate, _ = _ridge(design, response, freedom, lambdas)
    if np.ptp(estimate.effects) <= rounding * size:
        return replace(estimate, effects=np.zeros_like(estimate.effects))
    return estimate


def _ridge(design: Floats, response: Floats, freedom: int, lambdas: Floats) -> tuple[EffectEstimate, float]:
    """Effects of centred rows by ridge, and the noise variance."""
    squared, left = _principal_rows(design)
    rotated = left.T @ response
    rest = response - left @ rotated
    ridge_lambda, noise = _restricted_maximum_likelihood(squared, rotated, float(rest @ rest), freedom, lambdas)
    directions, shrunk = design.T @ left, squared + ridge_lambda
    estimate = EffectEstimate(
        effects=-(directions @ (rotated / shrunk)),
        covariance=(np.eye(design.shape[1]) - (directions / shrunk) @ directions.T) * (noise / ridge_lambda),
        ridge_lambda=ridge_lambda,
    )
    return estimate, noise


def _ridge_beside(
    prior: Floats, along: Floats, design: Floats, response: Floats, freedom: int, lambdas: Floats
) -> EffectEstimate:
    """Effects b * prior + u, with u by ridge and b unpenalised; `along` [R] is what the prior alone makes of the rows.

    The rows are projected onto what is orthogonal to `along` (Frisch and Waugh 1933); that leaves one degree of freedom
    less, and REML as it is. b then follows from u.
    """
    length = float(along @ along)
    shadow = (along @ design) / length
    beside, noise = _ridge(
        design - np.outer(along, shadow), response - along * float(along @ response) / length, freedom - 1, lambdas
    )
    share = -float(along @ response) / length - float(shadow @ beside.effects)
    moved = np.eye(len(prior)) - np.outer(prior, shadow)
    return replace(
        beside,
        effects=beside.effects + share * prior,
        covariance=moved @ beside.covariance @ moved.T + np.outer(prior, prior) * (noise / length),
    )


def _centred(design: Floats, response: Floats, operators: tuple[RemovalOperator, ...]) -> tuple[Floats, Floats, int]:
    """Take intercept and operator out of `design` [R, n] and `response` [R]: the mean over each operator's rows.

    Also returns the degrees of freedom that are left.
    """
    of_operator = np.array([[o is operator for o in operators] for operator in RemovalOperator], dtype=np.float64)
    counts = of_operator.sum(axis=1)
    of_operator, counts = of_operator[counts > 0], counts[counts > 0]
    means = of_operator / counts[:, None]
    return (
        design - of_operator.T @ (means @ design),
        response - of_operator.T @ (means @ response),
        len(response) - len(counts),
    )


def _principal_rows(design: Floats) -> tuple[Floats, Floats]:
    """Squared singular values [r] of `design` [R, n], and its left singular vectors [R, r].

    For few rows from their products, in half the time: what this loses in the smallest values is far below the penalty.
    """
    rows, n = design.shape
    if rows <= n:
        squared, left = np.linalg.eigh(design @ design.T)
        return squared.clip(min=0), left
    left, singular, _ = np.linalg.svd(design, full_matrices=False)
    return singular**2, left


def _restricted_maximum_likelihood(
    squared: Floats, rotated: Floats, rest: float, freedom: int, lambdas: Floats
) -> tuple[float, float]:
    """Choose a lambda; return it with the profiled noise variance.

    `squared` [r] are the design's squared singular values, `rotated` [r] the response along its left singular vectors,
    `rest` the squared length of what lies outside of them.
    """
    ratio = squared / lambdas[:, None]
    noise = ((rotated**2 / (1 + ratio)).sum(axis=1) + rest) / freedom
    with np.errstate(divide="ignore"):
        deviance = freedom * np.log(noise) + np.log1p(ratio).sum(axis=1)
    best = deviance.argmin()
    return float(lambdas[best]), float(noise[best])


def alignment_values(weights: Floats, effects: Floats) -> list[float | None]:
    """A of every map of `weights` [K, n] against `effects` [n]; None where either is constant."""
    n = len(effects)
    ordered, sorted_effects = np.sort(weights, axis=1), np.sort(effects)
    if n < 2 or sorted_effects[0] == sorted_effects[-1]:  # noqa: PLR2004 - one unit is a constant
        return [None] * len(weights)
    agreement = np.vecdot(weights, effects)
    chance = n * (weights.sum(axis=1) / n) * (effects.sum() / n)
    best, worst = np.vecdot(ordered, sorted_effects), np.vecdot(ordered, sorted_effects[::-1])
    span = np.where(agreement >= chance, best - chance, chance - worst)
    defined = (ordered[:, 0] != ordered[:, -1]) & (span != 0)
    values = np.divide(agreement - chance, span, out=np.zeros_like(span), where=defined)
    return [value if one else None for one, value in zip(defined.tolist(), values.tolist(), strict=True)]


def alignment_value(weights: Floats, effects: Floats) -> float | None:
    """A of one map's `weights` [n]."""
    return alignment_values(weights[None, :], effects)[0]


def relabelling_p_values(weights: Floats, effects: Floats, permutations: int) -> list[tuple[float, float]]:
    """Per map of `weights` [K, n], the shares of relabellings that do at least and at most as well.

    The observed labels count among them. Moving the effects the other way is moving the weights: once for all maps.
    """
    relabelled = effects.take(_inverse_relabellings(len(effects), permutations))
    null, agreement = weights @ relabelled, np.vecdot(weights, effects)[:, None]
    tolerance = 1e-12 * (1 + np.abs(agreement))
    up = (1 + (null >= agreement - tolerance).sum(axis=1)) / (1 + permutations)
    low = (1 + (null <= agreement + tolerance).sum(axis=1)) / (1 + permutations)
    return list(zip(up.tolist(), low.tolist(), strict=True))


@lru_cache(maxsize=128)
def _inverse_relabellings(n: int, permutations: int) -> Ints:
    """Where each unit's label goes in each relabelling [n, permutations]."""
    inverse = np.argsort(random_permutations(_NULL_SEED, "relabellings", (permutations, n)), axis=1)
    return np.ascontiguousarray(inverse.T)
