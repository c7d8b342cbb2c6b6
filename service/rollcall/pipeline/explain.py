"""One request, one direction: resolve, encode, admit, run, attribute, check, decide, reply."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from rollcall.admission.budget import Budget, Cut, Pace
from rollcall.admission.gate import Gate
from rollcall.admission.plan import ServerDefaults, WorkPlan, plan_work
from rollcall.checks.base import Subject
from rollcall.domain.compute import Captured, Compute, Priority
from rollcall.domain.decision import Decision, Prediction
from rollcall.domain.errors import BackendError, DeadlineTooShort
from rollcall.domain.explanation import ExplainRequest, Explanation, Predicted, PredictRequest
from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import MapOptions
from rollcall.domain.model import ModelCard
from rollcall.domain.policy import Policy
from rollcall.domain.rows import Row, RowResult
from rollcall.domain.seeds import digest_seed
from rollcall.domain.verdicts import CheckLevel
from rollcall.pipeline.attributions import attribute
from rollcall.pipeline.catalog import Catalog, Entry
from rollcall.pipeline.checking import Checked, Checker
from rollcall.pipeline.question import check_question, make_decision, make_prediction, reported_mismatch
from rollcall.pipeline.selection import check_attention_size, check_layers_and_heads
from rollcall.pipeline.stopwatch import Stopwatch


class Telemetry(Protocol):
    """What the pipeline tells about finished requests."""

    def predicted(self, predicted: Predicted) -> None:
        """A prediction was answered."""
        ...

    def explained(self, explanation: Explanation, looks: int, cut: Cut | None) -> None:
        """An explanation was answered after `looks`; `cut` says why they ended early, if they did."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The untouched input: its row, the question asked of it, and the answer."""

    row: RowResult
    decision: Decision
    prediction: Prediction


@dataclass(slots=True, kw_only=True)
class Pipeline:
    """Answers predictions and explanations. `defaults` is replaced when the settings are read again."""

    catalog: Catalog
    compute: Compute
    gate: Gate
    policies: Mapping[str, Policy]
    defaults: ServerDefaults
    telemetry: Telemetry
    clock: Callable[[], float] = time.monotonic
    paces: dict[str, Pace] = field(default_factory=dict)

    async def predict(self, request: PredictRequest) -> Predicted:
        """Predict. Raises CallerError, CapacityError, ServiceError."""
        stopwatch = Stopwatch()
        entry = self.catalog.resolve(request.model, request.revision)
        with self._admit(request, explain=False):
            encoding, base = await self._base(request, entry, Row(), Priority.PREDICT, stopwatch)
        if not base.row.finite:
            message = "the model answered with values that are not numbers"
            raise BackendError(message)
        predicted = Predicted(
            request_id=request.request_id,
            model=entry.card.ref,
            prediction=base.prediction,
            tokens_total=encoding.tokens_total,
            tokens_used=encoding.length,
            timing=stopwatch.timing(),
        )
        self.telemetry.predicted(predicted)
        return predicted

    async def explain(self, request: ExplainRequest) -> Explanation:
        """Explain.

        Raises CallerError, CapacityError, ServiceError; what cannot be decided is an answer, not an error.
        """
        stopwatch = Stopwatch()
        # 1 resolve: which model, and can it be asked this?
        entry = self.catalog.resolve(request.model, request.revision)
        plan = self._plan(request, entry)
        # 2 admit
        with self._admit(request, explain=True):
            # 3 encode, and run the untouched input
            encoding, base = await self._base(request, entry, Row(readout=True), Priority.BASE, stopwatch)
            check_attention_size(request.attention, entry.card, encoding.length)
            # 4 capture its attention and turn it into maps
            with stopwatch.stage("attribute"):
                captured = await self._capture(request, plan, entry, encoding, base.decision)
            # 5 check the maps against counterfactuals until they are decided
            seed = default_seed(encoding, plan.policy) if request.seed is None else request.seed
            subject = Subject(encoding=encoding, decision=base.decision, base=base.row, seed=seed, policy=plan.policy)
            budget = self._budget(request, plan, entry, encoding)
            checked = None
            if plan.level is not CheckLevel.NONE:
                checked = await self._check(request, plan, entry, subject, captured, budget, stopwatch)
        # 6 decide: no map leaves without its verdict
        with stopwatch.stage("decide"):
            attributions = attribute(captured.maps, checked, subject, entry.calibration)
        explanation = Explanation(
            explanation_id=uuid.uuid4().hex,
            request_id=request.request_id,
            model=entry.card.ref,
            prediction=base.prediction,
            units=encoding.units,
            units_grouped=encoding.grouped,
            attributions=attributions,
            effects=checked.effects if checked else (),
            decision_flip=checked.flip if checked else None,
            primary_map=plan.primary,
            recommended_map=checked.recommended if checked else None,
            tokens_total=encoding.tokens_total,
            tokens_used=encoding.length,
            reported_mismatch=reported_mismatch(request, entry.card, base.prediction),
            attention=captured.attention,
            timing=stopwatch.timing(),
            rows=budget.rows,
            seed=seed,
        )
        self.telemetry.explained(
            explanation, looks=checked.looks if checked else 0, cut=checked.cut if checked else None
        )
        return explanation

    def add_model(self, entry: Entry) -> None:
        """Serve a model that has been loaded."""
        self.catalog = self.catalog.with_model(entry)

    def models(self) -> tuple[ModelCard, ...]:
        """Every model, by name."""
        return tuple(self.catalog.entries[name].card for name in sorted(self.catalog.entries))

    def model(self, name: str) -> ModelCard:
        """One model; raises ModelNotFound, ModelNotReady, InvalidInput."""
        return self.catalog.resolve(name).card

    @property
    def default_model(self) -> str | None:
        """The model that takes requests without a name."""
        return self.catalog.default

    def _plan(self, request: ExplainRequest, entry: Entry) -> WorkPlan:
        check_question(request, entry.card)
        primary = entry.calibration.primary_map if entry.calibration else None
        plan = plan_work(request, entry.card, primary, self.policies, self.defaults)
        check_layers_and_heads(request, entry.card)
        return plan

    @contextmanager
    def _admit(self, request: PredictRequest, *, explain: bool) -> Iterator[None]:
        if request.deadline is not None and self.clock() >= request.deadline:
            message = "the deadline had passed when the request arrived"
            raise DeadlineTooShort(message)
        with self.gate.permit(explain=explain):
            yield

    async def _base(
        self, request: PredictRequest, entry: Entry, row: Row, priority: Priority, stopwatch: Stopwatch
    ) -> tuple[Encoding, Base]:
        """Encode and run the untouched input; this is all of a prediction."""
        name = entry.card.ref.name
        check_question(request, entry.card)
        with stopwatch.stage("encode"):
            encoding = await self.compute.encode(name, request.input)
        with stopwatch.stage("predict"):
            (result,) = await self.compute.run(name, encoding, [row], MapOptions(), priority)
        decision = make_decision(request, entry.card, result.logits)
        prediction = make_prediction(request, entry.card, result.logits, decision)
        return encoding, Base(row=result, decision=decision, prediction=prediction)

    async def _capture(
        self, request: ExplainRequest, plan: WorkPlan, entry: Entry, encoding: Encoding, decision: Decision
    ) -> Captured:
        return await self.compute.capture(
            entry.card.ref.name,
            encoding,
            maps=frozenset(plan.maps),
            options=request.map_options,
            decision=decision,
            attention=request.attention,
        )

    def _budget(self, request: ExplainRequest, plan: WorkPlan, entry: Entry, encoding: Encoding) -> Budget:
        return Budget(
            max_rows=plan.max_rows,
            deadline=request.deadline,
            clock=self.clock,
            pace=self.paces.setdefault(entry.card.ref.name, Pace()),
            length=encoding.length,
            rows=1,
        )

    async def _check(
        self,
        request: ExplainRequest,
        plan: WorkPlan,
        entry: Entry,
        subject: Subject,
        captured: Captured,
        budget: Budget,
        stopwatch: Stopwatch,
    ) -> Checked:
        async def run(rows: list[Row]) -> list[RowResult]:
            started = self.clock()
            name = entry.card.ref.name
            results = await self.compute.run(name, subject.encoding, rows, request.map_options, Priority.CHECK)
            budget.spend(len(rows), self.clock() - started)
            return results

        checker = Checker(
            subject=subject,
            maps=captured.maps,
            primary=plan.primary,
            attention_is_uniform=captured.attention_is_uniform,
            calibration=entry.calibration,
            budget=budget,
            run=run,
            stopwatch=stopwatch,
        )
        return await checker.check()


def default_seed(encoding: Encoding, policy: Policy) -> int:
    """Seed from token ids and policy: same input and policy draw the same sets on every backend."""
    return digest_seed(np.asarray(encoding.input_ids, dtype="<i8").tobytes(), policy.digest.encode())
