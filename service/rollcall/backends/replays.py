"""Work on a device that is recorded once for each shape, and replayed from then on.

On CUDA a small batch is over long before Python has launched its kernels; a graph of them is launched at once. What is
recorded reads one buffer, into which the numbers of each call are copied in one transfer, and writes where it wrote
before: results are good until the next call. Everything that is not in the buffer must follow from the key.

Shapes are recorded when they are asked for again, and the least recently used are forgotten. Where recording fails the
work is done as usual, then and ever after.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch

from rollcall.backends.tensors import Packed
from rollcall.telemetry import logs

_log = logging.getLogger(__name__)

Tensor = torch.Tensor
T = TypeVar("T")
Compute = Callable[[Mapping[str, Tensor]], T]

RECORDED_AT = 2
"""The call of a shape that is recorded: one shape that never comes again is not worth it."""
MOST = 256
"""Shapes that are kept."""
MOST_COUNTED = 4096
"""Shapes that are counted."""


class Recorder(Protocol):
    """Records work on a device."""

    def record(self, act: Callable[[], T]) -> tuple[T, Callable[[], None]]:
        """Do something; what it gave, and what does it again into the very same tensors."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphRecorder:
    """Records CUDA graphs, which share the memory between their results."""

    device: torch.device
    pool: Any = field(default_factory=torch.cuda.graph_pool_handle)

    def record(self, act: Callable[[], T]) -> tuple[T, Callable[[], None]]:
        """Capture, and run what was captured."""
        with torch.cuda.device(self.device):
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self.pool):
                found = act()
            graph.replay()
        return found, graph.replay


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One recorded piece of work: its numbers, what it gave, and how to do it again."""

    buffer: Tensor = field(repr=False)
    found: Any = field(repr=False)
    again: Callable[[], None]


@dataclass(slots=True, kw_only=True)
class Call:
    """One call of a shape: its stages in turn. Later ones may use what the functions of earlier ones kept."""

    device: str
    recorder: Recorder | None = None
    """Set where this call is to be recorded."""
    recorded: list[Stage] = field(default_factory=list)
    replayed: Iterator[Stage] | None = None

    def stage(self, numbers: Packed, compute: Compute[T]) -> T:
        """Give what `compute` makes of the numbers on the device."""
        if self.replayed is not None:
            stage = next(self.replayed)
            numbers.copy_to(stage.buffer)
            stage.again()
            again: T = stage.found
            return again
        buffer = numbers.to(self.device)
        tensors = numbers.views(buffer)
        if self.recorder is None:
            return compute(tensors)
        found, replay = self.recorder.record(lambda: compute(tensors))
        self.recorded.append(Stage(buffer=buffer, found=found, again=replay))
        return found


@dataclass(slots=True, kw_only=True)
class Replays:
    """The shapes recorded on one device; without a recorder everything is done as usual."""

    device: str
    recorder: Recorder | None = None
    most: int = MOST
    kept: OrderedDict[Hashable, list[Stage]] = field(default_factory=OrderedDict)
    _asked: Counter[Hashable] = field(default_factory=Counter)
    _refused: set[Hashable] = field(default_factory=set)

    @contextmanager
    def call(self, key: Hashable) -> Iterator[Call]:
        """Begin a call of a shape. It must run all of its stages, in the same order every time."""
        if self.recorder is None or key in self._refused:
            yield Call(device=self.device)
            return
        if key in self.kept:
            self.kept.move_to_end(key)
            yield Call(device=self.device, replayed=iter(self.kept[key]))
            return
        call = Call(device=self.device, recorder=self.recorder if self._is_due(key) else None)
        yield call
        if call.recorded:
            self.kept[key] = call.recorded
            while len(self.kept) > self.most:
                self.kept.popitem(last=False)

    def run(self, key: Hashable, numbers: Packed, compute: Compute[T]) -> T:
        """Make a call of one stage; where recording fails the work is done as usual."""
        return self.attempt(key, lambda call: call.stage(numbers, compute))

    def attempt(self, key: Hashable, act: Callable[[Call], T]) -> T:
        """Do what runs the stages of a call; where recording fails it is done again as usual, and never recorded."""
        try:
            with self.call(key) as call:
                return act(call)
        except RuntimeError as error:
            if call.recorder is None or isinstance(error, torch.OutOfMemoryError):
                raise
            self._refused.add(key)
            logs.event(_log, logging.WARNING, "shape_not_recorded", error=error)
        with self.call(key) as call:
            return act(call)

    def _is_due(self, key: Hashable) -> bool:
        self._asked[key] += 1
        if len(self._asked) > MOST_COUNTED:
            self._asked = Counter({key: self._asked[key]})
        return self._asked[key] >= RECORDED_AT


def replays_on(device: str) -> Replays:
    """What records on a device: CUDA graphs, or nothing."""
    if not device.startswith("cuda"):
        return Replays(device=device)
    return Replays(device=device, recorder=GraphRecorder(device=torch.device(device)))
