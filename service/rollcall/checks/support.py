"""Does what the map calls important carry the decision alone? Remove it, then keep only it.

The set is the smallest top set with half the map's mass, at most a third of the units. A positive witness is a
demonstration that people understand; its absence is no evidence against the map.
"""

from __future__ import annotations

import numpy as np

from rollcall.checks.base import WAYS, Asking, WitnessFinding, WitnessSubject
from rollcall.domain.verdicts import CheckKind, CheckOutcome, CheckResult, Witness


def support(case: WitnessSubject) -> Asking[WitnessFinding]:
    """Ask for both removals under both operators."""
    subject = case.subject
    top = support_set(case)
    if len(top) == subject.n:
        return WitnessFinding(result=_result(case, CheckOutcome.SKIPPED, None, 0, "There is no rest to compare with."))
    rest = tuple(i for i in range(subject.n) if i not in top)
    rows = [subject.removal(units, operator) for units in (top, rest) for operator in subject.operators]
    results = yield rows
    without, alone = subject.flips(results).reshape(2, WAYS)
    necessary = bool(without.all())
    distance = max(subject.tvd(result) for result in results[WAYS:])
    sufficient = not alone.any() and distance <= subject.policy.support_tvd
    if not (necessary and sufficient):
        detail = "Removing the map's top " + ("changes" if necessary else "does not change") + " the decision; "
        detail += "keeping only it " + ("preserves" if sufficient else "does not preserve") + " it."
        return WitnessFinding(result=_result(case, CheckOutcome.INCONCLUSIVE, distance, len(rows), detail))
    detail = (
        f"The map's top {len(top)} unit(s) carry the decision alone: without them it changes, with only them it stays."
    )
    return WitnessFinding(
        result=_result(case, CheckOutcome.SUPPORTS, distance, len(rows), detail),
        witness=Witness(kind=CheckKind.SUPPORT, detail=detail, tvd=distance, removed_units=top, control_units=rest),
    )


def support_set(case: WitnessSubject) -> tuple[int, ...]:
    """Smallest top set with the policy's share of the mass, within its share of the units, at least one."""
    policy, ranked = case.subject.policy, case.ranked
    mass = np.cumsum(case.map.scores[list(ranked)])
    smallest = int(np.searchsorted(mass, policy.support_mass - 1e-12)) + 1
    return ranked[: max(1, min(smallest, int(case.subject.n * policy.support_share)))]


def _result(case: WitnessSubject, outcome: CheckOutcome, value: float | None, rows: int, detail: str) -> CheckResult:
    return CheckResult(
        kind=CheckKind.SUPPORT,
        outcome=outcome,
        statistic="tvd_of_top_alone",
        value=value,
        threshold=case.subject.policy.support_tvd,
        rows=rows,
        seed=case.subject.seed,
        detail=detail,
    )
