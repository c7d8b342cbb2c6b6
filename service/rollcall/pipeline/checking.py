"""The checks of one explanation, in rounds: looks until every map is decided, then witnesses for the maps that matter.

The rows of all checks that run in a round go out as one batch. A crash of a check stays within that check.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from rollcall.admission.budget import Budget, Cut
from rollcall.attribution.effect import effect_map
from rollcall.checks.alignment import Look, plan_looks
from rollcall.checks.base import Asking, Subject, WitnessFinding, WitnessSubject
from rollcall.checks.contradiction import contradiction
from rollcall.checks.decision_flip import FlipFinding, decision_flip
from rollcall.checks.instrument import instrument, replay
from rollcall.checks.omission import omission
from rollcall.checks.reach import ReachFinding, reach
from rollcall.checks.rewiring import rewiring_rows
from rollcall.checks.support import support
from rollcall.domain.explanation import DecisionFlip, Effect
from rollcall.domain.maps import REWIRED_MAPS, Floats, MapKind, MissingMap, UnitMap
from rollcall.domain.rows import Row
from rollcall.domain.verdicts import CheckKind, CheckOutcome, CheckResult, Flag, Reason, Scope, Witness
from rollcall.pipeline.lockstep import OutOfBudgetError, RunRows, plain, run_together
from rollcall.pipeline.stopwatch import Stopwatch
from rollcall.verdict.assess import Assessment, Estimates, Measurements, after_witnesses, assess, estimate_all
from rollcall.verdict.calibration import Calibration
from rollcall.verdict.decide import Ruling

WITNESS_CHECKS = {CheckKind.OMISSION: omission, CheckKind.SUPPORT: support, CheckKind.CONTRADICTION: contradiction}
COUNTEREXAMPLES = (CheckKind.OMISSION, CheckKind.CONTRADICTION)
"""Witness checks whose witness takes FAITHFUL back."""
UNMEASURED = (Reason.INSTRUMENT, Reason.NUMERICS, Reason.NO_EFFECT, Reason.BUDGET)
"""Reasons after which witnesses and the decision flip would mean nothing, or cannot be paid for."""
_SHARED_ROWS = 5
"""Rows of instrument and reach, in the first round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedMap:
    """One map with everything that was found about it."""

    assessment: Assessment
    ruling: Ruling
    checks: tuple[CheckResult, ...]
    witnesses: tuple[Witness, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The outcome of all checks after `looks` looks; `cut` says why they ended early, `trace` what each one gave."""

    maps: tuple[CheckedMap, ...]
    recommended: MapKind | None
    effects: tuple[Effect, ...]
    flip: DecisionFlip | None
    looks: int
    cut: Cut | None
    trace: tuple[Mapping[MapKind, Assessment], ...]
    missing: tuple[MissingMap, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What the looks gave: final assessments in the order of the maps, all that was measured, and what is missing."""

    assessments: tuple[Assessment, ...]
    measured: Measurements
    estimates: Estimates
    looks: int
    trace: tuple[Mapping[MapKind, Assessment], ...]
    missing: tuple[MissingMap, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checker:
    """Runs the checks on one subject. `run` runs rows as one batch; `wants_effect` asks for the map EFFECT, too.

    `prior` [n], where the calibration says so, helps to judge the maps that it may.
    """

    subject: Subject
    maps: tuple[UnitMap, ...]
    primary: MapKind
    attention_is_uniform: bool
    calibration: Calibration | None
    budget: Budget
    run: RunRows
    stopwatch: Stopwatch = field(repr=False)
    wants_effect: bool = False
    every_map: bool = False
    """Whether witnesses are sought for all maps, not only for those that matter."""
    prior: Floats | None = field(default=None, repr=False)

    async def check(self) -> Checked:
        """Looks, then witnesses."""
        with self.stopwatch.stage("look"):
            looked = await self._looks()
        with self.stopwatch.stage("witness"):
            return await self._witnesses(looked, self._effects(looked))

    async def _looks(self) -> Looked:
        """Look until every map is decided, the looks are over, or the budget is. What was decided stays decided."""
        policy = self.subject.policy
        planned = plan_looks(
            self.subject.n,
            self.subject.seed,
            policy,
            prior=self.prior is not None,
            operators=self.subject.operators,
        )
        rounds: list[Look | None] = [*planned] or [None]
        measured = Measurements(
            subject=self.subject,
            calibration=self.calibration,
            removed=np.zeros((0, self.subject.n), dtype=np.bool_),
            margins=np.zeros(0),
            finite=self.subject.base.finite,
            prior=self.prior,
        )
        estimates = estimate_all(measured)
        maps, fitted = list(self.maps), 0
        missing: tuple[MissingMap, ...] = ()
        assessments: dict[MapKind, Assessment] = {}
        looks, awaits_effect = 0, self.wants_effect
        trace: list[Mapping[MapKind, Assessment]] = []
        for number, look in enumerate(rounds):
            still_open = [m for m in maps if m.kind not in assessments or assessments[m.kind].ruling is None]
            # A short text has one look, and so all its draws in it: fewer could not certify that attention is not used.
            due = sum(policy.rewiring_draws) if len(rounds) == 1 else sum(policy.rewiring_draws[number : number + 1])
            asks_rewiring = any(m.kind in REWIRED_MAPS for m in still_open)
            draws = rewiring_rows(self.subject, len(measured.draws), due) if asks_rewiring else []
            needed = (_SHARED_ROWS if number == 0 else 0) + (len(look.removed) if look else 0) + len(draws)
            if self.budget.affords(needed):
                measured = await self._round(number, look, draws, measured)
                measured = replace(measured, last=measured.crash is not None or number == len(rounds) - 1)
                estimates = estimate_all(measured)
                looks += look is not None
            else:
                measured = replace(measured, cut=True)
            assessments |= {a.map.kind: a for a in self._assess(still_open, measured, estimates, fitted)}
            if awaits_effect and self._makes_effect(measured, assessments):
                awaits_effect, fitted = False, len(measured.margins)
                made = self._effect_map(measured, estimates, judged=len(rounds) > 1)
                if isinstance(made, MissingMap):
                    missing = (made,)
                else:
                    maps.append(made)
                    assessments |= {a.map.kind: a for a in self._assess([made], measured, estimates, fitted)}
            trace.append(dict(assessments))
            if not awaits_effect and all(assessment.ruling for assessment in assessments.values()):
                break
        return Looked(
            assessments=tuple(assessments[m.kind] for m in maps),
            measured=measured,
            estimates=estimates,
            looks=looks,
            trace=tuple(trace),
            missing=missing,
        )

    def _makes_effect(self, measured: Measurements, assessments: Mapping[MapKind, Assessment]) -> bool:
        """Whether EFFECT is made now: of the removals of a first look without a prior, also where there is one.

        So it is the map that its calibration knows. Where nothing more can be measured, of what there is.
        """
        ended = measured.last or measured.cut or all(_ruled_by(each, UNMEASURED) for each in assessments.values())
        return ended or len(measured.margins) >= self.subject.policy.looks[0]

    def _effect_map(self, measured: Measurements, estimates: Estimates, *, judged: bool) -> UnitMap | MissingMap:
        """EFFECT from the removals so far, without a prior; `judged` says whether others may follow."""
        if measured.cut or measured.crash is not None or not measured.finite or isinstance(measured.reach, Exception):
            why, late = "they failed", False
            if measured.cut:
                late = self.budget.late
                why = "there was no time for them" if late else "max_rows does not allow them"
            return MissingMap(kind=MapKind.EFFECT, reason=f"it is made of the first look's rows, and {why}.", late=late)
        assert isinstance(measured.reach, ReachFinding)
        total = self.subject.margin - measured.reach.mean
        removals = len(measured.margins)
        plain = estimates if self.prior is None else estimate_all(replace(measured, prior=None))
        return effect_map(plain.overall, total, self.subject.n, removals=removals, judged=judged)

    async def _round(self, number: int, look: Look | None, draws: list[Row], measured: Measurements) -> Measurements:
        """Run one round's rows as one batch and add what they measured, or the crash of the batch."""
        askings: dict[str, Asking[Any]] = {}
        if number == 0:
            editable = self.subject.scope is Scope.ALL_LAYERS
            askings["instrument"] = (
                instrument(self.subject, attention_is_uniform=self.attention_is_uniform)
                if editable
                else replay(self.subject)
            )
            askings["reach"] = reach(self.subject)
        if look is not None:
            askings["removals"] = plain(look.rows())
        askings["draws"] = plain(draws)
        found, finite = await run_together(self.run, askings)
        measured = replace(measured, finite=measured.finite and finite)
        if number == 0:
            measured = replace(measured, instrument=found["instrument"], reach=found["reach"])
        removals, drawn = found.get("removals", []), found["draws"]
        crash = next((f for f in (removals, drawn) if isinstance(f, Exception)), None)
        if crash is not None:
            return replace(measured, crash=crash)
        return replace(
            measured,
            removed=measured.removed if look is None else np.concatenate([measured.removed, look.removed]),
            operators=measured.operators + (look.operators if look else ()),
            margins=np.concatenate([measured.margins, self.subject.margins(removals)]),
            draws=(*measured.draws, *drawn),
            same=np.concatenate([measured.same, self.subject.same(drawn)]),
        )

    def _assess(
        self, maps: list[UnitMap], measured: Measurements, estimates: Estimates, fitted: int
    ) -> tuple[Assessment, ...]:
        """Assess maps on all removals, but EFFECT on those that it was not `fitted` to; with the prior if it may."""
        plain = measured if self.prior is None else replace(measured, prior=None)
        effect = [each for each in maps if each.kind is MapKind.EFFECT]
        helped = [each for each in maps if self._uses_prior(each.kind)]
        others = [each for each in maps if each not in effect and each not in helped]
        groups = ((helped, measured), (others, plain), (effect, replace(plain, fitted=fitted)))
        return tuple(
            assessment
            for some, known in groups
            if some
            for assessment in assess(some, known, estimates if known is measured else estimate_all(known))
        )

    def _uses_prior(self, kind: MapKind) -> bool:
        if self.prior is None or self.calibration is None:
            return False
        return self.calibration.uses_prior(self.subject.n, kind)

    def _effects(self, looked: Looked) -> tuple[Effect, ...]:
        """Effects that people read: shifted so that they sum to what removing everything does."""
        measured, estimates = looked.measured, looked.estimates
        if not measured.finite or not isinstance(measured.reach, ReachFinding):
            return ()
        total = self.subject.margin - measured.reach.mean
        if estimates.overall is None:
            if self.subject.n > 1:
                return ()
            return (Effect(unit=0, effect=total, standard_error=float(np.std(measured.reach.margins))),)
        effects, errors = estimates.overall.shifted(total).tolist(), estimates.overall.standard_errors.tolist()
        values = enumerate(zip(effects, errors, strict=True))
        return tuple(Effect(unit=i, effect=effect, standard_error=error) for i, (effect, error) in values)

    async def _witnesses(self, looked: Looked, effects: tuple[Effect, ...]) -> Checked:
        """Witnesses for the primary and the recommended map, and the decision flip, together."""
        assessments = looked.assessments
        rulings = {assessment.map.kind: _ruled(assessment) for assessment in assessments}
        # Where maps have a promise, only such a one is recommended: others were decided with no calibrated width.
        promised = [a for a in assessments if a.evidence.calibrated] or assessments
        faithful = [a for a in promised if rulings[a.map.kind].flag is Flag.FAITHFUL]
        recommended = max(faithful, key=self._preference).map.kind if faithful else None
        shifted = np.array([effect.effect for effect in effects])
        measurable = [
            a
            for a in assessments
            if (self.every_map or a.map.kind in {self.primary, recommended})
            and rulings[a.map.kind].reason not in UNMEASURED
        ]
        askings: dict[Any, Asking[Any]] = {}
        if measurable and len(shifted) > 1:
            for a in measurable:
                case = WitnessSubject(subject=self.subject, map=a.map, effects=shifted)
                askings |= {(a.map.kind, kind): make(case) for kind, make in WITNESS_CHECKS.items()}
            askings[CheckKind.DECISION_FLIP] = decision_flip(self.subject, shifted)
        found, _ = await run_together(self.run, askings, affords=self.budget.affords, finite_only=True)
        flip = found.get(CheckKind.DECISION_FLIP)
        maps = tuple(self._checked(a, rulings[a.map.kind], found, flip) for a in assessments)
        cleared = next((m.ruling.flag for m in maps if m.assessment.map.kind is recommended), None) is not Flag.FAITHFUL
        return Checked(
            maps=maps,
            recommended=None if cleared else recommended,
            effects=effects,
            flip=flip.flip if isinstance(flip, FlipFinding) else None,
            looks=looked.looks,
            cut=self.budget.cut if any(m.ruling.reason is Reason.BUDGET for m in maps) else None,
            trace=looked.trace,
            missing=looked.missing,
        )

    def _preference(self, assessment: Assessment) -> tuple[float, bool]:
        """The strongest evidence first; the primary map among equals, so that rounding does not choose."""
        return round(assessment.strength, 6), assessment.map.kind is self.primary

    def _checked(self, assessment: Assessment, ruling: Ruling, found: dict[Any, Any], flip: object) -> CheckedMap:
        """Join one map's witnesses to its assessment; a counterexample takes FAITHFUL back."""
        findings = {kind: found.get((assessment.map.kind, kind)) for kind in WITNESS_CHECKS}
        witnesses = {kind: f.witness for kind, f in findings.items() if isinstance(f, WitnessFinding) and f.witness}
        ruling = after_witnesses(
            ruling,
            counterexample=any(kind in witnesses for kind in COUNTEREXAMPLES),
            crashed=any(_crashed(findings[kind]) for kind in COUNTEREXAMPLES),
            late=self.budget.late and any(isinstance(findings[kind], OutOfBudgetError) for kind in COUNTEREXAMPLES),
        )
        results = [f.result if isinstance(f, WitnessFinding) else _absent(kind, f) for kind, f in findings.items()]
        results.append(flip.result if isinstance(flip, FlipFinding) else _absent(CheckKind.DECISION_FLIP, flip))
        ordered = [witnesses[kind] for kind in (*COUNTEREXAMPLES, CheckKind.SUPPORT) if kind in witnesses]
        return CheckedMap(
            assessment=assessment,
            ruling=ruling,
            checks=(*assessment.checks, *results),
            witnesses=(*ordered, *([assessment.twin] if assessment.twin else [])),
        )


def _ruled_by(assessment: Assessment, reasons: tuple[Reason, ...]) -> bool:
    return assessment.ruling is not None and assessment.ruling.reason in reasons


def _ruled(assessment: Assessment) -> Ruling:
    """The last look always rules; a map without a ruling is a bug, and must not pass for anything."""
    if assessment.ruling is None:
        message = "a map left the looks without a ruling"
        raise RuntimeError(message)
    return assessment.ruling


def _crashed(found: object) -> bool:
    return isinstance(found, Exception) and not isinstance(found, OutOfBudgetError)


def _absent(kind: CheckKind, found: object) -> CheckResult:
    crashed = _crashed(found)
    if crashed:
        detail = "The check crashed or met values that are not numbers; it is no evidence."
    elif isinstance(found, OutOfBudgetError):
        detail = "The budget was spent."
    else:
        detail = "Only run where it can matter: for the primary and the recommended map of a measurable decision."
    return CheckResult(
        kind=kind,
        outcome=CheckOutcome.ERRORED if crashed else CheckOutcome.SKIPPED,
        statistic="none",
        detail=detail,
    )
