"""How near the effects that flags rest on come to the true ones, and what the checks thought of that themselves.

A map is called UNFAITHFUL only where the reliability rho, an estimate of the correlation between both, is high enough.
Where rho claims more than there is, such flags are wrong: this says by family how often it does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final

import numpy as np

from rollcall.checks.alignment import estimate_effects
from rollcall.domain.policy import Policy
from rollcall.studies.cases import Case
from rollcall.studies.flag.families.base import Undecidable
from rollcall.studies.flag.run import Measured
from rollcall.studies.rates import Share

ASTRAY: Final = 0.5
"""Effects that correlate less with the true ones than this, though rho allows UNFAITHFUL, lead astray."""


def estimated_effects(measured: Sequence[Measured], policy: Policy) -> dict[str, Any]:
    """By family and number of removals, of the inputs with reach that have all looks.

    `correlation` of the effects with the true ones and `reliability`: medians. `allowed`: inputs whose reliability
    allows UNFAITHFUL; `astray`: of these those whose correlation is below ASTRAY.
    """
    found: dict[str, dict[int, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for one in measured:
        if one.fault or one.family.undecidable is not Undecidable.NOTHING:
            continue
        for case in one.cases:
            for removals, pair in _looked(case, policy).items():
                found[one.family.name][removals].append(pair)
    return {
        family: {str(removals): _told(pairs, policy) for removals, pairs in sorted(looks.items())}
        for family, looks in found.items()
    }


def _looked(case: Case, policy: Policy) -> dict[int, tuple[float, float]]:
    """Correlation and reliability after each look; nothing without reach, after a single look, or of equal effects."""
    removed, operators, margins = case.rows()
    looks = tuple(accumulate(policy.looks))
    if not case.reached or case.units <= policy.half_size_units or len(margins) < looks[-1]:
        return {}
    pairs = {}
    for rows in looks:
        estimate = estimate_effects(removed[:rows], operators[:rows], margins[:rows])
        if estimate is not None and np.ptp(estimate.effects) > 0 and np.ptp(case.true_effects) > 0:
            correlation = float(np.corrcoef(estimate.effects, case.true_effects)[0, 1])
            pairs[rows] = (correlation, estimate.reliability)
    return pairs


def _told(pairs: Sequence[tuple[float, float]], policy: Policy) -> dict[str, Any]:
    allowed = [correlation for correlation, rho in pairs if rho >= policy.minimum_reliability]
    return {
        "inputs": len(pairs),
        "correlation": float(np.median([correlation for correlation, _ in pairs])),
        "reliability": float(np.median([rho for _, rho in pairs])),
        "allowed": Share(count=len(allowed), total=len(pairs)).to_json(),
        "astray": Share(count=sum(correlation < ASTRAY for correlation in allowed), total=len(allowed)).to_json(),
    }
