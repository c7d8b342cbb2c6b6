"""What the pipeline asks of whatever owns the devices. Neither side imports the other; `app` hands one to the other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from rollcall.domain.decision import Decision
from rollcall.domain.inputs import Encoding, ModelInput
from rollcall.domain.maps import AttentionSelection, AttentionTensor, MapKind, MapOptions, UnitMap
from rollcall.domain.rows import Row, RowResult


class Priority(IntEnum):
    """Who goes first on the device: the smaller number."""

    PREDICT = 0
    BASE = 1
    CHECK = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """One input's maps, the attention if asked for, and whether all its attention is uniform up to rounding."""

    maps: tuple[UnitMap, ...]
    attention: AttentionTensor | None
    attention_is_uniform: bool


class Compute(Protocol):
    """Encodes, runs rows and captures. Cancelling an await drops what has not started.

    Raises BackendError, DeviceMemory.
    """

    async def encode(self, model: str, model_input: ModelInput) -> Encoding:
        """Tokenise and find the units; raises InvalidInput."""
        ...

    async def run(
        self, model: str, encoding: Encoding, rows: list[Row], options: MapOptions, priority: Priority
    ) -> list[RowResult]:
        """Run rows of one input; the results do not depend on what else is running."""
        ...

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
        """Capture the untouched input's attention and make the maps."""
        ...
