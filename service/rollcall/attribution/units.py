"""From tokens to units: sub-words summed, special tokens dropped, the rest renormalised, dropped mass reported."""

from __future__ import annotations

import numpy as np

from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import Floats


def shares(weights: Floats) -> Floats:
    """Make non-negative weights [n] sum to 1; where all are 0 they are uniform: the map says nothing. NaN stays NaN."""
    total = float(weights.sum())
    return weights / total if total else np.full(len(weights), 1 / len(weights))


def to_units(weights: Floats, encoding: Encoding) -> tuple[Floats, float]:
    """Sum token weights [T] over units [n]; return them renormalised, with the share of mass dropped.

    Where no mass is left on any unit, the weights are uniform: the map says nothing. NaN stays NaN.
    """
    sums = unit_sums(weights, encoding)
    total, kept = float(weights.sum()), float(sums.sum())
    return shares(sums), (total - kept) / total if kept else 1.0


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
    return shares(sums), special / (special + kept) if kept else float(special != 0)
