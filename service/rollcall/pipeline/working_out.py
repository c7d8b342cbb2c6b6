"""One explanation, worked out: encode, wait, capture, check, look more closely, decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from rollcall.admission.backlog import Backlog
from rollcall.admission.budget import Budget, Cut, in_time
from rollcall.admission.plan import WorkPlan
from rollcall.admission.quota import Quotas
from rollcall.checks.base import Subject
from rollcall.domain.compute import Captured, Compute, Job
from rollcall.domain.errors import DeadlineTooShort, InvalidInput
from rollcall.domain.explanation import ExplainRequest, Explanation
from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import MEASURED_MAPS, Floats, MapKind, MapOptions, MissingMap, UnitMap
from rollcall.domain.policy import Policy, ThoroughPolicy
from rollcall.domain.seeds import digest_seed
from rollcall.domain.verdicts import CheckLevel, Reason
from rollcall.pipeline.attributions import attribute
from rollcall.pipeline.catalog import Entry
from rollcall.pipeline.checking import Checked, Checker
from rollcall.pipeline.measured_maps import measure_maps, rows_of_maps
from rollcall.pipeline.progress import Reporter
from rollcall.pipeline.question import make_decision, make_prediction
from rollcall.pipeline.running import Runner
from rollcall.pipeline.selection import check_attention_size
from rollcall.pipeline.stopwatch import Stopwatch
from rollcall.pipeline.thorough import ThoroughChecker, planned_rows
from rollcall.pipeline.watching import Answered
from rollcall.verdict.calibration import Calibration

CROWD_SAFETY = 1.25
"""What has to wait for others is more uncertain than what does not."""
UNRELIABLE = (Reason.INSTRUMENT, Reason.NUMERICS)
"""Reasons for which no further number would mean anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkedOut:
    """An explanation, and what it took: looks, and why they ended early, if they did.

    `answered`: what a watch is told of it, None where nothing was checked.
    """

    explanation: Explanation
    encoding: Encoding
    looks: int
    cut: Cut | None
    answered: Answered | None
    hurried: bool = False
    """Whether time ended thorough checks."""

    @property
    def late(self) -> bool:
        """Whether more time would have given more."""
        return (
            self.cut is Cut.DEADLINE or self.hurried or any(missing.late for missing in self.explanation.missing_maps)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one question needs to be answered: `work_out` does it once."""

    compute: Compute
    backlog: Backlog
    quotas: Quotas
    thorough: ThoroughPolicy
    most_rows: int
    """That maps which are measured may have without being asked about it."""
    clock: Callable[[], float]
    request: ExplainRequest
    entry: Entry
    plan: WorkPlan
    job: Job
    stopwatch: Stopwatch
    reporter: Reporter

    async def work_out(self) -> WorkedOut:
        """Answer; raises CallerError, CapacityError, ServiceError."""
        request, entry, plan = self.request, self.entry, self.plan
        with self.stopwatch.stage("encode"):
            encoding = await self.compute.encode(self._model, request.input)
        check_attention_size(request, entry.card, encoding.length)
        self.job.rows_left = self.backlog.rows_left(self._usual, 0, plan.max_rows)
        # 3 wait: is there time for it?
        with self.backlog.admit(self.job, self._model, encoding.length, patient=self._is_thorough):
            start = self.clock()
            calibration, checks = entry.calibration, plan.level is not CheckLevel.NONE
            half_way = checks and calibration is not None and calibration.wants_prior(len(encoding.units))
            expected = self._expected(encoding, start, captures=1 + half_way)
            # 4 run the untouched input once: its prediction, and its attention turned into maps
            captured = await self._capture(encoding, half_way=half_way)
            if half_way and captured.half_way_gradient is None:
                calibration = None  # its widths hold with a prior only
            # 5 check the maps against counterfactuals until they are decided
            subject = self._subject(encoding, captured)
            runner = self._runner(encoding)
            measured = await measure_maps(plan.maps, subject, runner.budget, runner.run, self.stopwatch)
            references = {each.kind: each for each in captured.maps}
            captured = replace(
                captured,
                maps=(*(each for each in captured.maps if each.kind in plan.maps), *measured.maps),
                missing=(*captured.missing, *measured.missing),
            )
            self._check_primary(captured.missing)
            checked = None
            if checks:
                checked = await self._check(calibration, subject, captured, runner)
            # 6 look more closely, where that was asked for: numbers and witnesses beside flags that stand
            if self._is_thorough and checked is not None:
                checked = await self._look_closely(subject, checked, references, runner)
        # 7 decide: no map leaves without its verdict
        with self.stopwatch.stage("decide"):
            attributions = attribute(captured.maps, checked, subject, calibration)
        budget = runner.budget
        if checked is not None and not self._is_thorough:
            self.backlog.took(expected, self.clock() - start)
        if checked is not None and checked.cut is None:
            self.backlog.finished(self._usual, budget.rows - measured.rows)
        explanation = Explanation(
            explanation_id="",
            request_id="",
            model=entry.card.ref,
            prediction=make_prediction(request, entry.card, captured.row.logits, captured.decision),
            units=encoding.units,
            units_grouped=encoding.grouped,
            attributions=attributions,
            effects=checked.effects if checked else (),
            decision_flip=checked.flip if checked else None,
            primary_map=plan.primary,
            recommended_map=checked.recommended if checked else None,
            tokens_total=encoding.tokens_total,
            tokens_used=encoding.length,
            reported_mismatch=False,
            attention=captured.attention,
            timing=self.stopwatch.timing(),
            rows=budget.rows,
            seed=subject.seed,
            missing_maps=(*plan.lacking, *captured.missing, *(checked.missing if checked else ())),
            thorough=self.thorough if self._is_thorough else None,
            image_size=encoding.image_size,
            experimental=entry.card.experimental,
            word=encoding.word,
        )
        return WorkedOut(
            explanation=explanation,
            encoding=encoding,
            looks=checked.looks if checked else 0,
            cut=checked.cut if checked else None,
            answered=self._answered(subject, checked),
            hurried=self._is_thorough and budget.late,
        )

    @property
    def _model(self) -> str:
        return self.entry.card.ref.key

    @property
    def _is_thorough(self) -> bool:
        return self.plan.level is CheckLevel.THOROUGH

    @property
    def _usual(self) -> str:
        """What the usual number of rows is remembered by: a thorough explanation is none of the usual ones."""
        name = self.entry.card.ref.name
        return f"{name}/{self.plan.level.value}" if self._is_thorough else name

    async def _capture(self, encoding: Encoding, *, half_way: bool) -> Captured:
        """Capture the maps asked for, and those that thorough checks hold them against where the model has them."""
        self.reporter.planned = self._planned(len(encoding.units))
        self.reporter.enter("capture")
        references = frozenset({MapKind.INPUT_X_GRADIENT}).intersection(self.entry.card.maps)
        with self.stopwatch.stage("capture"):
            captured = await self.compute.capture(
                self.job,
                self._model,
                encoding,
                maps=frozenset(self.plan.maps).difference(MEASURED_MAPS)
                | (references if self._is_thorough else frozenset()),
                options=self.request.map_options,
                decide=partial(make_decision, self.request, self.entry.card),
                attention=self.request.attention,
                half_way=half_way,
            )
        return captured if _is_prior(captured.half_way_gradient) else replace(captured, half_way_gradient=None)

    def _subject(self, encoding: Encoding, captured: Captured) -> Subject:
        policy, card = self.plan.policy, self.entry.card
        return Subject(
            encoding=encoding,
            decision=captured.decision,
            base=captured.row,
            seed=default_seed(encoding, policy) if self.request.seed is None else self.request.seed,
            policy=policy,
            scope=card.scope,
            noise=card.noise,
        )

    def _planned(self, units: int) -> int:
        """About as many rows as it will take, if nothing is decided early."""
        usual = 0 if self.plan.level is CheckLevel.NONE else self.plan.policy.max_rows
        if self._is_thorough:
            usual += planned_rows(units, self.plan.maps, self.entry.card, self.thorough)
        return min(usual + rows_of_maps(self.plan.maps, units), self.plan.max_rows)

    def _expected(self, encoding: Encoding, now: float, *, captures: int) -> float:
        """Seconds that an admitted explanation will probably take. The gradient of a prior counts as a capture.

        Raises DeadlineTooShort if not even the maps can be ready in time, and Overloaded if all could be but for the
        work of others that is ahead: what cannot be finished is not begun, or it would have others cut, too.
        """
        deadline = self.request.deadline
        least = captures * self.compute.capture_seconds(self._model, encoding.length)
        if not in_time(least, deadline, now):
            message = "the deadline cannot be met, not even without checks"
            raise DeadlineTooShort(message)
        ahead, own = self.backlog.ahead_of(self.job), self.backlog.own(self.job)
        if ahead > own and not in_time(CROWD_SAFETY * (ahead + own), deadline, now):
            raise self.backlog.overloaded(ahead)
        return ahead + own

    def _runner(self, encoding: Encoding) -> Runner:
        return Runner(
            compute=self.compute,
            backlog=self.backlog,
            clock=self.clock,
            job=self.job,
            model=self._model,
            encoding=encoding,
            options=self.request.map_options,
            budget=self._budget(encoding),
            usual=self._usual,
            usual_rows=self.plan.policy.max_rows,
            reporter=self.reporter,
        )

    def _budget(self, encoding: Encoding) -> Budget:
        def estimate(rows: int) -> float:
            own = self.compute.expected_seconds(self._model, rows, encoding.length)
            return self.backlog.ahead_of(self.job) + self.backlog.drag * own

        most = self.plan.max_rows
        if self.request.max_rows is None:
            most = max(most, min(most + rows_of_maps(self.plan.maps, len(encoding.units)), self.most_rows))
        return Budget(
            max_rows=most,
            deadline=self.request.deadline,
            clock=self.clock,
            estimate=estimate,
            spent=lambda rows: self.quotas.spend(self.request.caller.tenant, rows, self.clock()),
            rows=1,
        )

    async def _check(
        self, calibration: Calibration | None, subject: Subject, captured: Captured, runner: Runner
    ) -> Checked:
        self.reporter.enter("look")
        checker = Checker(
            subject=subject,
            maps=captured.maps,
            primary=self.plan.primary,
            attention_is_uniform=captured.attention_is_uniform,
            calibration=calibration,
            budget=runner.budget,
            run=runner.run,
            stopwatch=self.stopwatch,
            wants_effect=MapKind.EFFECT in self.plan.maps,
            every_map=self._is_thorough,
            prior=captured.half_way_gradient,
        )
        checked = await checker.check()
        self._check_primary(checked.missing)
        return checked

    async def _look_closely(
        self, subject: Subject, checked: Checked, references: Mapping[MapKind, UnitMap], runner: Runner
    ) -> Checked:
        """Add thorough results and witnesses to maps whose flags stand; the maps that matter come first."""
        self.reporter.enter("thorough")
        matter = {self.plan.primary, checked.recommended}
        ordered = sorted(checked.maps, key=lambda each: each.assessment.map.kind not in matter)
        checker = ThoroughChecker(
            subject=subject,
            maps=tuple(each.assessment.map for each in ordered),
            first=sum(each.assessment.map.kind in matter for each in ordered),
            attention=references[MapKind.RAW_ATTENTION].scores if MapKind.RAW_ATTENTION in references else None,
            gradient=references[MapKind.INPUT_X_GRADIENT].signed if MapKind.INPUT_X_GRADIENT in references else None,
            layers=self.entry.card.layers,
            heads=self.entry.card.heads,
            policy=self.thorough,
            run=runner.run_patiently,
            budget=runner.budget,
            search=runner.search,
        )
        with self.stopwatch.stage("thorough"):
            if any(each.ruling.reason in UNRELIABLE for each in checked.maps):
                found = checker.skipped("The instrument failed or values are no numbers: nothing else can be measured.")
            else:
                found = await checker.check()
        return replace(
            checked,
            maps=tuple(
                replace(
                    each,
                    checks=(*each.checks, *found.checks[each.assessment.map.kind]),
                    witnesses=(*each.witnesses, *found.witnesses[each.assessment.map.kind]),
                )
                for each in checked.maps
            ),
        )

    def _check_primary(self, missing: tuple[MissingMap, ...]) -> None:
        """Without the map whose flag is the answer's there is no answer; raises DeadlineTooShort, InvalidInput."""
        primary = self.plan.primary
        lost = next((each for each in missing if each.kind is primary), None)
        if lost is not None and lost.late:
            message = f"the primary map {primary.name} was not ready in time"
            raise DeadlineTooShort(message)
        if lost is not None:
            raise InvalidInput.of("primary_map", f"{primary.name} could not be made: {lost.reason}")

    def _answered(self, subject: Subject, checked: Checked | None) -> Answered | None:
        """What is told of a checked answer; nothing where the maps are not the usual ones."""
        if checked is None or self.request.map_options != MapOptions():
            return None
        calibration = self.entry.calibration
        return Answered(
            card=self.entry.card,
            encoding=subject.encoding,
            decision=subject.decision,
            policy=self.plan.policy,
            first_look={kind: found.alignment.p_up for kind, found in checked.trace[0].items() if found.alignment},
            calibrated_map=calibration.primary_map if calibration else None,
        )


def _is_prior(gradient: Floats | None) -> bool:
    """A gradient that overflowed, as half precision may, says nothing about the effects."""
    return gradient is not None and bool(np.isfinite(gradient).all())


def default_seed(encoding: Encoding, policy: Policy) -> int:
    """Seed from token ids and policy: same input and policy draw the same sets on every backend."""
    return digest_seed(encoding.content, policy.digest.encode())
