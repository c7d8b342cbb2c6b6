"""How near the effects that flags rest on come to the true ones, and what the checks thought of that themselves.

A map is called UNFAITHFUL only where the reliability rho, an estimate of the correlation between both, is high enough.
Where rho claims more than there is, such flags are wrong: this says by family how often it does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import numpy as np

from rollcall.checks.alignment import estimate_effects
from rollcall.domain.maps import Bools, Floats, Ints
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
    allows UNFAITHFUL; `astray`: of these those whose correlation is below ASTRAY. `error`: the root mean square of
    A - A* of the maps that are offered, for which the default widths must make allowance. `additive`: the median share
    of what the removals did to the margin that the true effects add up to, each operator about its own mean.
    """
    found: dict[str, dict[int, list[_Looked]]] = defaultdict(lambda: defaultdict(list))
    for one in measured:
        if one.fault or one.family.undecidable is not Undecidable.NOTHING:
            continue
        for case in one.cases:
            for looked in _looks(case, policy):
                found[one.family.name][looked.removals].append(looked)
    return {
        family: {str(removals): _told(looks, policy) for removals, looks in sorted(of.items())}
        for family, of in found.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looked:
    """One input after one look: correlation, reliability, what is additive, and A - A* of its maps."""

    removals: int
    correlation: float
    reliability: float
    additive: float
    errors: tuple[float, ...]


def _looks(case: Case, policy: Policy) -> Iterator[_Looked]:
    """Every look; nothing without reach, after a single look, or of effects that are all equal."""
    removed, operators, margins = case.rows()
    looks = tuple(accumulate(policy.looks))
    if not case.reached or case.units <= policy.half_size_units or len(margins) < looks[-1]:
        return
    for rows in looks:
        estimate = estimate_effects(removed[:rows], operators[:rows], margins[:rows])
        if estimate is not None and np.ptp(estimate.effects) > 0 and np.ptp(case.true_effects) > 0:
            yield _Looked(
                removals=rows,
                correlation=float(np.corrcoef(estimate.effects, case.true_effects)[0, 1]),
                reliability=estimate.reliability,
                additive=_additive(removed[:rows], np.array(case.operators[:rows]), margins[:rows], case.true_effects),
                errors=tuple(_errors(case, rows)),
            )


def _additive(removed: Bools, operators: Ints, margins: Floats, effects: Sequence[float]) -> float:
    """Share of the variance of the margins [R] within each operator that the effects [n] of what is removed explain."""
    left, whole = margins + removed @ np.array(effects), margins.copy()
    for values in (left, whole):
        for operator in np.unique(operators):
            mine = operators == operator
            values[mine] -= values[mine].mean()
    return float(1 - (left @ left) / (whole @ whole))


def _errors(case: Case, removals: int) -> Iterator[float]:
    """A - A* of the offered maps that have an A after so many removals."""
    for found in case.maps.values():
        look = next((look for look in found.looks if look.removals == removals), None)
        if found.served is not None and found.truth is not None and look is not None:
            value = look.evidence.alignment
            if value is not None:
                yield value - found.truth.alignment


def _told(looks: Sequence[_Looked], policy: Policy) -> dict[str, Any]:
    allowed = [look.correlation for look in looks if look.reliability >= policy.minimum_reliability]
    errors = [error for look in looks for error in look.errors]
    return {
        "inputs": len(looks),
        "correlation": float(np.median([look.correlation for look in looks])),
        "reliability": float(np.median([look.reliability for look in looks])),
        "additive": float(np.median([look.additive for look in looks])),
        "error": float(np.sqrt(np.mean(np.square(errors)))) if errors else None,
        "allowed": Share(count=len(allowed), total=len(looks)).to_json(),
        "astray": Share(count=sum(correlation < ASTRAY for correlation in allowed), total=len(allowed)).to_json(),
    }
