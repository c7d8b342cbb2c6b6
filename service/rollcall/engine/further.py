"""Maps that take more than the capture of the untouched input, for requests that ask for them.

Each piece of work is one turn on the device, short enough for others to get in between.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from rollcall.attribution.input_x_gradient import INPUT, input_x_gradient
from rollcall.attribution.integrated_gradients import integrated_gradients, midpoints
from rollcall.attribution.units import positive_units, unit_sums
from rollcall.domain.decision import Decision
from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import Floats, MapKind, MapOptions, UnitMap
from rollcall.engine.engine import Engine

TURN_TOKENS = 512
"""Tokens of the points whose gradients are taken in one turn: some hundredths of a second of a BERT-base on a processor
core, so that predictions do not wait long."""
HALF_WAY = (0.5,)

Turn = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs something on the device when its turn comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Further:
    """What else can be made of one input on one model."""

    engine: Engine
    turn: Turn
    model: str
    encoding: Encoding = field(repr=False)
    decision: Decision

    async def maps(self, kinds: frozenset[MapKind], options: MapOptions) -> tuple[UnitMap, ...]:
        """Those of `kinds` that are none of the capture's, in the usual order."""
        found = []
        if MapKind.INPUT_X_GRADIENT in kinds:
            _, at = await self._gradients(INPUT)
            found.append(self._positive(MapKind.INPUT_X_GRADIENT, input_x_gradient(at)))
        if MapKind.INTEGRATED_GRADIENTS in kinds:
            along, _ = await self._gradients(midpoints(options.integration_points))
            found.append(self._positive(MapKind.INTEGRATED_GRADIENTS, integrated_gradients(along)))
        return tuple(found)

    async def half_way_gradient(self) -> Floats:
        """Per unit [n], signed; see `Captured`."""
        along, _ = await self._gradients(HALF_WAY)
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
        return UnitMap(kind=kind, scores=scores, dropped_mass=dropped)
