"""Does the map order the words as gradient times input and leave-one-out do?

Kendall's tau, as Jain and Wallace 2019 (section 4.1) report it. A number for people, never a gate: both references are
wrong under saturation and redundancy, rank correlations of few words have little power, and agreement of two methods
is no evidence of either (Neely et al. 2021).
"""

from __future__ import annotations

import numpy as np
from scipy.stats import kendalltau

from rollcall.checks.base import WAYS, Asking, Subject
from rollcall.domain.maps import Floats, UnitMap
from rollcall.domain.verdicts import CheckKind, CheckOutcome, CheckResult

LEAST_UNITS = 3
"""Two words agree or not: that is no correlation."""
LEAVE_ONE_OUT, GRADIENT = "leave_one_out", "gradient_x_input"


def single_drops(subject: Subject) -> Asking[Floats]:
    """Ask for each unit removed by itself under both operators: the drops of the margin [n], mean of both; 2 n rows."""
    results = yield [subject.removal((unit,), operator) for unit in range(subject.n) for operator in subject.operators]
    margins = subject.margins(results).reshape(subject.n, WAYS).mean(axis=1)
    return np.asarray(subject.margin - margins)


def rank_agreement(subject: Subject, unit_map: UnitMap, reference: Floats | None, name: str, rows: int) -> CheckResult:
    """Tau-b of a map with `reference` [n], the other method's values, made of `rows` rows; None: it cannot be made."""
    statistic = f"kendall_tau_{name}"
    if reference is None:
        return _result(subject, statistic, None, "This backend has no gradients.", CheckOutcome.SKIPPED)
    constant = subject.n < LEAST_UNITS or not (np.ptp(reference) > 0 and np.ptp(unit_map.scores) > 0)
    if constant or not np.isfinite((reference, unit_map.scores)).all():
        detail = "Too few words, or all alike: there is no order to compare."
        return _result(subject, statistic, None, detail, CheckOutcome.SKIPPED, rows=rows)
    found = kendalltau(unit_map.scores, reference)
    detail = "Rank correlation with another method; shown, it says nothing about which of the two is right."
    return _result(
        subject,
        statistic,
        float(found.statistic),
        detail,
        CheckOutcome.MEASURED,
        rows=rows,
        p_value=float(found.pvalue),
    )


def _result(
    subject: Subject,
    statistic: str,
    value: float | None,
    detail: str,
    outcome: CheckOutcome,
    *,
    rows: int = 0,
    p_value: float | None = None,
) -> CheckResult:
    return CheckResult(
        kind=CheckKind.RANK_AGREEMENT,
        outcome=outcome,
        statistic=statistic,
        value=value,
        p_value=p_value,
        rows=rows,
        seed=subject.seed,
        detail=detail,
    )
