"""From tokens to units: sub-words summed, special tokens dropped, the rest renormalised, dropped mass reported."""

from __future__ import annotations

import numpy as np

from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import Floats


def to_units(weights: Floats, encoding: Encoding) -> tuple[Floats, float]:
    """Sum token weights [T] over units [n]; return them renormalised, with the share of mass dropped.

    Where no mass is left on any unit, the weights are uniform: the map says nothing. NaN stays NaN.
    """
    n = len(encoding.units)
    content = encoding.unit_of_token >= 0
    sums = np.bincount(encoding.unit_of_token[content], weights=weights[content], minlength=n)
    total, kept = float(weights.sum()), float(sums.sum())
    if kept == 0:
        return np.full(n, 1 / n), 1.0
    return sums / kept, (total - kept) / total
