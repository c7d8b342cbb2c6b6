"""Does the map call negligible what the decision hangs on?

Up to three such units are removed, and as a control the map's top.

A witness: removing the units that the map calls negligible changes the decision under both operators, removing as many
of its most important ones does not.
"""

from __future__ import annotations

import numpy as np

from rollcall.checks.base import WAYS, Asking, WitnessFinding, WitnessSubject
from rollcall.domain.verdicts import CheckKind, CheckOutcome, CheckResult, Witness


def omission(case: WitnessSubject) -> Asking[WitnessFinding]:
    """Ask for the removals and judge them, smallest set first."""
    subject, policy = case.subject, case.subject.policy
    ranked = case.ranked
    oriented = case.effects * subject.decision.carried_by(subject.base.logits)
    negligible = case.map.scores < policy.negligible_share / subject.n
    candidates = [int(i) for i in np.argsort(-oriented, kind="stable") if negligible[i] and oriented[i] > 0]
    sizes = range(1, min(policy.omission_units, len(candidates)) + 1)
    if not sizes:
        return WitnessFinding(
            result=_result(case, CheckOutcome.SKIPPED, 0, "The map calls no unit negligible that carries the decision.")
        )
    rows = [
        subject.removal(units, operator)
        for size in sizes
        for units in (tuple(candidates[:size]), ranked[:size])
        for operator in subject.operators
    ]
    results = yield rows
    flips = subject.flips(results).reshape(len(sizes), 2, WAYS)
    for size, (removed, control) in zip(sizes, flips, strict=True):
        if removed.all() and not control.any():
            return WitnessFinding(
                result=_result(
                    case,
                    CheckOutcome.CONTRADICTS,
                    len(rows),
                    f"Removing {size} negligible unit(s) changes the decision.",
                    size,
                ),
                witness=Witness(
                    kind=CheckKind.OMISSION,
                    detail="Removing units that the map calls negligible changes the decision; removing its top not.",
                    removed_units=tuple(candidates[:size]),
                    control_units=ranked[:size],
                ),
            )
    return WitnessFinding(
        result=_result(
            case, CheckOutcome.INCONCLUSIVE, len(rows), "Removing what the map calls negligible gave no counterexample."
        ),
    )


def _result(
    case: WitnessSubject, outcome: CheckOutcome, rows: int, detail: str, size: int | None = None
) -> CheckResult:
    return CheckResult(
        kind=CheckKind.OMISSION,
        outcome=outcome,
        statistic="negligible_units_that_flip",
        value=None if size is None else float(size),
        rows=rows,
        seed=case.subject.seed,
        detail=detail,
    )
