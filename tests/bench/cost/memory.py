"""Peaks of this process's memory, as Linux keeps them."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Iterable
from pathlib import Path

PROCESS = Path("/proc/self")
MIB = 2**20


def peaks(action: Callable[[int], object], sizes: Iterable[int]) -> dict[int, float]:
    """MiB that an action of each size needs above what is held before the first of them.

    Sizes should rise: what libraries keep from one to the next counts for the next one, too.
    """
    held = _forget()
    found = {}
    for size in sizes:
        _forget()
        action(size)
        found[size] = (_peak() - held) / MIB
    return found


def _forget() -> int:
    """Give back what is free, forget the peak so far, and return the bytes that are held."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    (PROCESS / "clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    lines = (PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
