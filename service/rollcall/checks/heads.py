"""Which heads change the decision when they are silenced, one at a time?

A silenced head passes nothing on (Michel et al. 2019). Heads stand in for each other, so that none changing the
decision does not mean that none matters.
"""

from __future__ import annotations

import numpy as np

from rollcall.checks.base import Asking, Subject, WitnessFinding
from rollcall.domain.policy import ThoroughPolicy
from rollcall.domain.rows import AttentionEdit, Row
from rollcall.domain.verdicts import CheckKind, CheckOutcome, CheckResult, Witness

NAMED = 5
"""Heads that the sentence names; the witness has them all."""


def heads(subject: Subject, layers: int, count: int, policy: ThoroughPolicy) -> Asking[WitnessFinding]:
    """Ask for each of `count` heads of each of so many layers silenced by itself."""
    if layers * count > policy.head_rows:
        detail = f"The model has {layers * count} heads, more than the {policy.head_rows} rows for them."
        return WitnessFinding(result=_result(subject, CheckOutcome.SKIPPED, None, detail, 0))
    places = [(layer, head) for layer in range(layers) for head in range(count)]
    results = yield [Row(edit=AttentionEdit.SILENCED, layers=(layer,), heads=(head,)) for layer, head in places]
    changes = subject.margins(results) - subject.margin
    flips = np.flatnonzero(subject.flips(results)).tolist()
    largest = int(np.abs(changes).argmax())
    found = tuple(places[i] for i in sorted(flips, key=lambda i: -abs(changes[i])))
    if found:
        named = ", ".join(_name(place) for place in found[:NAMED]) + (", ..." if len(found) > NAMED else "")
        detail = f"{len(found)} of {len(places)} heads change the decision, each by itself: {named}."
    else:
        detail = (
            f"No single head of {len(places)} changes the decision; {_name(places[largest])} moves it most, "
            f"by {changes[largest]:+.2f} log-odds."
        )
    return WitnessFinding(
        result=_result(subject, CheckOutcome.MEASURED, float(len(found)), detail, len(places)),
        witness=Witness(
            kind=CheckKind.HEADS,
            detail="Silencing any one of these heads changes the decision.",
            tvd=max(subject.tvd(results[i]) for i in flips),
            heads=found,
        )
        if found
        else None,
    )


def _name(place: tuple[int, int]) -> str:
    return f"layer {place[0]} head {place[1]}"


def _result(subject: Subject, outcome: CheckOutcome, value: float | None, detail: str, rows: int) -> CheckResult:
    return CheckResult(
        kind=CheckKind.HEADS,
        outcome=outcome,
        statistic="heads_that_flip",
        value=value,
        rows=rows,
        seed=subject.seed,
        detail=detail,
    )
