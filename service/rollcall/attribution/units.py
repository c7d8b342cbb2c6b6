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


def unit_sums(weights: Floats, encoding: Encoding) -> Floats:
    """Sum signed token weights [T] over units [n]; special tokens are left out."""
    content = encoding.unit_of_token >= 0
    sums = np.bincount(encoding.unit_of_token[content], weights=weights[content], minlength=len(encoding.units))
    return np.asarray(sums, dtype=np.float64)


def positive_units(weights: Floats, encoding: Encoding) -> tuple[Floats, float]:
    """Sum signed token weights [T] over units, keep what is positive; as `to_units` [n], with the share dropped.

    The pieces of a word may cancel: the word is what people read and what gets removed. Special tokens count one by
    one. Where nothing is positive the map is uniform: it says nothing. NaN stays NaN.
    """
    sums = unit_sums(weights, encoding).clip(min=0)
    special = float(weights[encoding.unit_of_token < 0].clip(min=0).sum())
    kept = float(sums.sum())
    if kept == 0:
        return np.full(len(sums), 1 / len(sums)), 1.0 if special else 0.0
    return sums / kept, special / (special + kept)
