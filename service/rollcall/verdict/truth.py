"""What is true of a map on one input: A* from many further removals (DESIGN section 2).

A flag is wrong if it contradicts A*. The truth is the model's own behaviour under many more removals than a request can
afford, never what people think of the map.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np

from rollcall.checks.alignment import EffectEstimate, alignment_value
from rollcall.checks.base import OPERATORS, WAYS
from rollcall.domain.maps import Bools, Floats
from rollcall.domain.policy import Policy
from rollcall.domain.rows import RemovalOperator
from rollcall.domain.seeds import random_words
from rollcall.domain.verdicts import Flag

TRUTH_ROWS = 512
"""Removals behind A* to begin with ..."""
MOST_TRUTH_ROWS = 4096
"""... and at most, doubled while any A* is unclear."""
CLEAR_ERRORS = 2.0
"""A* is unclear within so many standard errors of the threshold."""
TRUTH_LAMBDA = np.array([0.1])
FAR_BELOW, FAR_ABOVE = 0.3, 0.7
"""A flag is far wrong if it is FAITHFUL with A* below the first, or UNFAITHFUL with A* of at least the second."""
EXHAUSTIVE_UNITS = 10
"""Up to so many units A* comes from every subset."""
POSTERIOR_DRAWS = 200
_HALF = np.uint64(2**63)

Key = TypeVar("Key")
"""What a map goes by: its kind, or a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What is true of one map on one input: A*, its standard error, and whether it omits the truly largest effect."""

    alignment: float
    error: float = 0.0
    omits_top_effect: bool

    def right(self, policy: Policy) -> bool:
        """Whether the map's weights follow the effects."""
        return self.alignment >= policy.alignment_threshold

    def contradicts(self, flag: Flag, policy: Policy) -> bool:
        """Whether `flag` is wrong."""
        if flag is Flag.FAITHFUL:
            return not self.right(policy) or self.omits_top_effect
        return flag is Flag.UNFAITHFUL and self.right(policy)

    def far_from(self, flag: Flag) -> bool:
        """Whether `flag` is not only wrong, but far from right (DESIGN section 2)."""
        if flag is Flag.FAITHFUL:
            return self.alignment < FAR_BELOW
        return flag is Flag.UNFAITHFUL and self.alignment >= FAR_ABOVE


def truth_removals(
    n: int, rows: int, seed: int, operators: tuple[RemovalOperator, RemovalOperator] = OPERATORS
) -> tuple[Bools, tuple[RemovalOperator, ...]]:
    """Removals [R, n] behind A*: each unit with probability 1/2, operators in turn; all subsets for few units.

    More rows of the same seed begin with the same rows.
    """
    if n <= EXHAUSTIVE_UNITS:
        subsets = np.array(list(product((False, True), repeat=n)), dtype=np.bool_)
        return np.repeat(subsets, WAYS, axis=0), operators * len(subsets)
    removed = random_words(seed, "truth", (rows, n)) >= _HALF
    return removed, tuple(operators[i % WAYS] for i in range(rows))


def judge_truth(weights: Mapping[Key, Floats], estimate: EffectEstimate | None, policy: Policy) -> dict[Key, Truth]:
    """A* of each map; without effects, or for a map that is constant or not finite, it is 0: chance.

    Standard errors come from draws of the effects' posterior.
    """
    if estimate is None:
        return {name: Truth(alignment=0.0, omits_top_effect=False) for name in weights}
    draws = np.random.default_rng(0).multivariate_normal(
        estimate.effects, estimate.covariance, POSTERIOR_DRAWS, method="eigh"
    )
    top = int(np.argmax(estimate.effects))
    truths = {}
    for name, scores in weights.items():
        if not np.isfinite(scores).all():
            truths[name] = Truth(alignment=0.0, omits_top_effect=False)
            continue
        values = [alignment_value(scores, draw) or 0.0 for draw in draws]
        truths[name] = Truth(
            alignment=alignment_value(scores, estimate.effects) or 0.0,
            error=float(np.std(values)),
            omits_top_effect=bool(scores[top] < policy.negligible_share / len(scores)),
        )
    return truths


def enough(truths: Mapping[Key, Truth], n: int, rows: int, policy: Policy) -> bool:
    """Whether so many rows on `n` units say all that more would be asked for."""
    return n <= EXHAUSTIVE_UNITS or rows >= MOST_TRUTH_ROWS or clear(truths, policy)


def clear(truths: Mapping[Key, Truth], policy: Policy) -> bool:
    """Whether no map's A* lies so near the threshold that more removals should be asked."""
    threshold = policy.alignment_threshold
    return all(abs(truth.alignment - threshold) >= CLEAR_ERRORS * truth.error for truth in truths.values())
