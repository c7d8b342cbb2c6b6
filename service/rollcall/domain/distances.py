"""Distances between distributions, in nats."""

from __future__ import annotations

import numpy as np
from scipy.special import rel_entr

from rollcall.domain.maps import Floats


def jensen_shannon(p: Floats, q: Floats) -> float:
    """Jensen-Shannon divergence of two distributions [n]: 0 to ln 2; NaN where either holds NaN."""
    m = (p + q) / 2
    return float((rel_entr(p, m).sum() + rel_entr(q, m).sum()) / 2)


def jsd_from_uniform(p: Floats) -> float:
    """Jensen-Shannon divergence of `p` [n] from the uniform distribution."""
    return jensen_shannon(p, np.full(len(p), 1 / len(p)))
