"""From what the looks measured to the evidence for each map, and its ruling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rollcall.checks.alignment import (
    EffectEstimate,
    alignment_values,
    estimate_effects,
    relabelling_p_values,
    rounding_of,
)
from rollcall.checks.base import Subject
from rollcall.checks.instrument import InstrumentFinding
from rollcall.checks.reach import ReachFinding, judge_reach
from rollcall.checks.rewiring import RewiringFinding, judge_rewiring
from rollcall.domain.distances import jsd_from_uniform
from rollcall.domain.maps import Bools, Floats, Ints, UnitMap
from rollcall.domain.policy import Policy
from rollcall.domain.rows import RemovalOperator, RowResult
from rollcall.domain.verdicts import (
    Alignment,
    CheckKind,
    CheckOutcome,
    CheckResult,
    Flag,
    OperatorAlignment,
    Reason,
    SideVerdict,
    Witness,
)
from rollcall.verdict.calibration import Calibration, width_after
from rollcall.verdict.decide import MapEvidence, Ruling, decide, right, wrong
from rollcall.verdict.sides import judge_sides


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """All rows so far. A finding is None where its check has not run, and an exception where it crashed.

    `removed` [R, n] and `margins` [R] are the removals of all looks; `draws` [D] the permuted rows, and `same` [D]
    whether they kept the answer. `prior` [n] helps to estimate the effects; `last` means that no look is left,
    `cut` that the budget ended them, `crash` that the device failed under a look. The first `fitted` removals made the
    map that is to be judged, and so may not judge it.
    """

    subject: Subject
    calibration: Calibration | None
    instrument: InstrumentFinding | Exception | None = None
    reach: ReachFinding | Exception | None = None
    removed: Bools = field(repr=False)
    operators: tuple[RemovalOperator, ...] = ()
    margins: Floats = field(repr=False)
    draws: tuple[RowResult, ...] = ()
    same: Bools = field(default_factory=lambda: np.zeros(0, dtype=np.bool_), repr=False)
    crash: Exception | None = None
    finite: bool = True
    prior: Floats | None = field(default=None, repr=False)
    last: bool = False
    cut: bool = False
    fitted: int = 0

    @property
    def judging(self) -> Ints:
        """Numbers of the removals that may judge: of sets of units that none of the fitted ones removed, either."""
        if not self.fitted:
            return np.arange(len(self.removed))
        fitted = {removed.tobytes() for removed in self.removed[: self.fitted]}
        return np.array([i for i, r in enumerate(self.removed) if r.tobytes() not in fitted], dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """Effects from all rows, and from each operator's rows alone (refitted, with a penalty of its own)."""

    overall: EffectEstimate | None
    by_operator: tuple[tuple[RemovalOperator, EffectEstimate | None, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """One map after a look: the evidence, what was ruled (None: undecided), and the numbers that say why."""

    map: UnitMap
    evidence: MapEvidence
    ruling: Ruling | None
    alignment: Alignment | None
    checks: tuple[CheckResult, ...]
    twin: Witness | None
    jsd_from_uniform: float
    sides: tuple[SideVerdict, ...] = ()

    @property
    def strength(self) -> float:
        """A - w: how far the map is above the threshold; minus infinity without an A."""
        return self.alignment.value - self.alignment.width if self.alignment else -np.inf


def estimate_all(measured: Measurements) -> Estimates:
    """Estimate the effects from everything measured so far."""
    by_operator = []
    rounding = rounding_of(measured.subject.noise)
    judging = measured.judging.tolist()
    for operator in measured.subject.operators:
        rows = [i for i in judging if measured.operators[i] is operator]
        estimate = estimate_effects(
            measured.removed[rows],
            (operator,) * len(rows),
            measured.margins[rows],
            rounding=rounding,
            prior=measured.prior,
        )
        by_operator.append((operator, estimate, len(rows)))
    overall = None
    if measured.finite:
        overall = estimate_effects(
            measured.removed[judging],
            tuple(measured.operators[i] for i in judging),
            measured.margins[judging],
            rounding=rounding,
            prior=measured.prior,
        )
    return Estimates(overall=overall, by_operator=tuple(by_operator))


def assess(maps: Sequence[UnitMap], measured: Measurements, estimates: Estimates) -> tuple[Assessment, ...]:
    """Draw the evidence for each map and apply the rules."""
    policy, n = measured.subject.policy, measured.subject.n
    scores = np.stack([unit_map.scores for unit_map in maps])
    finite = np.asarray(np.isfinite(scores).all(axis=1) & measured.finite)
    distances = np.where(finite, jsd_from_uniform(scores), np.nan)
    calibration = measured.calibration
    removals = len(measured.judging)
    prior = measured.prior is not None
    waiting = len(measured.margins) > 0 and policy.width_index(removals, n, prior=prior) < 0
    widths = [width_after(removals, n, each.kind, policy, calibration, prior=prior) for each in maps]
    alignments = _align(scores, finite & (not waiting), estimates, widths, measured)
    omitting = finite & _may_omit(scores, estimates.overall, policy)
    instrument = _instrument(measured)
    reach = _reach(measured)
    assessments = []
    for i, (unit_map, alignment) in enumerate(zip(maps, alignments, strict=True)):
        rewiring = _rewiring(unit_map, measured)
        evidence = MapEvidence(
            finite=bool(finite[i]),
            instrument=instrument[0].outcome,
            reach=reach.outcome,
            flat=n > 1 and bool(distances[i] < policy.flat_map_jsd),
            alignment=alignment.value if alignment else None,
            width=widths[i],
            reliability=alignment.reliability if alignment else 0.0,
            calibrated=calibration is not None and calibration.covers(n, unit_map.kind),
            may_omit_top_effect=bool(omitting[i]),
            rewiring=rewiring.result.outcome,
            operators_disagree=alignment is not None and _disagree(alignment),
            last=measured.last,
            cut=measured.cut,
            waiting=waiting,
        )
        assessments.append(
            Assessment(
                map=unit_map,
                evidence=evidence,
                ruling=decide(evidence, policy),
                alignment=alignment,
                checks=(*instrument, reach, _alignment_result(alignment, evidence, measured), rewiring.result),
                twin=rewiring.witness,
                jsd_from_uniform=float(distances[i]),
                sides=judge_sides(measured.subject, unit_map, estimates.overall, evidence),
            )
        )
    return tuple(assessments)


def after_witnesses(ruling: Ruling, *, counterexample: bool, crashed: bool, late: bool = False) -> Ruling:
    """A counterexample can only take FAITHFUL back.

    So does a crash of a check that could have found one, and a deadline that left no time for it: or a loaded server
    would call FAITHFUL what an idle one does not.
    """
    if ruling.flag is not Flag.FAITHFUL or not (counterexample or crashed or late):
        return ruling
    if counterexample:
        return Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.CONFLICT)
    return Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.INSTRUMENT if crashed else Reason.BUDGET)


def _align(
    scores: Floats, finite: Bools, estimates: Estimates, widths: list[float], measured: Measurements
) -> list[Alignment | None]:
    """Alignments of the maps `scores` [K, n]; None where a map is not `finite` [K], or no A exists."""
    overall = estimates.overall
    alignments: list[Alignment | None] = [None] * len(scores)
    if overall is None:
        return alignments
    weights = scores[finite]
    values = alignment_values(weights, overall.effects)
    p_values = relabelling_p_values(weights, overall.effects, measured.subject.policy.permutations)
    by_operator = [
        (operator, alignment_values(weights, estimate.effects), rows)
        for operator, estimate, rows in estimates.by_operator
        if estimate is not None
    ]
    reliability = overall.reliability
    for k, i in enumerate(np.flatnonzero(finite)):
        value, (p_up, p_low) = values[k], p_values[k]
        if value is not None:
            alignments[i] = Alignment(
                value=value,
                width=widths[i],
                reliability=reliability,
                removals=len(measured.judging),
                p_up=p_up,
                p_low=p_low,
                per_operator=tuple(
                    OperatorAlignment(operator=operator, value=operator_value, rows=rows)
                    for operator, operator_values, rows in by_operator
                    if (operator_value := operator_values[k]) is not None
                ),
                ridge_lambda=overall.ridge_lambda,
                prior=measured.prior is not None,
            )
    return alignments


def _may_omit(scores: Floats, estimate: EffectEstimate | None, policy: Policy) -> Bools:
    """Whether a unit whose effect may be the largest is negligible to each map [K] of `scores` [K, n]."""
    if estimate is None:
        return np.zeros(len(scores), dtype=np.bool_)
    negligible = scores < policy.negligible_share / scores.shape[1]
    return np.asarray((negligible & estimate.may_be_largest(policy.omission_errors)).any(axis=1))


def _disagree(alignment: Alignment) -> bool:
    return len({value.value >= 0 for value in alignment.per_operator}) > 1


def _instrument(measured: Measurements) -> tuple[CheckResult, ...]:
    if isinstance(measured.instrument, InstrumentFinding) and measured.crash is None:
        return measured.instrument.results
    crash = measured.instrument if isinstance(measured.instrument, Exception) else measured.crash
    return tuple(_missing(kind, crash) for kind in (CheckKind.INSTRUMENT, CheckKind.UNIFORM_ATTENTION))


def _reach(measured: Measurements) -> CheckResult:
    if isinstance(measured.reach, ReachFinding):
        return judge_reach(measured.subject, measured.reach, measured.margins)
    return _missing(CheckKind.REACH, measured.reach)


def _rewiring(unit_map: UnitMap, measured: Measurements) -> RewiringFinding:
    try:
        return judge_rewiring(measured.subject, unit_map, measured.draws, measured.same)
    except Exception as error:  # noqa: BLE001 - the boundary of a check: a crash is its result
        return RewiringFinding(certified=False, result=_missing(CheckKind.REWIRING, error), witness=None)


def _alignment_result(alignment: Alignment | None, evidence: MapEvidence, measured: Measurements) -> CheckResult:
    if alignment is None:
        result = _missing(CheckKind.ALIGNMENT, None)
        return result if evidence.waiting or not len(measured.margins) else _no_alignment(measured)
    policy = measured.subject.policy
    outcome = CheckOutcome.INCONCLUSIVE
    if right(evidence, policy):
        outcome = CheckOutcome.SUPPORTS
    elif wrong(evidence, policy):
        outcome = CheckOutcome.CONTRADICTS
    return CheckResult(
        kind=CheckKind.ALIGNMENT,
        outcome=outcome,
        statistic="alignment",
        value=alignment.value,
        threshold=policy.alignment_threshold,
        p_value=alignment.p_up,
        rows=alignment.removals,
        seed=measured.subject.seed,
        detail=f"A {alignment.value:.2f} with width {alignment.width:.2f}, reliability {alignment.reliability:.2f}.",
    )


def _no_alignment(measured: Measurements) -> CheckResult:
    return CheckResult(
        kind=CheckKind.ALIGNMENT,
        outcome=CheckOutcome.INCONCLUSIVE,
        statistic="alignment",
        rows=len(measured.margins),
        seed=measured.subject.seed,
        detail="No alignment exists: the map or the margins are constant, or not numbers.",
    )


def _missing(kind: CheckKind, crash: Exception | None) -> CheckResult:
    return CheckResult(
        kind=kind,
        outcome=CheckOutcome.SKIPPED if crash is None else CheckOutcome.ERRORED,
        statistic="none",
        detail="Did not run." if crash is None else "The check crashed; it is no evidence.",
    )
