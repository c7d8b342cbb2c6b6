"""From what the looks measured to the evidence for each map, and its ruling."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from rollcall.checks.alignment import (
    EffectEstimate,
    alignment_value,
    estimate_effects,
    relabelling_p_values,
)
from rollcall.checks.base import OPERATORS, Subject
from rollcall.checks.instrument import InstrumentFinding
from rollcall.checks.reach import ReachFinding, judge_reach
from rollcall.checks.rewiring import RewiringFinding, judge_rewiring
from rollcall.domain.distances import jsd_from_uniform
from rollcall.domain.maps import Bools, Floats, UnitMap
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
    Witness,
)
from rollcall.verdict.calibration import Calibration, width_after
from rollcall.verdict.decide import MapEvidence, Ruling, decide, right, wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """All rows so far. A finding is None where its check has not run, and an exception where it crashed.

    `removed` [R, n] and `margins` [R] are the removals of all looks; `draws` the permuted rows. `width_index` is the
    policy's for the last look; `last` means that no look is left, `cut` that the budget ended them, `crash` that the
    device failed under a look.
    """

    subject: Subject
    calibration: Calibration | None
    instrument: InstrumentFinding | Exception | None = None
    reach: ReachFinding | Exception | None = None
    removed: Bools = field(repr=False)
    operators: tuple[RemovalOperator, ...] = ()
    margins: Floats = field(repr=False)
    draws: tuple[RowResult, ...] = ()
    crash: Exception | None = None
    finite: bool = True
    width_index: int = 0
    last: bool = False
    cut: bool = False


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
    width_index: int
    ruling: Ruling | None
    alignment: Alignment | None
    checks: tuple[CheckResult, ...]
    twin: Witness | None
    jsd_from_uniform: float

    @property
    def strength(self) -> float:
        """A - w: how far the map is above the threshold; minus infinity without an A."""
        return self.alignment.value - self.alignment.width if self.alignment else -np.inf


def estimate_all(measured: Measurements) -> Estimates:
    """Estimate the effects from everything measured so far."""
    codes = np.array([OPERATORS.index(operator) for operator in measured.operators])
    by_operator = []
    for index, operator in enumerate(OPERATORS):
        rows = np.flatnonzero(codes == index)
        estimate = (
            estimate_effects(measured.removed[rows], (operator,) * len(rows), measured.margins[rows])
            if len(rows)
            else None
        )
        by_operator.append((operator, estimate, len(rows)))
    overall = estimate_effects(measured.removed, measured.operators, measured.margins) if measured.finite else None
    return Estimates(overall=overall, by_operator=tuple(by_operator))


def assess(unit_map: UnitMap, measured: Measurements, estimates: Estimates) -> Assessment:
    """Draw the evidence for one map and apply the rules."""
    policy, n = measured.subject.policy, measured.subject.n
    finite = measured.finite and bool(np.isfinite(unit_map.scores).all())
    width = width_after(measured.width_index, n, policy, measured.calibration)
    alignment = _align(unit_map, estimates, width, len(measured.margins), policy) if finite else None
    instrument = _instrument(measured)
    reach = _reach(measured)
    rewiring = _rewiring(unit_map, measured)
    distance = jsd_from_uniform(unit_map.scores) if finite else float("nan")
    evidence = MapEvidence(
        finite=finite,
        instrument=instrument[0].outcome,
        reach=reach.outcome,
        flat=n > 1 and distance < policy.flat_map_jsd,
        alignment=alignment.value if alignment else None,
        width=width,
        reliability=alignment.reliability if alignment else 0.0,
        calibrated=measured.calibration is not None and measured.calibration.covers(n),
        omits_top_effect=finite and _omits(unit_map, estimates.overall, policy),
        rewiring=rewiring.result.outcome,
        operators_disagree=alignment is not None and _disagree(alignment),
        last=measured.last,
        cut=measured.cut,
    )
    return Assessment(
        map=unit_map,
        evidence=evidence,
        width_index=measured.width_index,
        ruling=decide(evidence, policy),
        alignment=alignment,
        checks=(*instrument, reach, _alignment_result(alignment, evidence, measured), rewiring.result),
        twin=rewiring.witness,
        jsd_from_uniform=distance,
    )


def after_witnesses(ruling: Ruling, *, counterexample: bool, crashed: bool) -> Ruling:
    """A counterexample can only take FAITHFUL back; so does a crash of a check that could have found one."""
    if ruling.flag is not Flag.FAITHFUL or not (counterexample or crashed):
        return ruling
    return Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.CONFLICT if counterexample else Reason.INSTRUMENT)


def _align(unit_map: UnitMap, estimates: Estimates, width: float, removals: int, policy: Policy) -> Alignment | None:
    overall = estimates.overall
    value = None if overall is None else alignment_value(unit_map.scores, overall.effects)
    if overall is None or value is None:
        return None
    p_up, p_low = relabelling_p_values(unit_map.scores, overall.effects, policy.permutations)
    fitted = (
        (operator, None if estimate is None else alignment_value(unit_map.scores, estimate.effects), rows)
        for operator, estimate, rows in estimates.by_operator
    )
    return Alignment(
        value=value,
        width=width,
        reliability=overall.reliability,
        removals=removals,
        p_up=p_up,
        p_low=p_low,
        per_operator=tuple(
            OperatorAlignment(operator=operator, value=operator_value, rows=rows)
            for operator, operator_value, rows in fitted
            if operator_value is not None
        ),
        ridge_lambda=overall.ridge_lambda,
    )


def _omits(unit_map: UnitMap, estimate: EffectEstimate | None, policy: Policy) -> bool:
    """Whether the unit with the largest effect is negligible to the map."""
    if estimate is None:
        return False
    top = int(np.argmax(estimate.effects))
    return bool(unit_map.scores[top] < policy.negligible_share / len(unit_map.scores))


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
        return judge_rewiring(measured.subject, unit_map, list(measured.draws))
    except Exception as error:  # noqa: BLE001 - the boundary of a check: a crash is its result
        return RewiringFinding(certified=False, result=_missing(CheckKind.REWIRING, error), witness=None)


def _alignment_result(alignment: Alignment | None, evidence: MapEvidence, measured: Measurements) -> CheckResult:
    if alignment is None:
        result = _missing(CheckKind.ALIGNMENT, None)
        return result if not len(measured.margins) else _no_alignment(measured)
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
