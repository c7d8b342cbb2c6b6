"""One model without a server: the service's own checks on one input, run to the end, and the truth about its maps.

Whatever is asked of a row twice is run once: maps that nobody serves (tampered ones) are judged on the same rows.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from rollcall.admission.budget import Budget
from rollcall.admission.plan import PRIMARY_ORDER
from rollcall.backends.base import CaptureRequest, variants
from rollcall.checks.alignment import EffectEstimate, estimate_effects, plan_looks, rounding_of
from rollcall.checks.base import Subject
from rollcall.checks.rewiring import rewiring_rows
from rollcall.domain.compute import Captured
from rollcall.domain.explanation import ExplainRequest
from rollcall.domain.inputs import Encoding, ModelInput, Target
from rollcall.domain.maps import DEFAULT_MAPS, Bools, Floats, MapKind, MapOptions, UnitMap
from rollcall.domain.model import ModelCard
from rollcall.domain.policy import Policy
from rollcall.domain.rows import RemovalOperator, Row, RowResult
from rollcall.domain.verdicts import Reason, Scope
from rollcall.engine.engine import Engine
from rollcall.engine.further import Further
from rollcall.models.loading import LoadedModel
from rollcall.pipeline.checking import Checked, Checker
from rollcall.pipeline.measured_maps import measure_maps
from rollcall.pipeline.question import make_decision
from rollcall.pipeline.stopwatch import Stopwatch
from rollcall.pipeline.working_out import default_seed
from rollcall.verdict.assess import Assessment
from rollcall.verdict.calibration import UNCALIBRATED, Calibration, Promise
from rollcall.verdict.truth import (
    TRUTH_LAMBDA,
    TRUTH_ROWS,
    Truth,
    enough,
    judge_truth,
    truth_removals,
)

NAME = "model"
BATCH_TOKENS = 512
"""Tokens of the batches that rows are run in: as fast as any on a processor."""
ENDLESS = 9.0
"""A width at which no map is ever decided, so that every look is run."""
CARRIER = MapKind.GRADIENT_ROLLOUT
"""What a map that nobody serves passes for: a kind that is not asked about rewiring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One input with its maps [n] by name, how the checks went, and the truth, if it was asked for.

    `trails`: of every map, its assessment after each look; `with_prior`: the same of those that the `prior` [n], the
    half-way gradient, may help to judge, where the backend has gradients. `served`: what the service answers, witnesses
    included, with the widths that it has; `rows` that it spent on that, and `seconds` on this machine.
    """

    subject: Subject = field(repr=False)
    prior: Floats | None = field(repr=False)
    maps: Mapping[str, Floats] = field(repr=False)
    trails: Mapping[str, tuple[Assessment, ...]] = field(repr=False)
    with_prior: Mapping[str, tuple[Assessment, ...]] = field(repr=False)
    served: Checked = field(repr=False)
    rows: int
    seconds: float
    removed: Bools = field(repr=False)
    operators: tuple[RemovalOperator, ...]
    margins: Floats = field(repr=False)
    same: Bools = field(repr=False)
    effects: EffectEstimate | None = field(repr=False)
    truths: Mapping[str, Truth]
    truth_rows: int

    @property
    def reached(self) -> bool:
        """Whether removals move the decision and there is more than one unit: else no map can be right or wrong."""
        return self.subject.n > 1 and not any(m.ruling.reason is Reason.NO_EFFECT for m in self.served.maps)


Extra: TypeAlias = Callable[[Subject, tuple[UnitMap, ...], "EffectEstimate | None"], Mapping[str, Floats]]
"""Maps [n] by name that nobody serves, given the input, the maps that are, and the true effects."""


Tamper: TypeAlias = Callable[[RowResult, Row, RowResult], RowResult]
"""What becomes of a row's result, given the row and the result of the untouched input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Laboratory:
    """One loaded model and the policy that is studied. `kinds` are the maps that are made."""

    model: LoadedModel
    policy: Policy
    calibration: Calibration | None = None
    kinds: tuple[MapKind, ...] = DEFAULT_MAPS
    tamper: Tamper = lambda result, *_: result
    """A fault to inject into the rows; none by default."""

    @property
    def engine(self) -> Engine:
        """The service's engine with this one model."""
        return Engine(models={NAME: self.model})

    @property
    def card(self) -> ModelCard:
        """The model's card, without a configured threshold: alignment does not depend on one."""
        return self.model.card(
            NAME, revision="", max_units=0, max_characters=0, calibration=UNCALIBRATED, threshold=None
        )

    def measure(self, model_input: ModelInput, extra: Extra | None = None, *, truth: bool = True) -> Measured:
        """Run every look, the served answer and, unless left out, the truth on one input. Raises InvalidInput."""
        started = time.perf_counter()
        bench = self.open(model_input)
        subject, captured = bench.subject, bench.captured
        made = bench.maps()
        served = bench.check(made, self.policy, self.calibration)
        rows, seconds = 1 + bench.asked, time.perf_counter() - started
        offered = tuple(found.assessment.map for found in served.maps)
        effects, truth_rows = bench.true_effects(offered) if truth else (None, 0)
        extras = dict(extra(subject, offered, effects)) if extra else {}
        maps = {unit_map.kind.value: unit_map.scores for unit_map in offered} | extras
        looks = plan_looks(subject.n, subject.seed, self.policy, operators=subject.operators)
        removals = [row for look in looks for row in look.rows()]
        editable = subject.scope is Scope.ALL_LAYERS
        draws = rewiring_rows(subject, 0, sum(self.policy.rewiring_draws)) if editable else []
        return Measured(
            subject=subject,
            prior=captured.half_way_gradient,
            maps=maps,
            trails=bench.trails(made, extras, prior=False),
            with_prior={} if captured.half_way_gradient is None else bench.trails(made, extras, prior=True),
            served=served,
            rows=rows,
            seconds=seconds,
            removed=np.array([row.removed for row in removals], dtype=np.bool_).reshape(-1, subject.n),
            operators=tuple(row.operator for row in removals),
            margins=subject.margins(bench.run(removals)),
            same=subject.same(bench.run(draws)),
            effects=effects,
            truths=judge_truth(maps, effects, self.policy) if truth else {},
            truth_rows=truth_rows,
        )

    def open(self, model_input: ModelInput) -> Bench:
        """Capture one input and give the bench that its rows are run on. Raises InvalidInput."""
        backend = self.model.backend
        encoding = backend.encode(model_input)
        request = CaptureRequest(
            maps=frozenset(self.kinds),
            options=MapOptions(),
            decide=partial(make_decision, _question(model_input), self.card),
            attention=None,
        )
        captured = asyncio.run(self._capture(encoding, request))
        subject = Subject(
            encoding=encoding,
            decision=captured.decision,
            base=captured.row,
            seed=default_seed(encoding, self.policy),
            policy=self.policy,
            scope=self.model.scope,
            noise=backend.noise,
        )
        return Bench(laboratory=self, subject=subject, captured=captured)

    async def _capture(self, encoding: Encoding, request: CaptureRequest) -> Captured:
        """Capture, with all that is made beside; the half-way gradient, where the backend can."""

        async def turn(act: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever it gives
            return act()

        engine = self.engine
        captured = engine.capture(NAME, encoding, request)
        with ThreadPoolExecutor(1) as beside:
            further = Further(
                engine=engine,
                turn=turn,
                beside=beside,
                clock=time.monotonic,
                deadline=None,
                model=NAME,
                encoding=encoding,
                decision=captured.decision,
            )
            differentiable = MapKind.INTEGRATED_GRADIENTS in self.model.maps
            return await further.complete(captured, request.maps, request.options, half_way=differentiable)


@dataclass(slots=True, kw_only=True)
class Bench:
    """One input's rows, each run once. `asked` counts what the checks asked for."""

    laboratory: Laboratory
    subject: Subject
    captured: Captured = field(repr=False)
    asked: int = 0
    done: dict[tuple[object, ...], RowResult] = field(default_factory=dict, repr=False)

    def run(self, rows: list[Row]) -> list[RowResult]:
        """Run rows in batches as wide as a processor likes; those that were run before are not run again."""
        encoding, laboratory = self.subject.encoding, self.laboratory
        missing = list({row.key: row for row in rows if row.key not in self.done}.values())
        size = max(1, BATCH_TOKENS // encoding.length)
        for start in range(0, len(missing), size):
            part = missing[start : start + size]
            results = laboratory.engine.run(NAME, variants(encoding, part))
            base = self.subject.base
            self.done |= {row.key: laboratory.tamper(r, row, base) for row, r in zip(part, results, strict=True)}
        return [self.done[row.key] for row in rows]

    async def _ask(self, rows: list[Row]) -> list[RowResult]:
        self.asked += len(rows)
        return self.run(rows)

    def maps(self) -> tuple[UnitMap, ...]:
        """The maps of the capture, and those that are made of rows of their own."""
        kinds, budget = self.laboratory.kinds, endless_budget()
        measured = asyncio.run(measure_maps(kinds, self.subject, budget, self._ask, Stopwatch()))
        return (*self.captured.maps, *measured.maps)

    def check(
        self,
        maps: tuple[UnitMap, ...],
        policy: Policy,
        calibration: Calibration | None,
        *,
        alone: bool = False,
        every_map: bool = False,
    ) -> Checked:
        """Run the service's checks on these maps of the input; `alone` leaves EFFECT out.

        `every_map` seeks witnesses for all maps, not only for those that matter.
        """
        kinds = {unit_map.kind for unit_map in maps}
        chosen = () if calibration is None else (calibration.primary_map,)
        wants_prior = calibration is not None and calibration.wants_prior(self.subject.n)
        checker = Checker(
            subject=replace(self.subject, policy=policy),
            maps=maps,
            primary=next(kind for kind in (*chosen, *PRIMARY_ORDER, *kinds) if kind in kinds),
            attention_is_uniform=self.captured.attention_is_uniform,
            calibration=calibration,
            budget=endless_budget(),
            run=self._ask,
            stopwatch=Stopwatch(),
            wants_effect=not alone and MapKind.EFFECT in self.laboratory.kinds,
            every_map=every_map,
            prior=self.captured.half_way_gradient if wants_prior else None,
        )
        return asyncio.run(checker.check())

    def trails(
        self, made: tuple[UnitMap, ...], extras: Mapping[str, Floats], *, prior: bool
    ) -> dict[str, tuple[Assessment, ...]]:
        """Every map's assessment after each look, at widths that decide nothing; one that was final stays as it was.

        With the prior, only the maps that it may help to judge.
        """
        policy = self.laboratory.policy
        endless = replace(policy, widths=(ENDLESS,) * len(policy.widths))
        helped = _endless_calibration(self.laboratory.kinds) if prior else None
        found: dict[str, list[Assessment]] = {}
        for look in self.check(made, endless, helped).trace:
            for kind, assessment in look.items():
                if helped is None or helped.uses_prior(self.subject.n, kind):
                    found.setdefault(kind.value, []).append(assessment)
        for name, scores in extras.items():
            passing = (UnitMap(kind=CARRIER, scores=scores, dropped_mass=0.0),)
            trace = self.check(passing, endless, helped, alone=True).trace
            found[name] = [look[CARRIER] for look in trace]
        return {name: tuple(trail) for name, trail in found.items()}

    def true_effects(self, maps: tuple[UnitMap, ...]) -> tuple[EffectEstimate | None, int]:
        """Effects from ever more removals, while the A* of any of the maps is unclear; and how many there were."""
        subject, rows = self.subject, TRUTH_ROWS
        weights = {unit_map.kind.value: unit_map.scores for unit_map in maps}
        while True:
            removed, operators = truth_removals(subject.n, rows, subject.seed, subject.operators)
            found = self.run([Row(removed=r, operator=o) for r, o in zip(removed, operators, strict=True)])
            estimate = estimate_effects(
                removed,
                operators,
                subject.margins(found),
                lambdas=TRUTH_LAMBDA,
                rounding=rounding_of(subject.noise),
            )
            if enough(judge_truth(weights, estimate, subject.policy), subject.n, rows, subject.policy):
                return estimate, len(removed)
            rows *= 2


def _endless_calibration(kinds: tuple[MapKind, ...]) -> Calibration:
    """One that asks for the prior and for widths at which no map is ever decided."""
    return Calibration(
        id="",
        created=datetime.min.replace(tzinfo=UTC),
        model_digest="",
        policy_digest="",
        alpha=0.0,
        confidence=0.0,
        task="",
        inputs=0,
        shortest=0,
        longest=sys.maxsize,
        primary_map=CARRIER,
        promises=dict.fromkeys({*kinds, CARRIER}, Promise(c=ENDLESS)),
        prior=True,
    )


def endless_budget() -> Budget:
    """One that never refuses anything."""
    return Budget(max_rows=10**9, deadline=None, clock=time.monotonic, estimate=lambda _: 0.0)


def _question(model_input: ModelInput) -> ExplainRequest:
    """The plainest question: may the maps of the predicted class be relied on?"""
    return ExplainRequest(
        request_id="", model=NAME, revision="", input=model_input, target=Target(), threshold=None, deadline=None
    )
