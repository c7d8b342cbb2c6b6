"""The smallest set of units found whose removal changes the decision, verified by real forwards under both operators.

Sets are prefixes of the units in order of their estimated effect on the decision as it stands; sizes are searched in
two rounds of two sets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rollcall.checks.base import WAYS, Asking, Subject
from rollcall.domain.explanation import DecisionFlip
from rollcall.domain.maps import Floats
from rollcall.domain.verdicts import CheckKind, CheckOutcome, CheckResult


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipFinding:
    """The flip, and the check's own line."""

    flip: DecisionFlip
    result: CheckResult


def decision_flip(subject: Subject, effects: Floats) -> Asking[FlipFinding]:
    """Search with `effects` [n] (shifted, so that they sum to what removing everything does)."""
    oriented = effects * subject.decision.carried_by(subject.base.logits)
    order = tuple(int(i) for i in np.argsort(-oriented, kind="stable"))
    reached = np.cumsum(oriented[list(order)]) > subject.decision.distance(subject.base.logits)
    predicted = int(np.argmax(reached)) + 1 if reached.any() else subject.n
    carrying = max(predicted, int((oriented > 0).sum()))
    tried: dict[int, tuple[float, ...] | None] = {}
    budget = subject.policy.flip_rows // WAYS
    wanted = sorted({predicted, carrying})
    while wanted and len(tried) < budget:
        sizes = wanted[: budget - len(tried)]
        results = iter(
            (yield [subject.removal(order[:size], operator) for size in sizes for operator in subject.operators])
        )
        for size in sizes:
            outcomes = [next(results) for _ in subject.operators]
            flipped = subject.flips(outcomes).all()
            tried[size] = tuple(subject.margins(outcomes).tolist()) if flipped else None
        wanted = _next_sizes(tried, subject.n)
    smallest = min((size for size, margins in tried.items() if margins), default=None)
    margins = tried[smallest] if smallest else None
    found = DecisionFlip(
        found=margins is not None,
        units=order[:smallest] if smallest else (),
        margins=margins or (),
        sets_tried=len(tried),
    )
    return FlipFinding(flip=found, result=_result(subject, found))


def _next_sizes(tried: dict[int, tuple[float, ...] | None], n: int) -> list[int]:
    """Two sizes that cut the open interval below the smallest flipping set, or above all that failed, into thirds."""
    top = min((size for size, margins in tried.items() if margins), default=n + 1)
    bottom = max((size for size, margins in tried.items() if not margins and size < top), default=0)
    cuts = {bottom + (top - bottom) // 3, bottom + 2 * (top - bottom) // 3}
    return sorted(cut for cut in cuts if bottom < cut < top and cut not in tried)


def _result(subject: Subject, flip: DecisionFlip) -> CheckResult:
    return CheckResult(
        kind=CheckKind.DECISION_FLIP,
        outcome=CheckOutcome.SUPPORTS if flip.found else CheckOutcome.INCONCLUSIVE,
        statistic="units_removed",
        value=float(len(flip.units)) if flip.found else None,
        rows=flip.sets_tried * WAYS,
        seed=subject.seed,
        detail=f"Removing {len(flip.units)} unit(s) changes the decision."
        if flip.found
        else "No such set within the budget.",
    )
