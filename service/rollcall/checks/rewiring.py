"""How probable is it that very different attention gives the same answer?

Jain and Wallace 2019, generalised: each draw permutes the keys of every layer and head independently. A draw counts for
a map if the map recomputed under it is far from the original. That one twin exists proves nothing, twins exist for
every long input: the probability does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rollcall.checks.base import Subject
from rollcall.domain import binomial
from rollcall.domain.distances import jensen_shannon
from rollcall.domain.maps import REWIRED_MAPS, Bools, UnitMap
from rollcall.domain.rows import AttentionEdit, Row, RowResult
from rollcall.domain.seeds import derived_seed
from rollcall.domain.verdicts import CheckKind, CheckOutcome, CheckResult, Witness


@dataclass(frozen=True, slots=True, kw_only=True)
class RewiringFinding:
    """`certified`: the answer stays the same with probability above one half, whatever the attention says.

    The check supports the map where the answer certainly changes with probability above one half; else we cannot tell.
    """

    certified: bool
    result: CheckResult
    witness: Witness | None


def rewiring_rows(subject: Subject, first: int, count: int) -> list[Row]:
    """Draws number `first` to `first + count - 1`."""
    return [
        Row(edit=AttentionEdit.PERMUTED, seed=derived_seed(subject.seed, "rewiring", index))
        for index in range(first, first + count)
    ]


def judge_rewiring(subject: Subject, unit_map: UnitMap, draws: Sequence[RowResult], same: Bools) -> RewiringFinding:
    """Count for one map, over all draws [D] so far; `same` [D] says which of them kept the answer."""
    policy = subject.policy
    if not unit_map.kind.attention_only:
        return _skipped(subject, len(draws), "Not asked of maps that are made of more than attention weights.")
    if unit_map.kind not in REWIRED_MAPS:
        detail = "The map is not recomputed under other attention: each draw would cost as much as the map itself."
        return _skipped(subject, len(draws), detail)
    redrawn = np.array([draw.maps[unit_map.kind] for draw in draws]).reshape(len(draws), subject.n)
    distances = jensen_shannon(redrawn, unit_map.scores)
    counting = np.flatnonzero(distances >= policy.rewiring_jsd)
    if len(counting) < policy.rewiring_minimum:
        return _skipped(
            subject, len(draws), f"Only {len(counting)} of {len(draws)} draws moved the map far enough to count."
        )
    twins = [(float(distances[i]), draws[i]) for i in counting.tolist() if same[i]]
    bound = lower_bound(len(twins), len(counting), policy.rewiring_confidence)
    certified = bound > policy.rewiring_probability
    most = 1 - lower_bound(len(counting) - len(twins), len(counting), policy.rewiring_confidence)
    outcome = CheckOutcome.SUPPORTS if most < policy.rewiring_probability else CheckOutcome.INCONCLUSIVE
    return RewiringFinding(
        certified=certified,
        result=CheckResult(
            kind=CheckKind.REWIRING,
            outcome=CheckOutcome.CONTRADICTS if certified else outcome,
            statistic="same_answer_lower_bound",
            value=bound,
            threshold=policy.rewiring_probability,
            rows=len(draws),
            seed=subject.seed,
            detail=f"Very different attention gave the same answer in {len(twins)} of {len(counting)} counting draws.",
        ),
        witness=_twin(subject, unit_map, twins),
    )


@lru_cache(maxsize=1024)
def lower_bound(successes: int, trials: int, confidence: float) -> float:
    """`binomial.lower_limit`, remembered: few different counts occur."""
    return binomial.lower_limit(successes, trials, confidence=confidence)


def _twin(subject: Subject, unit_map: UnitMap, twins: list[tuple[float, RowResult]]) -> Witness | None:
    if not twins:
        return None
    jsd, draw = max(twins, key=lambda twin: twin[0])
    return Witness(
        kind=CheckKind.REWIRING,
        detail="A very different attention map that gives the same prediction.",
        map_scores=draw.maps[unit_map.kind],
        jsd=jsd,
        tvd=subject.tvd(draw),
    )


def _skipped(subject: Subject, rows: int, detail: str) -> RewiringFinding:
    result = CheckResult(
        kind=CheckKind.REWIRING,
        outcome=CheckOutcome.SKIPPED,
        statistic="same_answer_lower_bound",
        rows=rows,
        seed=subject.seed,
        detail=detail,
    )
    return RewiringFinding(certified=False, result=result, witness=None)
