"""EFFECT: the positive part of the estimated effects themselves, as a map.

A map that was fitted to removals follows what these removals measured, noise included. It may only be judged by
others: ADR 7.
"""

from __future__ import annotations

import numpy as np

from rollcall.attribution.units import shares
from rollcall.checks.alignment import EffectEstimate
from rollcall.domain.maps import Floats, MapKind, UnitMap


def effect_map(estimate: EffectEstimate | None, total: float, n: int, *, removals: int, judged: bool) -> UnitMap:
    """Make the map of `n` units from effects estimated on the first `removals`; None: all effects are the same.

    The effects are shifted so that they sum to `total`, what removing everything takes from the margin. Where none is
    positive the map is uniform: it says nothing. `judged`: whether removals are left to judge it.
    """
    effects: Floats = np.full(n, total / n) if estimate is None else estimate.shifted(total)
    note = ""
    if judged:
        note = f"Made of the first {removals} removals, which do not judge it."
    elif removals:
        note = f"Made of all {removals} removals: none is left to judge it."
    return UnitMap(
        kind=MapKind.EFFECT,
        scores=shares(effects.clip(min=0)),
        dropped_mass=0.0,
        note=note,
    )
