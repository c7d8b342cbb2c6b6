"""One request, one direction: resolve, admit, work out (`working_out`), record, reply."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from rollcall.admission.backlog import Backlog
from rollcall.admission.budget import Cut
from rollcall.admission.gate import Gate
from rollcall.admission.plan import ServerDefaults, WorkPlan, plan_work
from rollcall.admission.quota import Quotas
from rollcall.audit.record import Decided, Explained, Told
from rollcall.domain.compute import Compute, Job
from rollcall.domain.errors import BackendError, DeadlineTooShort
from rollcall.domain.explanation import ExplainRequest, Explanation, Predicted, PredictRequest
from rollcall.domain.identity import ANYONE
from rollcall.domain.model import ModelCard
from rollcall.domain.policy import Policy, ThoroughPolicy
from rollcall.domain.recording import AuditChoice, Receipt
from rollcall.pipeline.catalog import Catalog, Entry
from rollcall.pipeline.coalesce import InFlight
from rollcall.pipeline.leases import Leases
from rollcall.pipeline.progress import Board, Reporter, Tell
from rollcall.pipeline.question import check_question, make_decision, make_prediction, reported_mismatch
from rollcall.pipeline.selection import check_layers_and_heads
from rollcall.pipeline.stopwatch import Stopwatch
from rollcall.pipeline.watching import Watch
from rollcall.pipeline.working_out import Work, WorkedOut
from rollcall.telemetry.traces import OFF, Spans


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
                word=encoding.word,
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
        # 2 admit: until the answer is recorded, so that no more wait for the log than there are permits
        with self._admit(request, entry, explain=True):
            question = (entry.card.ref, plan, request.caller.tenant, replace(request, **NOT_ASKED))
            with self.progress.listening(question, tell):
                found, shared = await self.in_flight.share(
                    question,
                    request.deadline,
                    lambda: self._work(
                        request, entry, plan, stopwatch, partial(self.progress.tell, question)
                    ).work_out(),
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

    def _work(self, request: ExplainRequest, entry: Entry, plan: WorkPlan, stopwatch: Stopwatch, tell: Tell) -> Work:
        return Work(
            compute=self.compute,
            backlog=self.backlog,
            quotas=self.quotas,
            thorough=self.thorough,
            most_rows=self.defaults.most_rows,
            clock=self.clock,
            request=request,
            entry=entry,
            plan=plan,
            job=self._job(request),
            stopwatch=stopwatch,
            reporter=Reporter(tell=tell, planned=plan.max_rows),
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
