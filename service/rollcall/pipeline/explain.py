"""One request, one direction: resolve, encode, admit, run, attribute, check, decide, record, reply."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from rollcall.admission.backlog import Backlog
from rollcall.admission.budget import Budget, Cut, in_time
from rollcall.admission.gate import Gate
from rollcall.admission.plan import ServerDefaults, WorkPlan, plan_work
from rollcall.admission.quota import Quotas
from rollcall.audit.record import Decided, Explained, Told
from rollcall.checks.base import Subject
from rollcall.domain.compute import Captured, Compute, Job, Search
from rollcall.domain.errors import BackendError, DeadlineTooShort, InvalidInput
from rollcall.domain.explanation import ExplainRequest, Explanation, Predicted, PredictRequest
from rollcall.domain.identity import ANYONE
from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import MEASURED_MAPS, Floats, MapKind, MapOptions, MissingMap, UnitMap
from rollcall.domain.model import ModelCard
from rollcall.domain.policy import Policy, ThoroughPolicy
from rollcall.domain.recording import AuditChoice, Receipt
from rollcall.domain.rows import Row, RowResult
from rollcall.domain.seeds import digest_seed
from rollcall.domain.verdicts import CheckLevel, Reason
from rollcall.pipeline.attributions import attribute
from rollcall.pipeline.catalog import Catalog, Entry
from rollcall.pipeline.checking import Checked, Checker
from rollcall.pipeline.coalesce import InFlight
from rollcall.pipeline.leases import Leases
from rollcall.pipeline.lockstep import OutOfBudgetError, RunRows
from rollcall.pipeline.measured_maps import measure_maps, rows_of_maps
from rollcall.pipeline.progress import Board, Reporter, Tell
from rollcall.pipeline.question import check_question, make_decision, make_prediction, reported_mismatch
from rollcall.pipeline.selection import check_attention_size, check_layers_and_heads
from rollcall.pipeline.stopwatch import Stopwatch
from rollcall.pipeline.thorough import RunSearch, ThoroughChecker, planned_rows
from rollcall.pipeline.watching import Answered, Watch
from rollcall.telemetry.traces import OFF, Spans
from rollcall.verdict.calibration import Calibration


class Telemetry(Protocol):
    """What the pipeline tells about finished requests."""

    def predicted(self, predicted: Predicted) -> None:
        """A prediction was answered."""
        ...

    def explained(self, explanation: Explanation, looks: int, cut: Cut | None, *, shared: bool) -> None:
        """An explanation was answered after `looks`; `cut` says why they ended early, if they did.

        A `shared` answer was worked out for another request.
        """
        ...


class Records(Protocol):
    """Where answers are recorded."""

    def check(self, choice: AuditChoice) -> None:
        """Refuse, with InvalidInput, a request that wants no record where each has one."""
        ...

    async def record(self, told: Told) -> Receipt:
        """Record an answer; raises RecordingFailed where it cannot be, and must be."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkedOut:
    """An explanation, and what it took: looks, and why they ended early, if they did.

    `answered`: what `watch` is told of it, None where nothing was checked.
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


@dataclass(slots=True, kw_only=True)
class Pipeline:
    """Answers predictions and explanations. `defaults` is replaced when the settings are read again."""

    catalog: Catalog
    compute: Compute
    gate: Gate
    backlog: Backlog
    policies: Mapping[str, Policy]
    thorough: ThoroughPolicy
    defaults: ServerDefaults
    telemetry: Telemetry
    watch: Watch | None = None
    """Hears of each answer that was worked out; nothing of it comes back."""
    quotas: Quotas = field(default_factory=Quotas)
    records: Records | None = None
    """Takes each answer before it leaves; None where none is recorded."""
    spans: Spans = OFF
    clock: Callable[[], float] = time.monotonic
    leases: Leases = field(default_factory=Leases)
    in_flight: InFlight[WorkedOut] = field(default_factory=InFlight)
    progress: Board = field(default_factory=Board)

    async def predict(self, request: PredictRequest) -> Predicted:
        """Predict; with `decision_ref` the decision is recorded. Raises CallerError, CapacityError, ServiceError."""
        stopwatch = Stopwatch(self.spans)
        entry = self.catalog.resolve(request.model, request.revision)
        key = entry.card.ref.key
        check_question(request, entry.card)
        with self._admit(request, entry, explain=False):
            with stopwatch.stage("encode"):
                encoding = await self.compute.encode(key, request.input)
            with stopwatch.stage("predict"):
                result = await self.compute.predict(self._job(request), key, encoding)
        if not result.finite:
            message = "the model answered with values that are not numbers"
            raise BackendError(message)
        decision = make_decision(request, entry.card, result.logits)
        prediction = make_prediction(request, entry.card, result.logits, decision)
        predicted = Predicted(
            request_id=request.request_id,
            model=entry.card.ref,
            prediction=prediction,
            tokens_total=encoding.tokens_total,
            tokens_used=encoding.length,
            timing=stopwatch.timing(),
            reported_mismatch=reported_mismatch(request, entry.card, prediction),
        )
        if self.records is not None and request.decision_ref:
            told = Decided(request=request, card=entry.card, encoding=encoding, predicted=predicted)
            with self.spans.stage("record"):
                predicted = replace(predicted, receipt=await self.records.record(told))
        self.telemetry.predicted(predicted)
        return predicted

    async def explain(self, request: ExplainRequest, tell: Tell | None = None, *, recorded: bool = True) -> Explanation:
        """Explain; the same question that is being answered already is not answered twice. `tell` hears how far it is.

        What is not `recorded` is a replay of what was: it leaves no record, and nothing is learnt from it.

        Raises CallerError, CapacityError, ServiceError; what cannot be decided is an answer, not an error.
        """
        stopwatch = Stopwatch(self.spans)
        # 1 resolve: which model, and can it be asked this?
        entry = self.catalog.resolve(request.model, request.revision)
        plan = self._plan(request, entry)
        records, watch = (self.records, self.watch) if recorded else (None, None)
        if records is not None:
            records.check(request.audit)
        # 2 admit
        with self._admit(request, entry, explain=True):
            question = (entry.card.ref, plan, request.caller.tenant, replace(request, **NOT_ASKED))
            reporter = Reporter(tell=partial(self.progress.tell, question), planned=plan.max_rows)
            with self.progress.listening(question, tell):
                found, shared = await self.in_flight.share(
                    question,
                    request.deadline,
                    lambda: self._explain(request, entry, plan, stopwatch, reporter),
                    too_early=lambda worked_out: worked_out.late,
                )
        explanation = replace(
            found.explanation,
            explanation_id=uuid.uuid4().hex,
            request_id=request.request_id,
            reported_mismatch=reported_mismatch(request, entry.card, found.explanation.prediction),
            timing=replace(found.explanation.timing, total_seconds=stopwatch.timing().total_seconds),
            retrospective_of=request.retrospective_of,
        )
        # 8 record: what must be on the disk before the answer leaves
        if records is not None:
            told = Explained(
                request=request,
                card=entry.card,
                encoding=found.encoding,
                level=plan.level,
                explanation=explanation,
                shared=shared,
            )
            with self.spans.stage("record"):
                explanation = replace(explanation, receipt=await records.record(told))
        self.telemetry.explained(explanation, looks=found.looks, cut=found.cut, shared=shared)
        if watch is not None and found.answered is not None and not shared:
            watch.answered(found.answered, explanation)
        return explanation

    async def _explain(
        self, request: ExplainRequest, entry: Entry, plan: WorkPlan, stopwatch: Stopwatch, reporter: Reporter
    ) -> WorkedOut:
        key = entry.card.ref.key
        with stopwatch.stage("encode"):
            encoding = await self.compute.encode(key, request.input)
        check_attention_size(request, entry.card, encoding.length)
        job = self._job(request)
        usual = _usual(entry.card.ref.name, plan)
        job.rows_left = self.backlog.rows_left(usual, 0, plan.max_rows)
        # 3 wait: is there time for it?
        patient = plan.level is CheckLevel.THOROUGH
        with self.backlog.admit(job, key, encoding.length, patient=patient):
            start = self.clock()
            calibration, checks = entry.calibration, plan.level is not CheckLevel.NONE
            wants_prior = checks and calibration is not None and calibration.wants_prior(len(encoding.units))
            expected = self._expected(request, entry, encoding, job, start, captures=1 + wants_prior)
            # 4 run the untouched input once: its prediction, and its attention turned into maps
            reporter.planned = self._planned(plan, entry, len(encoding.units))
            reporter.enter("capture")
            with stopwatch.stage("capture"):
                captured = await self.compute.capture(
                    job,
                    key,
                    encoding,
                    maps=frozenset(plan.maps).difference(MEASURED_MAPS) | _references(plan, entry.card),
                    options=request.map_options,
                    decide=partial(make_decision, request, entry.card),
                    attention=request.attention,
                    half_way=wants_prior,
                )
            if wants_prior and not _is_prior(captured.half_way_gradient):
                calibration = None  # its widths hold with a prior only
                captured = replace(captured, half_way_gradient=None)
            # 5 check the maps against counterfactuals until they are decided
            seed = default_seed(encoding, plan.policy) if request.seed is None else request.seed
            subject = Subject(
                encoding=encoding,
                decision=captured.decision,
                base=captured.row,
                seed=seed,
                policy=plan.policy,
                scope=entry.card.scope,
                noise=entry.card.noise,
            )
            budget = self._budget(request, plan, entry, encoding, job)
            run = self._runner(request, entry, encoding, budget, job, usual, reporter)
            measured = await measure_maps(plan.maps, subject, budget, run, stopwatch)
            references = {each.kind: each for each in captured.maps}
            captured = replace(
                captured,
                maps=(*(each for each in captured.maps if each.kind in plan.maps), *measured.maps),
                missing=(*captured.missing, *measured.missing),
            )
            _check_primary(plan, captured.missing)
            checked = None
            if plan.level is not CheckLevel.NONE:
                reporter.enter("look")
                checked = await self._check(calibration, plan, subject, captured, budget, run, stopwatch)
            # 6 look more closely, where that was asked for: numbers and witnesses beside flags that stand
            if plan.level is CheckLevel.THOROUGH and checked is not None:
                reporter.enter("thorough")
                run = self._patiently(run, plan, job)
                search = self._searcher(request, entry, plan, encoding, budget, job, reporter)
                with stopwatch.stage("thorough"):
                    checked = await self._look_closely(entry, plan, subject, checked, references, budget, run, search)
        # 7 decide: no map leaves without its verdict
        with stopwatch.stage("decide"):
            attributions = attribute(captured.maps, checked, subject, calibration)
        if checked is not None and not patient:
            self.backlog.took(expected, self.clock() - start)
        if checked is not None and checked.cut is None:
            self.backlog.finished(usual, budget.rows - measured.rows)
        prediction = make_prediction(request, entry.card, captured.row.logits, captured.decision)
        explanation = Explanation(
            explanation_id="",
            request_id="",
            model=entry.card.ref,
            prediction=prediction,
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
            timing=stopwatch.timing(),
            rows=budget.rows,
            seed=seed,
            missing_maps=(*plan.lacking, *captured.missing, *(checked.missing if checked else ())),
            thorough=self.thorough if plan.level is CheckLevel.THOROUGH else None,
            image_size=encoding.image_size,
            experimental=entry.card.experimental,
        )
        return WorkedOut(
            explanation=explanation,
            encoding=encoding,
            looks=checked.looks if checked else 0,
            cut=checked.cut if checked else None,
            answered=_answered(request, entry, plan, subject, checked),
            hurried=plan.level is CheckLevel.THOROUGH and budget.late,
        )

    def add_model(self, entry: Entry) -> None:
        """Serve a model that has been loaded."""
        self.catalog = self.catalog.with_model(entry)

    def remove_model(self, name: str) -> None:
        """Take no further request for a model; those in progress go on."""
        self.catalog = self.catalog.without_model(name)

    def serves(self, key: str) -> bool:
        """Whether new requests go to these weights (`ModelRef.key`)."""
        return any(entry.card.ref.key == key for entry in self.catalog.entries.values())

    def models(self) -> tuple[ModelCard, ...]:
        """Every model, by name."""
        return tuple(self.catalog.entries[name].card for name in sorted(self.catalog.entries))

    def model(self, name: str) -> ModelCard:
        """One model; raises ModelNotFound, ModelNotReady, InvalidInput."""
        return self.catalog.resolve(name).card

    @property
    def default_model(self) -> str | None:
        """The model that takes requests without a name."""
        return self.catalog.usual

    def _planned(self, plan: WorkPlan, entry: Entry, n: int) -> int:
        """About as many rows as it will take, if nothing is decided early."""
        usual = 0 if plan.level is CheckLevel.NONE else plan.policy.max_rows
        if plan.level is CheckLevel.THOROUGH:
            usual += planned_rows(n, plan.maps, entry.card, self.thorough)
        return min(usual + rows_of_maps(plan.maps, n), plan.max_rows)

    def _plan(self, request: ExplainRequest, entry: Entry) -> WorkPlan:
        check_question(request, entry.card)
        primary = entry.calibration.primary_map if entry.calibration else None
        plan = plan_work(request, entry.card, primary, self.policies, self.defaults)
        check_layers_and_heads(request, entry.card)
        return plan

    @contextmanager
    def _admit(self, request: PredictRequest, entry: Entry, *, explain: bool) -> Iterator[None]:
        if request.deadline is not None and self.clock() >= request.deadline:
            message = "the deadline had passed when the request arrived"
            raise DeadlineTooShort(message)
        tenant = request.caller.tenant
        with (
            self.gate.permit(explain=explain),
            self.quotas.request(tenant, self.clock()),
            self.leases.holding(entry.card.ref.key),
        ):
            self.quotas.spend(tenant, 1, self.clock())  # the untouched input
            yield

    def _job(self, request: PredictRequest) -> Job:
        return Job(arrived=self.clock(), caller=request.caller.tenant, deadline=request.deadline)

    def _expected(
        self, request: ExplainRequest, entry: Entry, encoding: Encoding, job: Job, now: float, *, captures: int
    ) -> float:
        """Seconds that an admitted explanation will probably take. The gradient of a prior counts as a capture.

        Raises DeadlineTooShort if not even the maps can be ready in time, and Overloaded if all could be but for the
        work of others that is ahead: what cannot be finished is not begun, or it would have others cut, too.
        """
        least = captures * self.compute.capture_seconds(entry.card.ref.key, encoding.length)
        if not in_time(least, request.deadline, now):
            message = "the deadline cannot be met, not even without checks"
            raise DeadlineTooShort(message)
        ahead, own = self.backlog.ahead_of(job), self.backlog.own(job)
        if ahead > own and not in_time(CROWD_SAFETY * (ahead + own), request.deadline, now):
            raise self.backlog.overloaded(ahead)
        return ahead + own

    def _budget(self, request: ExplainRequest, plan: WorkPlan, entry: Entry, encoding: Encoding, job: Job) -> Budget:
        def estimate(rows: int) -> float:
            own = self.compute.expected_seconds(entry.card.ref.key, rows, encoding.length)
            return self.backlog.ahead_of(job) + self.backlog.drag * own

        most = plan.max_rows
        if request.max_rows is None:
            most = max(most, min(most + rows_of_maps(plan.maps, len(encoding.units)), self.defaults.most_rows))
        return Budget(
            max_rows=most,
            deadline=request.deadline,
            clock=self.clock,
            estimate=estimate,
            spent=lambda rows: self.quotas.spend(request.caller.tenant, rows, self.clock()),
            rows=1,
        )

    def _runner(
        self,
        request: ExplainRequest,
        entry: Entry,
        encoding: Encoding,
        budget: Budget,
        job: Job,
        usual: str,
        reporter: Reporter,
    ) -> RunRows:
        async def run(rows: list[Row]) -> list[RowResult]:
            results = await self.compute.run(job, entry.card.ref.key, encoding, rows, request.map_options)
            budget.spend(len(rows))
            job.rows_left = self.backlog.rows_left(usual, budget.rows, budget.max_rows)
            reporter.ran(budget.rows)
            return results

        return run

    def _stand_back(self, plan: WorkPlan, job: Job) -> None:
        """Let ordinary explanations go first: neither a long job's age nor its end being near puts it before them."""
        job.arrived = self.clock()
        job.rows_left = max(job.rows_left, plan.policy.max_rows)

    def _patiently(self, run: RunRows, plan: WorkPlan, job: Job) -> RunRows:
        """Rows that only wait from when they are asked for, and let ordinary explanations go first."""

        async def patiently(rows: list[Row]) -> list[RowResult]:
            self._stand_back(plan, job)
            return await run(rows)

        return patiently

    def _searcher(
        self,
        request: ExplainRequest,
        entry: Entry,
        plan: WorkPlan,
        encoding: Encoding,
        budget: Budget,
        job: Job,
        reporter: Reporter,
    ) -> RunSearch:
        """A search that raises OutOfBudgetError where it takes longer than was expected when it began."""
        pace = 0.0  # seconds of a row, as the steps so far went

        async def search(wanted: Search) -> list[Floats]:
            started, before = self.clock(), budget.rows

            def check(rows: int) -> None:
                if not budget.affords(rows, seconds=pace * rows):
                    raise OutOfBudgetError

            def stepped(rows: int) -> None:
                nonlocal pace
                self._stand_back(plan, job)
                budget.spend(rows)
                reporter.ran(budget.rows)
                done = budget.rows - before
                pace = (self.clock() - started) / done
                if done < wanted.rows:
                    check(rows)

            check(wanted.rows)
            self._stand_back(plan, job)
            key = entry.card.ref.key
            return await self.compute.search(job, key, encoding, wanted, request.map_options, stepped)

        return search

    async def _check(
        self,
        calibration: Calibration | None,
        plan: WorkPlan,
        subject: Subject,
        captured: Captured,
        budget: Budget,
        run: RunRows,
        stopwatch: Stopwatch,
    ) -> Checked:
        checker = Checker(
            subject=subject,
            maps=captured.maps,
            primary=plan.primary,
            attention_is_uniform=captured.attention_is_uniform,
            calibration=calibration,
            budget=budget,
            run=run,
            stopwatch=stopwatch,
            wants_effect=MapKind.EFFECT in plan.maps,
            every_map=plan.level is CheckLevel.THOROUGH,
            prior=captured.half_way_gradient,
        )
        checked = await checker.check()
        _check_primary(plan, checked.missing)
        return checked

    async def _look_closely(
        self,
        entry: Entry,
        plan: WorkPlan,
        subject: Subject,
        checked: Checked,
        references: Mapping[MapKind, UnitMap],
        budget: Budget,
        run: RunRows,
        search: RunSearch,
    ) -> Checked:
        """Add thorough results and witnesses to maps whose flags stand; the maps that matter come first."""
        matter = {plan.primary, checked.recommended}
        ordered = sorted(checked.maps, key=lambda each: each.assessment.map.kind not in matter)
        checker = ThoroughChecker(
            subject=subject,
            maps=tuple(each.assessment.map for each in ordered),
            first=sum(each.assessment.map.kind in matter for each in ordered),
            attention=references[MapKind.RAW_ATTENTION].scores if MapKind.RAW_ATTENTION in references else None,
            gradient=references[MapKind.INPUT_X_GRADIENT].signed if MapKind.INPUT_X_GRADIENT in references else None,
            layers=entry.card.layers,
            heads=entry.card.heads,
            policy=self.thorough,
            run=run,
            budget=budget,
            search=search,
        )
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


NOT_ASKED: dict[str, Any] = {
    "request_id": "",
    "caller": ANYONE,
    "deadline": None,
    "decision_ref": "",
    "subject_ref": "",
    "reported_label": None,
    "reported_score": None,
    "audit": AuditChoice.DEFAULT,
    "retrospective_of": "",
}
"""Fields of a request that do not change what has to be worked out. Tenants share no work: its time would tell."""
UNRELIABLE = (Reason.INSTRUMENT, Reason.NUMERICS)
"""Reasons for which no further number would mean anything."""
CROWD_SAFETY = 1.25
"""What has to wait for others is more uncertain than what does not."""


def _usual(name: str, plan: WorkPlan) -> str:
    """What the usual number of rows is remembered by: a thorough explanation is none of the usual ones."""
    return f"{name}/{plan.level.value}" if plan.level is CheckLevel.THOROUGH else name


def _references(plan: WorkPlan, card: ModelCard) -> frozenset[MapKind]:
    """Maps that thorough checks hold the others against, where this model has them."""
    thorough = plan.level is CheckLevel.THOROUGH
    return frozenset({MapKind.INPUT_X_GRADIENT}).intersection(card.maps) if thorough else frozenset()


def _answered(
    request: ExplainRequest, entry: Entry, plan: WorkPlan, subject: Subject, checked: Checked | None
) -> Answered | None:
    """What is told of a checked answer; nothing where the maps are not the usual ones."""
    if checked is None or request.map_options != MapOptions():
        return None
    first = checked.trace[0]
    return Answered(
        card=entry.card,
        encoding=subject.encoding,
        decision=subject.decision,
        policy=plan.policy,
        first_look={kind: found.alignment.p_up for kind, found in first.items() if found.alignment},
        calibrated_map=entry.calibration.primary_map if entry.calibration else None,
    )


def _check_primary(plan: WorkPlan, missing: tuple[MissingMap, ...]) -> None:
    """Without the map whose flag is the answer's there is no answer; raises DeadlineTooShort, InvalidInput."""
    lost = next((each for each in missing if each.kind is plan.primary), None)
    if lost is not None and lost.late:
        message = f"the primary map {plan.primary.name} was not ready in time"
        raise DeadlineTooShort(message)
    if lost is not None:
        raise InvalidInput.of("primary_map", f"{plan.primary.name} could not be made: {lost.reason}")


def _is_prior(gradient: Floats | None) -> bool:
    """A gradient that overflowed, as half precision may, says nothing about the effects."""
    return gradient is not None and bool(np.isfinite(gradient).all())


def default_seed(encoding: Encoding, policy: Policy) -> int:
    """Seed from token ids and policy: same input and policy draw the same sets on every backend."""
    return digest_seed(encoding.content, policy.digest.encode())
