"""What the pipeline asks of whatever owns the devices. Neither side imports the other; `app` hands one to the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from rollcall.domain.decision import Decision
from rollcall.domain.identity import ANYONE
from rollcall.domain.inputs import Encoding, ModelInput
from rollcall.domain.maps import AttentionSelection, AttentionTensor, Floats, MapKind, MapOptions, MissingMap, UnitMap
from rollcall.domain.rows import Row, RowResult


class Priority(IntEnum):
    """Classes of work: the smaller number goes first on the device."""

    PREDICT = 0
    BASE = 1
    CHECK = 2
    BACKGROUND = 3
    """Whatever can wait until nothing else does, such as checking old decisions again."""


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One request, as whoever schedules its rows sees it.

    `arrived` and `deadline` are readings of the service's clock; what is patient arrives anew with each of its asks.
    `rows_left`: most rows that it may still ask for; what has least left goes first. A job never changes hands:
    cancelling what awaits its rows drops them. `caller` is the tenant, whose jobs share the device fairly with others'.
    """

    arrived: float
    caller: str = ANYONE.tenant
    deadline: float | None = None
    rows_left: int = 1
    background: bool = False

    def priority(self, usual: Priority) -> Priority:
        """The class of its rows."""
        return Priority.BACKGROUND if self.background else usual


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """What one forward of the untouched input gave: its row, the decision, its maps, and the attention if asked for.

    `attention_is_uniform`: whether all its attention is uniform up to rounding. `half_way_gradient` [n], only where it
    was asked for and could be had: the gradient of the margin half-way between the input and the input with every unit
    masked, times the way from each unit's masked embeddings to its own; signed, in log-odds, a first guess at the
    effects.
    `layers` [L, T, T], attention fused over heads, only where a map is made of it off the device. `missing`: maps that
    were asked for and could not be made.
    """

    row: RowResult
    decision: Decision
    maps: tuple[UnitMap, ...]
    attention: AttentionTensor | None
    attention_is_uniform: bool
    half_way_gradient: Floats | None = field(default=None, repr=False)
    layers: Floats | None = field(default=None, repr=False)
    missing: tuple[MissingMap, ...] = ()


FORWARDS_PER_STEP = 3
"""What a step of a gradient search costs: a backward is about two forwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What an adversary looks for: maps of a kind far from `original` [n], with the prediction of `logits` [C].

    `tolerance` is the largest total variation distance of predictions; `restarts` biases take `steps` steps of
    `step_size`, in logits of attention, each from a first bias of its own.
    """

    kind: MapKind
    original: Floats = field(repr=False)
    logits: Floats = field(repr=False)
    decision: Decision
    tolerance: float
    restarts: int
    steps: int
    step_size: float
    seed: int

    @property
    def rows(self) -> int:
        """What it takes, in forwards."""
        return FORWARDS_PER_STEP * self.restarts * self.steps


class Compute(Protocol):
    """Encodes, runs rows and captures. Cancelling an await drops what has not started.

    Raises BackendError, DeviceMemory, DeviceLost, DeadlineTooShort if the job's deadline passes while it waits.
    """

    async def encode(self, model: str, model_input: ModelInput) -> Encoding:
        """Tokenise and find the units; raises InvalidInput."""
        ...

    async def predict(self, job: Job, model: str, encoding: Encoding) -> RowResult:
        """Run the untouched input on the model as it is; company may change the last digits of its logits."""
        ...

    async def run(
        self, job: Job, model: str, encoding: Encoding, rows: list[Row], options: MapOptions
    ) -> list[RowResult]:
        """Run rows of one input; the results do not depend on what else is running."""
        ...

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
        """Run the untouched input once: its logits [C] become a decision, its attention becomes maps.

        Maps that are none of DEFAULT_MAPS take more turns on the device; `half_way` asks for the half-way gradient.
        What `decide` raises on purpose (RollcallError) is raised.
        """
        ...

    async def search(
        self,
        job: Job,
        model: str,
        encoding: Encoding,
        search: Search,
        options: MapOptions,
        stepped: Callable[[int], None],
    ) -> list[Floats]:
        """Biases [L, H, T] of attention logits that an adversary proposes, at most one for each restart.

        `stepped` hears of every step, in the rows that it is worth; all of them together are `search.rows`. What it
        raises ends the search.
        """
        ...

    def expected_seconds(self, model: str, rows: int, length: int) -> float:
        """How long so many rows of `length` tokens will take once they run; 0 while nothing is known."""
        ...

    def capture_seconds(self, model: str, length: int) -> float:
        """How long a capture of `length` tokens will take once it runs; 0 while nothing is known."""
        ...
