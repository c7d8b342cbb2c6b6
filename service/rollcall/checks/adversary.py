"""How different may attention be while the prediction stays? The adversary of Jain and Wallace, for transformers.

Jain and Wallace 2019 (section 4.2.2) search one layer's weights for the greatest Jensen-Shannon divergence from the
original among those that leave the prediction within a tolerance (eps-max JSD). Here a bias is searched for each key of
each head of each layer, so that every candidate is attention that the model computes with; what the search proposes
counts only if a fresh forward confirms it. That such a map exists proves nothing against the original: it exists for
nearly every input (Wiegreffe and Pinter 2019).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rollcall.checks.base import Asking, Subject, WitnessFinding
from rollcall.domain.distances import jensen_shannon
from rollcall.domain.maps import Floats, UnitMap
from rollcall.domain.policy import ThoroughPolicy
from rollcall.domain.rows import AttentionEdit, Row, RowResult
from rollcall.domain.verdicts import CheckKind, CheckOutcome, CheckResult, Witness


def adversary(
    subject: Subject,
    unit_map: UnitMap,
    proposed: Sequence[Floats],
    drawn: Sequence[RowResult],
    policy: ThoroughPolicy,
    searched: int,
) -> Asking[WitnessFinding]:
    """Ask for a forward under each proposed bias [L, H, T], and take the most different map that keeps the prediction.

    `drawn`: rows of permuted attention that have been run already; they count as well. `searched`: rows of the search.
    """
    results = (yield [Row(edit=AttentionEdit.BIASED, bias=bias) for bias in proposed]) if proposed else []
    candidates = [row for row in (*results, *drawn) if row.finite and _kept(subject, row, policy)]
    rows = searched + len(results)
    if not candidates:
        detail = "No other attention that keeps the prediction was found."
        return WitnessFinding(result=_result(subject, CheckOutcome.MEASURED, None, policy, rows, detail))
    distances = jensen_shannon(np.array([row.maps[unit_map.kind] for row in candidates]), unit_map.scores)
    best = int(distances.argmax())
    jsd, tvd = float(distances[best]), subject.tvd(candidates[best])
    detail = f"The most different map found differs by {jsd:.2f} nats of at most 0.69, and the prediction by {tvd:.4f}."
    return WitnessFinding(
        result=_result(subject, CheckOutcome.MEASURED, jsd, policy, rows, detail),
        witness=Witness(
            kind=CheckKind.ADVERSARY,
            detail="The most different map with the same prediction that the search found: "
            "proof that such maps exist, not that this one is wrong.",
            map_scores=candidates[best].maps[unit_map.kind],
            jsd=jsd,
            tvd=tvd,
        ),
    )


def _kept(subject: Subject, row: RowResult, policy: ThoroughPolicy) -> bool:
    """Whether the prediction is within the tolerance, and the decision the same."""
    return subject.tvd(row) <= policy.adversary_tvd and not subject.flips([row]).any()


def not_searched(subject: Subject, policy: ThoroughPolicy, reason: str) -> WitnessFinding:
    """What is said of maps that are not searched, and why."""
    return WitnessFinding(result=_result(subject, CheckOutcome.SKIPPED, None, policy, 0, reason))


def _result(
    subject: Subject, outcome: CheckOutcome, value: float | None, policy: ThoroughPolicy, rows: int, detail: str
) -> CheckResult:
    return CheckResult(
        kind=CheckKind.ADVERSARY,
        outcome=outcome,
        statistic=f"jsd_within_tvd_{policy.adversary_tvd:g}",
        value=value,
        rows=rows,
        seed=subject.seed,
        detail=detail,
    )
