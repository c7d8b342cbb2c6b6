"""From recorded looks with known truth to calibrated widths: which c keeps which promise (DESIGN section 2).

Widths follow one path, c * (4, 2, 1). The scan goes from wide to narrow and stops at the first width that breaks the
promise, since with several looks the loss is not monotone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import betaincinv

from rollcall.domain.maps import MapKind
from rollcall.domain.policy import Policy
from rollcall.domain.verdicts import Flag
from rollcall.verdict.assess import Assessment
from rollcall.verdict.calibration import PATH
from rollcall.verdict.decide import Ruling, decide
from rollcall.verdict.truth import Truth

WIDEST, STEP = 0.25, 0.005
CS = tuple(round(step * STEP, 6) for step in range(round(WIDEST / STEP), -1, -1))
"""Every c that is tried, from wide to narrow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One input: every map's assessment after each look, run to the end, and the truth."""

    units: int
    trace: tuple[Mapping[MapKind, Assessment], ...]
    truths: Mapping[MapKind, Truth]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one input's answer would have been at one c."""

    rulings: Mapping[MapKind, Ruling]
    removals: int
    recommended: MapKind | None


def outcome_at(recorded: Recorded, c: float, policy: Policy) -> Outcome:
    """Replay the looks with the widths c * PATH; a flag that stands is final."""
    rulings: dict[MapKind, Ruling] = {}
    strengths: dict[MapKind, float] = {}
    removals = 0
    for assessments in recorded.trace:
        for kind, assessment in assessments.items():
            if kind in rulings:
                continue
            width = c * PATH[assessment.width_index]
            ruling = decide(replace(assessment.evidence, width=width, calibrated=True), policy)
            if ruling is not None:
                rulings[kind] = ruling
                strengths[kind] = (assessment.evidence.alignment or 0.0) - width
            if assessment.alignment is not None:
                removals = max(removals, assessment.alignment.removals)
        if len(rulings) == len(assessments):
            break
    faithful = [kind for kind, ruling in rulings.items() if ruling.flag is Flag.FAITHFUL]
    recommended = max(faithful, key=strengths.__getitem__) if faithful else None
    return Outcome(rulings=rulings, removals=removals, recommended=recommended)


def wrong_at(recorded: Recorded, c: float, policy: Policy, primary: MapKind) -> tuple[bool, bool]:
    """Whether the primary flag, and the recommended map's, would have been wrong."""
    outcome = outcome_at(recorded, c, policy)
    primary_wrong = recorded.truths[primary].contradicts(outcome.rulings[primary].flag, policy)
    chosen = outcome.recommended
    return primary_wrong, chosen is not None and recorded.truths[chosen].contradicts(Flag.FAITHFUL, policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """The narrowest c that keeps a promise, None if none does, and how many of `inputs` were wrong there."""

    c: float | None
    wrong: int
    inputs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Promises:
    """Both promises, each for the primary and the recommended map: in expectation, and with confidence."""

    expected: tuple[Promise, Promise]
    confident: tuple[Promise, Promise]

    @property
    def c(self) -> float | None:
        """The width in force: with confidence, for both maps."""
        widths = [promise.c for promise in self.confident]
        return None if None in widths else max(width for width in widths if width is not None)


def scan(records: list[Recorded], policy: Policy, primary: MapKind, *, alpha: float, confidence: float) -> Promises:
    """Scan c from wide to narrow. An input counts as wrong at c if it is wrong there or at any wider c."""
    wrong = np.array([[wrong_at(record, c, policy, primary) for c in CS] for record in records])
    ever = np.maximum.accumulate(wrong, axis=1).sum(axis=0)
    n = len(records)

    def narrowest(which: int, *, confident: bool) -> Promise:
        kept: Promise = Promise(c=None, wrong=int(ever[0, which]), inputs=n)
        for c, count in zip(CS, ever[:, which], strict=True):
            k = int(count)
            bound = float(betaincinv(k + 1, n - k, confidence)) if confident else (k + 1) / (n + 1)
            if bound > alpha:
                break
            kept = Promise(c=c, wrong=k, inputs=n)
        return kept

    both = (0, 1)
    return Promises(
        expected=(narrowest(both[0], confident=False), narrowest(both[1], confident=False)),
        confident=(narrowest(both[0], confident=True), narrowest(both[1], confident=True)),
    )
