"""The engine as the pipeline sees it: asynchronous calls that become asks in the queue of the device."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from rollcall.backends.arrangement import first_layer
from rollcall.backends.base import CaptureRequest, variants
from rollcall.domain.compute import FORWARDS_PER_STEP, Captured, Job, Priority, Search
from rollcall.domain.decision import Decision
from rollcall.domain.errors import BackendError, DeviceLost
from rollcall.domain.inputs import Encoding, ModelInput
from rollcall.domain.maps import DEFAULT_MAPS, AttentionSelection, Floats, MapKind, MapOptions
from rollcall.domain.rows import Row, RowResult
from rollcall.engine.adversary import AdversarySearch
from rollcall.engine.device import Device, DeviceTelemetry, Outcome
from rollcall.engine.engine import Engine
from rollcall.engine.further import TURN_TOKENS, Further
from rollcall.engine.memory import Allowance, give_back, measure, meter_of
from rollcall.models.loading import LoadedModel
from rollcall.scheduling.queue import Ask, Batch, Bounds, Kind, RowQueue
from rollcall.telemetry import logs
from rollcall.telemetry.traces import OFF, Spans

_log = logging.getLogger(__name__)

WARM_UP = ((1, 16), (4, 16), (1, 16), (4, 64), (8, 32))
"""Rows and tokens of the batches that a model is first tried with: what they take is the first estimate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatcher:
    """Implements `rollcall.domain.compute.Compute`. `texts` has one thread, and so has `beside`, for flows."""

    engine: Engine
    queue: RowQueue
    device: Device
    texts: ThreadPoolExecutor
    clock: Callable[[], float]
    allowance: Allowance = field(default_factory=Allowance)
    """Memory that a batch may take, of models loaded by `load`."""
    beside: ThreadPoolExecutor = field(default_factory=partial(ThreadPoolExecutor, 1, "rollcall-beside"))

    @classmethod
    def on(
        cls,
        engine: Engine,
        queue: RowQueue,
        texts: ThreadPoolExecutor,
        telemetry: DeviceTelemetry,
        clock: Callable[[], float] = time.monotonic,
        name: str = "rollcall-device",
        on_lost: Callable[[], None] = lambda: None,
        allowance: Allowance | None = None,
        spans: Spans = OFF,
    ) -> Dispatcher:
        """Put an engine on a device's thread; start and close the device."""
        for model, loaded in engine.models.items():
            queue.widths[model] = loaded.backend.shape.width
        device = Device(name, queue, partial(run_batch, engine), telemetry, clock, on_lost, spans)
        return cls(
            engine=engine,
            queue=queue,
            device=device,
            texts=texts,
            clock=clock,
            allowance=allowance or Allowance(),
        )

    async def encode(self, model: str, model_input: ModelInput) -> Encoding:
        """Tokenise off the device's thread; one thread, since tokenizers keep state between calls.

        Raises InvalidInput, and BackendError where the tokenizer panics, which is no Exception.
        """
        backend = self.engine.models[model].backend
        try:
            return await asyncio.get_running_loop().run_in_executor(self.texts, backend.encode, model_input)
        except (Exception, asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            message = "the model's tokenizer failed on this input"
            raise BackendError(message) from error

    async def predict(self, job: Job, model: str, encoding: Encoding) -> RowResult:
        """Run the untouched input beside other predictions."""
        ask = self._ask(job, Kind.PREDICTIONS, model, Priority.PREDICT, 1, encoding.length, sharing=True)
        (result,) = await self.device.submit(ask, variants(encoding, [Row()]))
        found: RowResult = result
        return found

    async def run(
        self, job: Job, model: str, encoding: Encoding, rows: list[Row], options: MapOptions
    ) -> list[RowResult]:
        """Run rows beside others of the same length, if company changes nothing in this model."""
        late = any(first_layer(row) for row in rows)  # these are equal in any company up to rounding only
        sharing = self.engine.models[model].backend.batch_is_neutral and not late
        ask = self._ask(job, Kind.ROWS, model, Priority.CHECK, len(rows), encoding.length, sharing=sharing)
        return await self.device.submit(ask, variants(encoding, rows, options)) if rows else []

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
        """Capture alone; then make, in turns of their own, the maps that a capture does not give."""
        request = CaptureRequest(maps=maps, options=options, decide=decide, attention=attention)
        ask = self._ask(job, Kind.CAPTURE, model, Priority.BASE, 1, encoding.length, sharing=False)
        (captured,) = await self.device.submit(ask, [partial(self.engine.capture, model, encoding, request)])
        found: Captured = captured

        async def turn(act: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever it gives
            ask = self._ask(job, Kind.CALL, model, Priority.CHECK, 1, encoding.length, sharing=False)
            (result,) = await self.device.submit(ask, [act])
            return result

        further = Further(
            engine=self.engine,
            turn=turn,
            beside=self.beside,
            clock=self.clock,
            deadline=job.deadline,
            model=model,
            encoding=encoding,
            decision=found.decision,
        )
        return await further.complete(found, maps, options, half_way=half_way)

    async def search(
        self,
        job: Job,
        model: str,
        encoding: Encoding,
        search: Search,
        options: MapOptions,
        stepped: Callable[[int], None],
    ) -> list[Floats]:
        """Search in turns of one step of as many restarts as fit into one, so that others get in between."""
        size = max(1, TURN_TOKENS // encoding.length)
        adversaries = [
            AdversarySearch(
                backend=self.engine.differentiable(model),
                encoding=encoding,
                options=options,
                search=search,
                first=first,
                count=min(size, search.restarts - first),
            )
            for first in range(0, search.restarts, size)
        ]
        for _ in range(search.steps):
            for adversary in adversaries:
                ask = self._ask(job, Kind.CALL, model, Priority.CHECK, 1, encoding.length, sharing=False)
                await self.device.submit(ask, [partial(self.engine.searching, adversary)])
                stepped(FORWARDS_PER_STEP * adversary.count)
        return [bias for adversary in adversaries for bias in adversary.proposed()]

    async def load(self, model: str, make: Callable[[], LoadedModel]) -> LoadedModel:
        """Load a model on the device's thread, and run some rows on it to learn what memory and time they take."""
        job = Job(arrived=self.clock())

        async def call(act: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever it gives
            ask = self._ask(job, Kind.CALL, model, Priority.BASE, 1, 0, sharing=False)
            (found,) = await self.device.submit(ask, [act])
            return found

        loaded: LoadedModel = await call(make)
        self.engine.models[model] = loaded
        self.device.read(lambda queue: queue.widths.update({model: loaded.backend.shape.width}))
        await call(give_back)  # building and proving leave as much behind as a large model takes
        await call(partial(self._learn_memory, model))
        for rows, length in WARM_UP:
            encoding = loaded.backend.synthetic(min(length, loaded.backend.shape.max_tokens))
            await asyncio.gather(*(self.predict(job, model, encoding) for _ in range(rows)))
            if loaded.failed:
                continue
            await self.run(job, model, encoding, [Row()] * rows, MapOptions())
            await self.capture(
                job,
                model,
                encoding,
                maps=frozenset(DEFAULT_MAPS).intersection(loaded.maps),
                options=MapOptions(),
                decide=lambda logits: Decision(task=loaded.backend.task, target=int(np.argmax(logits))),
                attention=None,
            )
        return loaded

    async def unload(self, model: str) -> None:
        """Forget a model that nobody uses any more, and give back its memory. Raises DeviceLost."""

        def forget() -> None:
            del self.engine.models[model]
            give_back()

        ask = self._ask(Job(arrived=self.clock()), Kind.CALL, model, Priority.CHECK, 1, 0, sharing=False)
        await self.device.submit(ask, [forget])
        self.device.read(lambda queue: queue.forget(model))

    def _learn_memory(self, model: str) -> None:
        """Bound the batches of a model that was just loaded, and again those of all models on its device.

        Where it cannot be measured this is said in the log, and tokens alone bound them. Raises DeviceLost.
        """
        backend = self.engine.models[model].backend
        device = backend.device
        if not backend.is_counted:
            logs.event(_log, logging.WARNING, "memory_not_measured", model=model, backend=backend.name)
            return
        meter = meter_of(device)
        try:
            memories = measure(self.engine, model, meter)
            budget = self.allowance.budget(meter.free())
        except DeviceLost:
            raise
        except Exception as error:  # noqa: BLE001 - a model whose memory nobody knows serves all the same
            logs.event(_log, logging.WARNING, "memory_not_measured", model=model, error=error)
            return
        neighbours = [name for name, other in self.engine.models.items() if other.backend.device == device]

        def bound(queue: RowQueue) -> None:
            queue.memories.update({(model, kind): memory for kind, memory in memories.items()})
            queue.budgets.update(dict.fromkeys(neighbours, budget))

        self.device.read(bound)

    def bounds(self, model: str) -> Bounds:
        """What bounds the batches of a model that is loaded."""
        longest = self.engine.models[model].backend.shape.max_tokens
        found: Bounds = self.device.read(lambda queue: queue.bounds(model, longest))
        return found

    def expected_seconds(self, model: str, rows: int, length: int) -> float:
        """How long rows take once they run."""
        seconds: float = self.device.read(lambda queue: queue.expected(model, rows, length, now=self.clock()))
        return seconds

    def capture_seconds(self, model: str, length: int) -> float:
        """How long a capture takes once it runs."""
        seconds: float = self.device.read(
            lambda queue: queue.expected(model, 1, length, Kind.CAPTURE, now=self.clock())
        )
        return seconds

    def _ask(self, job: Job, kind: Kind, model: str, usual: Priority, rows: int, length: int, *, sharing: bool) -> Ask:
        return Ask(
            job=job,
            kind=kind,
            model=model,
            priority=job.priority(usual),
            rows=rows,
            length=length,
            queued_at=self.clock(),
            sharing=sharing,
        )


def run_batch(engine: Engine, batch: Batch) -> list[Outcome]:
    """Run what was cut; one outcome for each share. Raises DeviceLost."""
    parts: list[list[Any]] = [list(share.ask.payload.rows[share.start : share.stop]) for share in batch.shares]
    if batch.kind in {Kind.CAPTURE, Kind.CALL}:
        return [engine.call(part[0]) for part in parts]
    return engine.run_parts(batch.model, parts, stock=batch.kind is Kind.PREDICTIONS)
