"""Whose attention must be very different before the answer changes: the read-out's last row, all its rows, everybody's?

Rewiring (Jain and Wallace 2019) at three scopes. In a residual model the last row alone is harmless almost by
construction: the three numbers side by side show how much of a "same answer" comes from a small scope. Each draw
permutes keys independently by layer and head; it counts for a map that it moves far enough. Of a pair there is a fourth
one: keys move within their own text alone, so that what each text says to the other stays in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rollcall.checks.base import Asking, Subject
from rollcall.domain.binomial import lower_limit
from rollcall.domain.distances import jensen_shannon
from rollcall.domain.maps import REWIRED_MAPS, Bools, UnitMap
from rollcall.domain.policy import ThoroughPolicy
from rollcall.domain.rows import AttentionEdit, KeyScope, QueryScope, Row, RowResult
from rollcall.domain.seeds import derived_seed
from rollcall.domain.verdicts import CheckKind, CheckOutcome, CheckResult

LAST_READOUT, READOUT, EVERYBODY = SCOPES = ("last_readout_row", "readout_rows", "all_rows")
WITHIN = "all_rows_within_texts"
_WORDS = {
    LAST_READOUT: "the read-out's row of the last layer",
    READOUT: "the read-out's rows of all layers",
    EVERYBODY: "all rows of all layers",
    WITHIN: "all rows of all layers, within each text,",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeFinding:
    """The draws at each scope, with the maps recomputed under them, and whether each kept the answer."""

    draws: Mapping[str, Sequence[RowResult]] = field(repr=False)
    same: Mapping[str, Bools] = field(repr=False)


def scope_row(scope: str, layers: int, seed: int) -> Row:
    """One draw at a scope of a model with so many layers."""
    queries = QueryScope.ALL if scope in {EVERYBODY, WITHIN} else QueryScope.READOUT
    chosen = (layers - 1,) if scope == LAST_READOUT else None
    keys = KeyScope.SEGMENT if scope == WITHIN else KeyScope.ALL
    return Row(edit=AttentionEdit.PERMUTED, seed=seed, layers=chosen, queries=queries, keys=keys)


def scopes_of(subject: Subject) -> tuple[str, ...]:
    """The scopes that are asked of an input."""
    return (*SCOPES, WITHIN) if any(unit.segment for unit in subject.encoding.units) else SCOPES


def rewiring_scopes(subject: Subject, layers: int, policy: ThoroughPolicy) -> Asking[ScopeFinding]:
    """Ask for all draws."""
    count, scopes = policy.scope_draws, scopes_of(subject)
    rows = [
        scope_row(scope, layers, derived_seed(subject.seed, f"scope/{scope}", index))
        for scope in scopes
        for index in range(count)
    ]
    results = yield rows
    draws = {scope: results[i * count : (i + 1) * count] for i, scope in enumerate(scopes)}
    return ScopeFinding(draws=draws, same={scope: subject.same(found) for scope, found in draws.items()})


def judge_scopes(subject: Subject, unit_map: UnitMap, found: ScopeFinding) -> tuple[CheckResult, ...]:
    """One result for each scope: an exact lower bound of how probably very different attention changes nothing."""
    if unit_map.kind not in REWIRED_MAPS:
        detail = "Asked only of maps that are made of attention weights alone and recomputed under each draw."
        return (_result(subject, CheckOutcome.SKIPPED, "same_answer_lower_bound", None, detail, 0),)
    return tuple(_judge(subject, unit_map, scope, found.draws[scope], found.same[scope]) for scope in found.draws)


def _judge(subject: Subject, unit_map: UnitMap, scope: str, draws: Sequence[RowResult], same: Bools) -> CheckResult:
    policy, statistic = subject.policy, f"same_answer_lower_bound_{scope}"
    redrawn = np.array([draw.maps[unit_map.kind] for draw in draws]).reshape(len(draws), subject.n)
    counting = jensen_shannon(redrawn, unit_map.scores) >= policy.rewiring_jsd
    trials, kept = int(counting.sum()), int((counting & same).sum())
    if trials < policy.rewiring_minimum:
        detail = f"Only {trials} of {len(draws)} draws moved the map far enough to count."
        return _result(subject, CheckOutcome.SKIPPED, statistic, None, detail, len(draws))
    bound = lower_limit(kept, trials, confidence=policy.rewiring_confidence)
    detail = f"With {_WORDS[scope]} rewired, {kept} of {trials} very different maps gave the same answer."
    return _result(subject, CheckOutcome.MEASURED, statistic, bound, detail, len(draws))


def _result(
    subject: Subject, outcome: CheckOutcome, statistic: str, value: float | None, detail: str, rows: int
) -> CheckResult:
    return CheckResult(
        kind=CheckKind.REWIRING_SCOPES,
        outcome=outcome,
        statistic=statistic,
        value=value,
        rows=rows,
        seed=subject.seed,
        detail=detail,
    )
