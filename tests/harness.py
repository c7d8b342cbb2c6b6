"""A whole pipeline around models in memory: real engine, real backend, no server. For tests that ask for verdicts.

Inside the `with` block requests are answered one after another on an event loop of the harness's own; afterwards the
compute thread is gone. `Meddling` sits between pipeline and engine and changes what a test wants changed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from rollcall.admission.backlog import Backlog
from rollcall.admission.budget import Cut
from rollcall.admission.gate import Gate
from rollcall.admission.plan import ServerDefaults
from rollcall.backends.base import BatchRow
from rollcall.domain.compute import Captured, Compute, Job, Search
from rollcall.domain.decision import Decision
from rollcall.domain.explanation import ExplainRequest, Explanation, Predicted
from rollcall.domain.inputs import Encoding, ModelInput, Target, TextInput
from rollcall.domain.maps import AttentionSelection, Floats, MapKind, MapOptions, UnitMap
from rollcall.domain.model import ModelCard
from rollcall.domain.policy import Policy
from rollcall.domain.rows import Row, RowResult
from rollcall.domain.verdicts import CheckLevel, Verdict
from rollcall.engine.dispatch import Dispatcher
from rollcall.engine.engine import Engine
from rollcall.models.loading import LoadedModel
from rollcall.pipeline.catalog import Catalog, Entry
from rollcall.pipeline.explain import Pipeline
from rollcall.scheduling.queue import Limits, RowQueue
from rollcall.telemetry.traces import OFF, Spans
from rollcall.verdict.calibration import UNCALIBRATED, Calibration
from rollcall.verdict.policies import POLICIES, THOROUGH

T = TypeVar("T")
Rewrite = Callable[[list[Row], list[RowResult]], list[RowResult]]
Redraw = Callable[[tuple[UnitMap, ...]], tuple[UnitMap, ...]]

MAX_BATCH_TOKENS = 8192


def _unchanged_rows(_: list[Row], results: list[RowResult]) -> list[RowResult]:
    return results


def _unchanged_maps(maps: tuple[UnitMap, ...]) -> tuple[UnitMap, ...]:
    return maps


@dataclass(frozen=True, slots=True, kw_only=True)
class Meddling:
    """What stands between pipeline and engine: `rows` may change or fail a batch of checks, `maps` the captures."""

    rows: Rewrite = _unchanged_rows
    maps: Redraw = _unchanged_maps


@dataclass(frozen=True, slots=True, kw_only=True)
class Meddler:
    """A `Compute` that passes everything on to another one, and meddles with what comes back."""

    compute: Compute
    meddling: Meddling

    async def encode(self, model: str, model_input: ModelInput) -> Encoding:
        """Pass on."""
        return await self.compute.encode(model, model_input)

    async def predict(self, job: Job, model: str, encoding: Encoding) -> RowResult:
        """Pass on."""
        return await self.compute.predict(job, model, encoding)

    async def run(
        self, job: Job, model: str, encoding: Encoding, rows: list[Row], options: MapOptions
    ) -> list[RowResult]:
        """Pass on; the rows come back meddled with."""
        return self.meddling.rows(rows, await self.compute.run(job, model, encoding, rows, options))

    async def capture(
        self,
        job: Job,
        model: str,
        encoding: Encoding,
        *,
        maps: frozenset[MapKind],
        options: MapOptions,
        decide: Callable[[Floats], Decision],
        attention: AttentionSelection | None,
        half_way: bool = False,
    ) -> Captured:
        """Pass on; the maps come back meddled with."""
        captured = await self.compute.capture(
            job, model, encoding, maps=maps, options=options, decide=decide, attention=attention, half_way=half_way
        )
        return replace(captured, maps=self.meddling.maps(captured.maps))

    async def search(
        self,
        job: Job,
        model: str,
        encoding: Encoding,
        search: Search,
        options: MapOptions,
        stepped: Callable[[int], None],
    ) -> list[Floats]:
        """Pass on."""
        return await self.compute.search(job, model, encoding, search, options, stepped)

    def expected_seconds(self, model: str, rows: int, length: int) -> float:
        """Pass on."""
        return self.compute.expected_seconds(model, rows, length)

    def capture_seconds(self, model: str, length: int) -> float:
        """Pass on."""
        return self.compute.capture_seconds(model, length)


@dataclass(slots=True, kw_only=True)
class Clock:
    """A clock that only moves when rows are run: `seconds_per_row` each."""

    seconds_per_row: float
    now: float = 0.0

    def __call__(self) -> float:
        """Read it."""
        return self.now

    def ran(self, rows: int) -> None:
        """Let the time of so many rows pass."""
        self.now += rows * self.seconds_per_row


@dataclass(slots=True, kw_only=True)
class Told:
    """What the pipeline told its telemetry."""

    predicted_answers: list[Predicted] = field(default_factory=list)
    explanations: list[tuple[Explanation, int, Cut | None]] = field(default_factory=list)
    shared: int = 0

    def predicted(self, predicted: Predicted) -> None:
        """Remember a prediction."""
        self.predicted_answers.append(predicted)

    def explained(self, explanation: Explanation, looks: int, cut: Cut | None, *, shared: bool) -> None:
        """Remember an explanation."""
        self.explanations.append((explanation, looks, cut))
        self.shared += shared


@dataclass(frozen=True, slots=True, kw_only=True)
class Harness:
    """Asks a pipeline and waits for the answer."""

    pipeline: Pipeline
    dispatcher: Dispatcher
    told: Told
    runner: asyncio.Runner = field(repr=False)

    def explain(self, request: str | ExplainRequest) -> Explanation:
        """Explain a request, or a text with nothing else asked for."""
        return self.wait(self.pipeline.explain(ask(request) if isinstance(request, str) else request))

    def wait(self, action: Coroutine[Any, Any, T]) -> T:
        """Run something on the harness's event loop.

        Without the runner's own handling of signals: it writes out the whole result to say that it is no number.
        """
        return self.runner.get_loop().run_until_complete(action)

    def verdict(self, request: str | ExplainRequest, kind: MapKind) -> Verdict:
        """Verdict of one map."""
        return verdict_of(self.explain(request), kind)


def verdict_of(explanation: Explanation, kind: MapKind) -> Verdict:
    """Verdict of one map of an explanation."""
    return next(a.verdict for a in explanation.attributions if a.map.kind is kind)


def ask(text: str, **fields: Any) -> ExplainRequest:  # noqa: ANN401 - the fields of ExplainRequest
    """Request an explanation of `text`; `fields` replace what a plain request says."""
    plain: dict[str, Any] = {
        "request_id": "test",
        "model": "",
        "revision": "",
        "input": TextInput(text=text),
        "target": Target(),
        "threshold": None,
        "deadline": None,
    }
    return ExplainRequest(**(plain | fields))


@contextmanager
def serving(
    *models: LoadedModel,
    meddling: Meddling | None = None,
    policies: Mapping[str, Policy] = POLICIES,
    calibration: Calibration | None = None,
    clock: Clock | None = None,
    in_flight: int = 8,
    spans: Spans = OFF,
) -> Iterator[Harness]:
    """Serve models under the names "0", "1", ...; the first takes requests without a model."""
    named = {str(number): model for number, model in enumerate(models)}
    texts = ThreadPoolExecutor(1)
    queue = RowQueue(limits=Limits(max_tokens=MAX_BATCH_TOKENS))
    dispatcher = Dispatcher.on(
        Ticking(models=named, clock=clock) if clock else Engine(models=named),
        queue,
        texts,
        Quiet(),
        clock or time.monotonic,
        "compute",
        spans=spans,
    )
    told = Told()
    compute: Compute = Meddler(compute=dispatcher, meddling=meddling) if meddling else dispatcher
    pipeline = Pipeline(
        catalog=Catalog(
            entries={name: Entry(card=card(name, model), calibration=calibration) for name, model in named.items()},
            default="0",
        ),
        compute=compute,
        gate=Gate(max_in_flight=in_flight, share=1.0),
        backlog=Backlog(max_seconds=3600.0, seconds=compute.expected_seconds),
        policies=policies,
        thorough=THOROUGH,
        defaults=ServerDefaults(
            check_level=CheckLevel.STANDARD,
            policy=next(iter(policies)),
            max_rows=4096,
            thorough_rows=2048,
            most_rows=4096,
        ),
        telemetry=told,
        spans=spans,
        clock=clock or time.monotonic,
    )
    dispatcher.device.start()
    try:
        with asyncio.Runner() as runner:
            yield Harness(pipeline=pipeline, dispatcher=dispatcher, told=told, runner=runner)
    finally:
        dispatcher.device.close()
        texts.shutdown()
        dispatcher.beside.shutdown()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticking(Engine):
    """An engine whose rows take the time of a clock that only they move."""

    clock: Clock

    def run(self, model: str, rows: list[BatchRow], *, stock: bool = False) -> list[RowResult]:
        """Run, and let the time pass."""
        results = Engine.run(self, model, rows, stock=stock)
        self.clock.ran(len(rows))
        return results


class Quiet:
    """Telemetry of a device that nobody reads."""

    def batch_ran(self, model: str, kind: str, *, rows: int, padding: int, seconds: float, expected: float) -> None:
        """Forget it."""

    def rows_waited(self, kind: str, seconds: float) -> None:
        """Forget it."""

    def rows_dropped(self, rows: int) -> None:
        """Forget it."""


def card(name: str, model: LoadedModel) -> ModelCard:
    """Card of a model in memory."""
    return model.card(name, revision="", max_units=64, max_characters=100_000, calibration=UNCALIBRATED, threshold=None)
