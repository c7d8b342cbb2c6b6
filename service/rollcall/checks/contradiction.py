"""Can the map's top be removed without effect while removing its bottom changes the decision?

A replayable counterexample.
"""

from __future__ import annotations

from rollcall.checks.base import WAYS, Asking, WitnessFinding, WitnessSubject
from rollcall.domain.verdicts import CheckKind, CheckOutcome, CheckResult, Witness


def contradiction(case: WitnessSubject) -> Asking[WitnessFinding]:
    """Ask for the top and the bottom at each share, under both operators."""
    subject = case.subject
    wanted = (max(1, round(share * subject.n)) for share in subject.policy.contradiction_shares)
    sizes = sorted({size for size in wanted if 2 * size <= subject.n})
    if not sizes:
        return WitnessFinding(result=_result(case, CheckOutcome.SKIPPED, 0, "Too few units to compare top and bottom."))
    ranked = case.ranked
    pairs = [(ranked[:size], ranked[-size:]) for size in sizes]
    rows = [subject.removal(units, operator) for pair in pairs for units in pair for operator in subject.operators]
    results = yield rows
    shape = (len(pairs), 2, WAYS)
    same, flips = subject.same(results).reshape(shape), subject.flips(results).reshape(shape)
    for (top, bottom), (on_top, _), (_, on_bottom) in zip(pairs, same, flips, strict=True):
        if on_top.all() and on_bottom.all():
            detail = (
                f"Removing the top {len(top)} unit(s) changes nothing, removing as many at the bottom the decision."
            )
            return WitnessFinding(
                result=_result(case, CheckOutcome.CONTRADICTS, len(rows), detail, len(top)),
                witness=Witness(kind=CheckKind.CONTRADICTION, detail=detail, removed_units=bottom, control_units=top),
            )
    return WitnessFinding(
        result=_result(case, CheckOutcome.INCONCLUSIVE, len(rows), "Removing top and bottom gave no counterexample."),
    )


def _result(
    case: WitnessSubject, outcome: CheckOutcome, rows: int, detail: str, size: int | None = None
) -> CheckResult:
    return CheckResult(
        kind=CheckKind.CONTRADICTION,
        outcome=outcome,
        statistic="units_in_counterexample",
        value=None if size is None else float(size),
        rows=rows,
        seed=case.subject.seed,
        detail=detail,
    )
