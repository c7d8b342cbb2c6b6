"""INTEGRATED_GRADIENTS (Sundararajan et al. 2017, section 3) from the input with every unit masked.

The baseline is what the removal operator makes of the whole input: special tokens stay, so that it is a text that the
model can read and that says nothing.
"""

from __future__ import annotations

from rollcall.domain.maps import Floats


def midpoints(count: int) -> tuple[float, ...]:
    """Middles of `count` equal parts of the way from 0 to 1: the midpoint rule."""
    return tuple((i + 0.5) / count for i in range(count))


def integrated_gradients(along: Floats) -> Floats:
    """Signed weights per token [T] from `along` [P, T], the gradients at the midpoints times the whole way.

    They sum to margin(input) - margin(masked input), up to the error of the rule (completeness).
    """
    mean: Floats = along.mean(axis=0)
    return mean
