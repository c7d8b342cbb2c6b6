"""Sides that do the same work: their scores compared first, then their times, measured in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from statistics import median
from typing import Any

import numpy as np

from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import Floats
from tests.bench.spread import Spread

TRIALS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One text, as the model reads it."""

    text: str = field(repr=False)
    encoding: Encoding = field(repr=False)

    @property
    def ids(self) -> list[int]:
        """Token ids, special tokens included."""
        return [int(i) for i in self.encoding.input_ids]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one side gave for one case: scores (none where only the cost counts), forwarded rows, and seconds."""

    scores: Floats | None = field(repr=False)
    rows: int
    cpu: float
    wall: float

    @classmethod
    def of(cls, answer: dict[str, Any]) -> Answer:
        """Read a peer's answer."""
        scores = answer.get("scores")
        return cls(
            scores=None if scores is None else np.asarray(scores, dtype=np.float64),
            rows=int(answer["rows"]),
            cpu=float(answer["cpu"]),
            wall=float(answer["wall"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One way of doing the work."""

    name: str
    run: Callable[[Case], Answer] = field(repr=False)


class Per(Enum):
    """What ratios of time are taken over: the whole work, or one forwarded row where their numbers differ."""

    WORK = "work"
    ROW = "row"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One piece of work, ours, a peer's with default settings, and settings among which the fastest is its tuned one.

    `rows` says what a row is. `note` says what is identical, what is not, and what to think of the numbers.
    """

    name: str
    peer: str
    tokens: int
    ours: Side
    default: Side
    candidates: tuple[Side, ...]
    tolerance: float | None
    """Largest difference of scores from ours; None where only the cost is compared."""
    note: str
    row: str = "row"
    per: Per = Per.WORK
    disagreement: Callable[[Case], float] | None = None
    """Largest difference of scores for one case, where sides run different rows and comparing takes more."""
    repeats_at_most: int | None = None
    trials: int = TRIALS
    """How often each setting is tried before the fastest is taken as the tuned one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One side's times over all cases and repeats, and its time over ours, pair by pair."""

    side: str
    rows: float
    cpu_ms: Spread
    wall_ms: Spread
    cpu_ratio: Spread
    wall_ratio: Spread

    @classmethod
    def of(cls, numbers: Mapping[str, Any] | None) -> Timed | None:
        """Read one back from a file of results."""
        if numbers is None:
            return None
        spreads = {name: Spread(**value) for name, value in numbers.items() if isinstance(value, dict)}
        return cls(**{**numbers, **spreads})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came out for one piece of work; no times where scores disagree."""

    work: str
    peer: str
    tokens: int
    row: str
    per: str
    note: str
    difference: float | None
    tolerance: float | None
    settings_tried: dict[str, float]
    """Milliseconds of processor time of each setting tried."""
    comparison: str
    """Which comparison it belongs to: the name by which a peer is asked for."""
    times: int = 0
    """How often each side was measured."""
    ours: Timed | None = None
    default: Timed | None = None
    tuned: Timed | None = None

    @classmethod
    def of(cls, numbers: Mapping[str, Any]) -> Finding:
        """Read one back from a file of results."""
        sides = {name: Timed.of(numbers[name]) for name in ("ours", "default", "tuned")}
        return cls(**{name: {**numbers, **sides}[name] for name in cls.__slots__})

    @property
    def agrees(self) -> bool:
        """Whether the scores do, or none were to be compared."""
        return self.tolerance is None or (self.difference is not None and self.difference <= self.tolerance)


def stopped(action: Callable[[], tuple[Floats | None, int]]) -> Answer:
    """Run our side in this process: `action` returns scores and rows."""
    wall, cpu = time.perf_counter(), time.process_time()
    scores, rows = action()
    return Answer(scores=scores, rows=rows, cpu=time.process_time() - cpu, wall=time.perf_counter() - wall)


def measure(
    work: Work,
    cases: Sequence[Case],
    *,
    comparison: str,
    repeats: int,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> Finding:
    """Compare scores on every case; where they agree, tune the peer, and time all sides in turn.

    No further repeat is begun when the timing has taken so many `seconds`; the first one always is.
    """
    difference = None if work.tolerance is None else _difference(work, cases)
    tried = {} if not _within(difference, work.tolerance) else _tried(work, cases[0])
    finding = Finding(
        work=work.name,
        peer=work.peer,
        tokens=work.tokens,
        row=work.row,
        per=work.per.value,
        note=work.note,
        difference=difference,
        tolerance=work.tolerance,
        settings_tried=tried,
        comparison=comparison,
    )
    if not finding.agrees:
        return finding
    tuned = min(work.candidates, key=lambda side: tried[side.name])
    sides = [work.ours, work.default, tuned]
    answers: list[list[Answer]] = [[] for _ in sides]
    started = clock()
    for repeat in range(min(repeats, work.repeats_at_most or repeats)):
        if repeat and clock() - started > seconds:
            break
        for case in cases:
            for turn in range(len(sides)):  # each goes first in its turn
                number = (turn + repeat) % len(sides)
                answers[number].append(sides[number].run(case))
    ours = answers[0]
    timed = [_timed(side.name, given, ours, work.per) for side, given in zip(sides, answers, strict=True)]
    return replace(finding, times=len(ours), ours=timed[0], default=timed[1], tuned=timed[2])


def _within(difference: float | None, tolerance: float | None) -> bool:
    return tolerance is None or (difference is not None and difference <= tolerance)


def _difference(work: Work, cases: Sequence[Case]) -> float:
    """Largest difference of any side's scores from ours; infinite where there are none."""
    if work.disagreement is not None:
        return max(map(work.disagreement, cases))
    largest = 0.0
    for case in cases:
        ours = work.ours.run(case).scores
        for side in (work.default, *work.candidates):
            theirs = side.run(case).scores
            largest = max(largest, float("inf") if ours is None or theirs is None else gap(ours, theirs))
    return largest


def gap(ours: Floats, theirs: Floats) -> float:
    """Largest difference; infinite where shapes differ or something is not a number."""
    if ours.shape != theirs.shape:
        return float("inf")
    largest = float(np.abs(ours - theirs).max(initial=0.0))
    return largest if np.isfinite(largest) else float("inf")


def _tried(work: Work, case: Case) -> dict[str, float]:
    spent: dict[str, list[float]] = {side.name: [] for side in work.candidates}
    for _ in range(work.trials):
        for side in work.candidates:
            spent[side.name].append(side.run(case).cpu * 1000)
    return {name: median(values) for name, values in spent.items()}


def _timed(side: str, answers: Sequence[Answer], ours: Sequence[Answer], per: Per) -> Timed:
    def ratio(answer: Answer, own: Answer, seconds: str) -> float:
        share = own.rows / answer.rows if per is Per.ROW else 1.0
        return float(getattr(answer, seconds) / getattr(own, seconds) * share)

    pairs = list(zip(answers, ours, strict=True))
    return Timed(
        side=side,
        rows=median(answer.rows for answer in answers),
        cpu_ms=Spread.of([answer.cpu * 1000 for answer in answers]),
        wall_ms=Spread.of([answer.wall * 1000 for answer in answers]),
        cpu_ratio=Spread.of([ratio(answer, own, "cpu") for answer, own in pairs]),
        wall_ratio=Spread.of([ratio(answer, own, "wall") for answer, own in pairs]),
    )
