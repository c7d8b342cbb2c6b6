"""Maps that take more than the capture of the untouched input, for requests that ask for them.

Each piece of work on the device is one turn, short enough for others to get in between; what needs no device runs
beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Event
from typing import Any

import numpy as np

from rollcall.attribution.attention_flow import attention_flow
from rollcall.attribution.input_x_gradient import INPUT, input_x_gradient
from rollcall.attribution.integrated_gradients import integrated_gradients, midpoints
from rollcall.attribution.units import positive_units, shares, unit_sums
from rollcall.backends.base import readout_of
from rollcall.domain.compute import Captured
from rollcall.domain.decision import Decision
from rollcall.domain.errors import BackendError, DeviceMemory
from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import Floats, MapKind, MapOptions, MissingMap, UnitMap
from rollcall.engine.engine import Engine

TURN_TOKENS = 512
"""Tokens of the points whose gradients are taken in one turn: some hundredths of a second of a BERT-base on a processor
core, so that predictions do not wait long."""
SATURATED = (
    "Saturated: the read-out's own edges are the bottleneck for every word, so that this map shows no more than its "
    "attention in the first layer, and a constant."
)
HALF_WAY = (0.5,)

FLOW_SECONDS = 5.0
"""Longest that ATTENTION_FLOW may take, waiting for other requests' flows included."""
FLOW_SHARE = 0.5
"""Share of the time left before the deadline that it may take: the checks come after it."""

Turn = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs something on the device when its turn comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Further:
    """What else can be made of one input on one model."""

    engine: Engine
    turn: Turn
    beside: Executor
    clock: Callable[[], float]
    deadline: float | None
    model: str
    encoding: Encoding = field(repr=False)
    decision: Decision

    async def complete(
        self, captured: Captured, kinds: frozenset[MapKind], options: MapOptions, *, half_way: bool
    ) -> Captured:
        """A capture with the maps of `kinds` that it did not give, and the half-way gradient where it is asked for."""
        flows = [] if captured.layers is None else [await self.flow(captured.layers, options)]
        return replace(
            captured,
            layers=None,
            maps=(*captured.maps, *(f for f in flows if isinstance(f, UnitMap)), *await self.maps(kinds, options)),
            missing=tuple(f for f in flows if isinstance(f, MissingMap)),
            half_way_gradient=await self.half_way_gradient() if half_way else None,
        )

    async def maps(self, kinds: frozenset[MapKind], options: MapOptions) -> tuple[UnitMap, ...]:
        """Those of `kinds` that need gradients at the embeddings or a decomposition, in the usual order."""
        found = []
        if MapKind.INPUT_X_GRADIENT in kinds:
            _, at = await self._gradients(INPUT)
            found.append(self._positive(MapKind.INPUT_X_GRADIENT, input_x_gradient(at)))
        if MapKind.INTEGRATED_GRADIENTS in kinds:
            along, _ = await self._gradients(midpoints(options.integration_points))
            found.append(self._positive(MapKind.INTEGRATED_GRADIENTS, integrated_gradients(along)))
        if MapKind.DECOMPOSITION in kinds:
            parts = await self.turn(partial(self.engine.decompose, self.model, self.encoding, self.decision))
            found.append(self._positive(MapKind.DECOMPOSITION, parts))
        return tuple(found)

    async def flow(self, layers: Floats, options: MapOptions) -> UnitMap | MissingMap:
        """ATTENTION_FLOW of attention fused over heads [L, T, T], off the device, unless time runs out.

        Cancelling it, or running out of time, ends it before its next unit.
        """
        now = self.clock()
        left = FLOW_SECONDS if self.deadline is None else min(FLOW_SECONDS, FLOW_SHARE * (self.deadline - now))
        given_up = Event()

        def stop() -> bool:
            return given_up.is_set() or self.clock() >= now + left

        readout = readout_of(self.engine.models[self.model].backend, self.encoding)
        work = partial(attention_flow, layers, self.encoding, readout, options.rollout_start_layer, stop)
        try:
            found = await asyncio.get_running_loop().run_in_executor(self.beside, work)
        finally:
            given_up.set()
        if found is None:
            reason = f"its network of {layers.size} edges could not be solved for every word in {max(left, 0):.1f} s."
            return MissingMap(kind=MapKind.ATTENTION_FLOW, reason=reason, late=True)
        total = float(found.units.sum())
        return UnitMap(
            kind=MapKind.ATTENTION_FLOW,
            scores=shares(found.units),
            dropped_mass=found.special / (found.special + total) if found.special + total else 0.0,
            note=SATURATED if found.saturated else "",
        )

    async def half_way_gradient(self) -> Floats | None:
        """Per unit [n], signed; see `Captured`. None where it cannot be had: it helps the checks, which do without."""
        try:
            along, _ = await self._gradients(HALF_WAY)
        except (BackendError, DeviceMemory):
            return None
        return unit_sums(along[0], self.encoding)

    async def _gradients(self, points: tuple[float, ...]) -> tuple[Floats, Floats]:
        """Signed token weights along the way and at the points, [P, T] each."""
        size = max(1, TURN_TOKENS // self.encoding.length)
        parts = [
            await self.turn(
                partial(self.engine.path_gradients, self.model, self.encoding, self.decision, points[i : i + size])
            )
            for i in range(0, len(points), size)
        ]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def _positive(self, kind: MapKind, weights: Floats) -> UnitMap:
        scores, dropped = positive_units(weights, self.encoding)
        return UnitMap(kind=kind, scores=scores, dropped_mass=dropped, signed=unit_sums(weights, self.encoding))
