"""Does the decision depend on the input at all, as far as removal can tell?

In a binary model one class is often the default: with everything removed the answer stands, and no map could be right
or wrong about it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rollcall.checks.base import WAYS, Asking, Subject
from rollcall.domain.maps import Floats
from rollcall.domain.verdicts import CheckKind, CheckOutcome, CheckResult


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachFinding:
    """Margins with every unit removed, by operator."""

    margins: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the operators."""
        return float(np.mean(self.margins))


def reach(subject: Subject) -> Asking[ReachFinding]:
    """Ask for the input with every unit removed, under each operator."""
    results = yield [subject.removal(tuple(range(subject.n)), operator) for operator in subject.operators]
    return ReachFinding(margins=tuple(subject.margins(results).tolist()))


def judge_reach(subject: Subject, finding: ReachFinding, removal_margins: Floats) -> CheckResult:
    """Judge with the spread of the margins over the removals that have been run."""
    policy, margin = subject.policy, subject.margin
    if not (np.isfinite((margin, *finding.margins)).all() and np.isfinite(removal_margins).all()):
        return _result(subject, CheckOutcome.ERRORED, None, "The margins are not all numbers; this is no evidence.")
    size = abs(margin)
    moved = max(abs(other - margin) for other in finding.margins)
    spread = float(np.std(removal_margins)) if len(removal_margins) else 0.0
    reached = moved >= policy.reach_margin_share * size or spread >= policy.reach_spread_share * size
    reached = reached and max(moved, spread) > subject.margin_noise
    share = moved / size if size else moved
    if reached:
        return _result(subject, CheckOutcome.SUPPORTS, share, "Removing the words moves the decision.")
    detail = "Removing every word hardly moves the decision: there is nothing for a map to explain."
    return _result(subject, CheckOutcome.CONTRADICTS, share, detail)


def _result(subject: Subject, outcome: CheckOutcome, value: float | None, detail: str) -> CheckResult:
    return CheckResult(
        kind=CheckKind.REACH,
        outcome=outcome,
        statistic="largest_margin_change_share",
        value=value,
        threshold=subject.policy.reach_margin_share,
        rows=WAYS,
        seed=subject.seed,
        detail=detail,
    )
