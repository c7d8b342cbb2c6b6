"""How much memory a device has free, and how much of it each kind of row takes: measured, at load, on the device.

On CUDA torch's allocator keeps the highest use. On a processor nobody does in a way that can be relied on: the growth
of the resident memory differs by half from one run to the next and needs privileges. There we count the bytes of all
tensors that live at the same time, the same numbers every time, and double them for what the allocator and the kernels
hold beside them (ADR 10).
"""

from __future__ import annotations

import ctypes
import gc
import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rollcall.backends.base import CaptureRequest, variants
from rollcall.domain.decision import Decision
from rollcall.domain.errors import BackendError, DeviceMemory
from rollcall.domain.maps import DEFAULT_MAPS, MapOptions
from rollcall.domain.rows import AttentionEdit, Row
from rollcall.engine.engine import Engine
from rollcall.scheduling.memory import RowMemory
from rollcall.scheduling.queue import Kind

SHARES = (0.25, 0.5)
"""Lengths that are tried, as shares of the most tokens that the model reads. The longest one itself would double the
time that it takes, and might not fit; reckoned from these two its rows come out 3 % low, its captures 8 % (two models,
the worse one)."""
RESIDENT_PER_TENSOR_BYTE = 2.0
"""Growth of the resident memory beside the bytes in tensors, BERT-base at 128 to 512 tokens: 1.5 to 2.2 times."""
CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current"), "inactive_file"),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
        "total_inactive_file",
    ),
)
"""Limit, use, and the name of what can be reclaimed at once, in memory.stat beside them: cgroup version 2, then 1."""
MEMINFO = Path("/proc/meminfo")


class Meter(Protocol):
    """Measures one kind of device."""

    def peak(self, act: Callable[[], object]) -> int:
        """Run `act`; the most bytes that it held at once. Raises what `act` raises."""
        ...

    def free(self) -> int | None:
        """Bytes that could be allocated now; None where the system does not tell."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMeter:
    """A processor: tensors of this thread; free is what cgroup and machine leave, for all processes together."""

    cgroups: tuple[tuple[Path, Path, str], ...] = CGROUPS
    meminfo: Path = MEMINFO

    def peak(self, act: Callable[[], object]) -> int:
        """Most bytes in tensors made by `act`, doubled."""
        with _LiveTensors() as living:
            act()
        return int(living.most * RESIDENT_PER_TENSOR_BYTE)

    def free(self) -> int | None:
        """The least of what the machine has available and what the cgroup's limit leaves."""
        try:
            available = _table(self.meminfo)["MemAvailable:"] * 1024
            return max(0, min([available, *(left for each in self.cgroups if (left := _left(*each)) is not None)]))
        except (OSError, ValueError, KeyError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaMeter:
    """A CUDA device, by torch's allocator."""

    device: str

    def peak(self, act: Callable[[], object]) -> int:
        """Growth of the bytes in tensors."""
        torch.cuda.synchronize(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        act()
        torch.cuda.synchronize(self.device)
        return max(0, int(torch.cuda.max_memory_allocated(self.device)) - int(before))

    def free(self) -> int:
        """What the device has free, and what the allocator holds without using it."""
        unused = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return int(torch.cuda.mem_get_info(self.device)[0]) + int(unused)


def meter_of(device: str) -> Meter:
    """The meter of a device."""
    return CudaMeter(device=device) if device.startswith("cuda") else HostMeter()


TRIM: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""Returns freed memory to the system; only glibc has it."""


def give_back() -> None:
    """Free what nobody can reach any more, and return it to device and system, where other processes may need it.

    glibc keeps freed memory of small pieces, of which building a graph leaves hundreds of megabytes.
    """
    gc.collect()  # modules and their hooks refer to each other
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if TRIM is not None:
        TRIM(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """How much one batch may take: `share` of what is free, or `bytes` whatever is; `sharers` take from the same."""

    share: float = 0.5
    bytes: int | None = None
    sharers: int = 1

    def budget(self, free: int | None) -> float:
        """Bytes of one batch: the largest power of two within the share; infinite where nobody tells what is free.

        Two starts of the same server find slightly different numbers free, and should cut the same rows alike.
        """
        if self.bytes is not None:
            return self.bytes
        return math.inf if free is None else 2.0 ** math.floor(math.log2(max(1.0, free * self.share / self.sharers)))


def measure(engine: Engine, model: str, meter: Meter) -> dict[Kind, RowMemory]:
    """What one row of each kind takes, by single rows of a few lengths; counterfactuals by a permuted one.

    That is the dearest of the rows that decide a flag. Those of thorough checks, all edits in one batch, take up to 1.4
    times as much (the demo model at 256 tokens).

    A length is not tried where the shorter one says that it might not fit, and does not count where it fails. Raises
    DeviceLost.
    """
    backend = engine.models[model].backend
    shares = (1.0,) if backend.shape.fixed_length else SHARES
    lengths = sorted({max(3, math.ceil(share * backend.shape.max_tokens)) for share in shares})
    found: dict[Kind, list[tuple[int, int]]] = {}
    for length in lengths:
        for kind, act in _acts(engine, model, length).items():
            before, free = found.setdefault(kind, []), meter.free()
            # At most with the square of the length: twice the tokens take no more than four times as much.
            if before and free is not None and before[-1][1] * (length / before[-1][0]) ** 2 > free:
                continue
            try:
                before.append((length, meter.peak(act)))
            except (BackendError, DeviceMemory):
                continue
    return {kind: RowMemory.fit(points) for kind, points in found.items() if points}


def _acts(engine: Engine, model: str, length: int) -> dict[Kind, Callable[[], object]]:
    """One row of each kind that the model runs."""
    loaded = engine.models[model]
    encoding = loaded.backend.synthetic(length)
    permuted = Row(edit=AttentionEdit.PERMUTED, seed=1, readout=True)
    request = CaptureRequest(
        maps=frozenset(DEFAULT_MAPS).intersection(loaded.maps),
        options=MapOptions(),
        decide=lambda logits: Decision(task=loaded.backend.task, target=int(np.argmax(logits))),
        attention=None,
    )
    predict = {Kind.PREDICTIONS: lambda: engine.run(model, variants(encoding, [Row()]), stock=True)}
    explain: dict[Kind, Callable[[], object]] = {
        Kind.ROWS: lambda: engine.run(model, variants(encoding, [permuted])),
        Kind.CAPTURE: lambda: engine.capture(model, encoding, request),
    }
    return {**predict, **({} if loaded.failed else explain)}


class _LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch annotates no __init_subclass__
    """Counts the bytes of what torch's operators return while it is entered: `now`, and the `most` there was at once.

    Agrees with the peak of torch's own profiler to a millionth, which takes longer and writes to stderr.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # nor this
        self.most = self.now = 0
        self._living: dict[int, int] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the operator returns
        """Run an operator and count the storages that it made."""
        del types
        result = func(*args, **(kwargs or {}))
        given = {tensor.untyped_storage().data_ptr() for tensor in _tensors((args, kwargs))}
        for storage in (tensor.untyped_storage() for tensor in _tensors(result)):
            key = storage.data_ptr()
            if storage.nbytes() and key not in given and key not in self._living:
                self._living[key] = storage.nbytes()
                self.now += storage.nbytes()
                self.most = max(self.most, self.now)
                weakref.finalize(storage, self._gone, key)
        return result

    def _gone(self, key: int) -> None:
        self.now -= self._living.pop(key)


def _tensors(tree: object) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _left(limit: Path, used: Path, reclaimable: str) -> int | None:
    """What a cgroup's limit leaves; None where there is no such cgroup, or no limit."""
    if not limit.is_file() or (most := limit.read_text().strip()) == "max":
        return None
    return int(most) - int(used.read_text()) + _table(used.parent / "memory.stat").get(reclaimable, 0)


def _table(path: Path) -> dict[str, int]:
    """Read a file of lines that start with a name and a number."""
    return {name: int(value) for name, value, *_ in (line.split() for line in path.read_text().splitlines())}
