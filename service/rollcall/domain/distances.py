"""Distances between distributions, in nats."""

from __future__ import annotations

import numpy as np
from scipy.special import rel_entr

from rollcall.domain.maps import Floats


def jensen_shannon(p: Floats, q: Floats) -> Floats:
    """Jensen-Shannon divergences [...] of distributions `p` [..., n] and `q`: 0 to ln 2; NaN where either holds NaN."""
    m = (p + q) / 2
    return np.asarray((rel_entr(p, m).sum(axis=-1) + rel_entr(q, m).sum(axis=-1)) / 2)


def jsd_from_uniform(p: Floats) -> Floats:
    """Jensen-Shannon divergences [...] of `p` [..., n] from the uniform distribution."""
    n = p.shape[-1]
    return jensen_shannon(p, np.full(n, 1 / n))
