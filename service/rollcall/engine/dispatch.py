"""The engine as the pipeline sees it: asynchronous calls that become jobs on the device's thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from rollcall.backends.base import CaptureRequest
from rollcall.domain.compute import Captured, Priority
from rollcall.domain.decision import Decision
from rollcall.domain.inputs import Encoding, ModelInput
from rollcall.domain.maps import AttentionSelection, MapKind, MapOptions
from rollcall.domain.rows import Row, RowResult
from rollcall.engine.engine import Engine
from rollcall.engine.worker import Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatcher:
    """Implements `rollcall.domain.compute.Compute`.

    `ran` is told model and rows of each batch; `texts` has one thread.
    """

    engine: Engine
    worker: Worker
    texts: ThreadPoolExecutor
    ran: Callable[[str, int], None]

    async def encode(self, model: str, model_input: ModelInput) -> Encoding:
        """Tokenise off the device's thread; one thread, since tokenizers keep state between calls."""
        backend = self.engine.models[model].backend
        return await asyncio.get_running_loop().run_in_executor(self.texts, backend.encode, model_input)

    async def run(
        self, model: str, encoding: Encoding, rows: list[Row], options: MapOptions, priority: Priority
    ) -> list[RowResult]:
        """Run rows in chunks, each a job of its own, so that more urgent rows get in between."""
        results: list[RowResult] = []
        for chunk in self.engine.chunks(rows, encoding.length):
            results += await self.worker.submit(priority, partial(self.engine.run, model, encoding, chunk, options))
            self.ran(model, len(chunk))
        return results

    async def capture(
        self,
        model: str,
        encoding: Encoding,
        *,
        maps: frozenset[MapKind],
        options: MapOptions,
        decision: Decision,
        attention: AttentionSelection | None,
    ) -> Captured:
        """Capture in one job."""
        request = CaptureRequest(maps=maps, options=options, decision=decision, attention=attention)
        captured = await self.worker.submit(Priority.BASE, lambda: self.engine.capture(model, encoding, request))
        self.ran(model, 1)
        return captured
