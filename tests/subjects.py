"""Questions without a model: subjects whose rows are answered by a function of what was removed.

The classes are "no" and "yes"; an answer is given as its margin, the logits being (0, margin).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic

import numpy as np

from rollcall.checks.base import Asking, Finding, Subject, WitnessSubject
from rollcall.domain.decision import Decision, Task
from rollcall.domain.inputs import Encoding, Unit
from rollcall.domain.maps import Floats, MapKind, UnitMap
from rollcall.domain.policy import Policy
from rollcall.domain.rows import RemovalOperator, Row, RowResult
from rollcall.verdict.policies import STANDARD

YES = Decision(task=Task.SINGLE_LABEL, target=1)
SEED = 7
NAN = float("nan")


def encoding(n: int) -> Encoding:
    """A text of `n` words of one token each, between two special tokens."""
    return Encoding(
        input_ids=np.arange(n + 2),
        type_ids=np.zeros(n + 2, dtype=np.int64),
        unit_of_token=np.array([-1, *range(n), -1]),
        units=tuple(
            Unit(text=f"w{i}", token_start=i + 1, token_end=i + 2, char_start=3 * i, char_end=3 * i + 2, segment=0)
            for i in range(n)
        ),
        tokens_total=n + 2,
        grouped=False,
    )


def subject(
    n: int,
    *,
    margin: float = 2.0,
    base: RowResult | None = None,
    decision: Decision = YES,
    policy: Policy = STANDARD,
) -> Subject:
    """A question about `n` words, answered with `margin` (or `base`) as long as nothing is touched."""
    return Subject(
        encoding=encoding(n),
        decision=decision,
        base=base or answer(margin, readout=np.array([1.0, 0.0])),
        seed=SEED,
        policy=policy,
    )


def answer(margin: float, *, readout: Floats | None = None, maps: dict[MapKind, Floats] | None = None) -> RowResult:
    """A row that was answered with `margin`."""
    return RowResult(logits=np.array([0.0, margin]), readout=readout, maps=maps or {})


def three_way(lead: float) -> RowResult:
    """A row of three classes nearly as probable: the first leads the second by `lead`, the third is close behind."""
    return RowResult(logits=np.array([lead, 0.0, -0.1]))


def unit_map(scores: Sequence[float] | Floats, kind: MapKind = MapKind.RAW_ATTENTION) -> UnitMap:
    """A map with these weights."""
    return UnitMap(kind=kind, scores=np.asarray(scores, dtype=np.float64), dropped_mass=0.0)


def witness_case(
    scores: Sequence[float], effects: Sequence[float], *, margin: float = 2.0, about: Subject | None = None
) -> WitnessSubject:
    """A map with estimated effects, ready for a witness check."""
    return WitnessSubject(
        subject=about or subject(len(scores), margin=margin),
        map=unit_map(scores),
        effects=np.asarray(effects, dtype=np.float64),
    )


def removed_units(row: Row) -> frozenset[int]:
    """What a row removes."""
    return frozenset() if row.removed is None else frozenset(int(i) for i in np.flatnonzero(row.removed))


def by_removal(margin_of: Callable[[frozenset[int], RemovalOperator], float]) -> Callable[[Row], RowResult]:
    """Answer rows by what they remove, and how."""
    return lambda row: answer(margin_of(removed_units(row), row.operator))


def flips_on(*sets: Iterable[int], margin: float = 2.0) -> Callable[[Row], RowResult]:
    """Answer with the opposite of `margin` exactly where one of `sets` is removed."""
    flipping = {frozenset(units) for units in sets}
    return by_removal(lambda units, _: -margin if units in flipping else margin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Driven(Generic[Finding]):
    """What a check found, and what it asked for on the way."""

    finding: Finding
    asked: list[list[Row]] = field(default_factory=list)

    @property
    def rows(self) -> list[Row]:
        """All rows, in order."""
        return [row for rows in self.asked for row in rows]


def drive(check: Asking[Finding], respond: Callable[[Row], RowResult]) -> Driven[Finding]:
    """Drive a check to its end, answering every row."""
    asked: list[list[Row]] = []
    try:
        rows = next(check)
        while True:
            asked.append(rows)
            rows = check.send([respond(row) for row in rows])
    except StopIteration as finished:
        return Driven(finding=finished.value, asked=asked)
