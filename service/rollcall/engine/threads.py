"""What a server's process is set to: how many threads compute, as cgroup and affinity allow, and when it pauses."""

from __future__ import annotations

import gc
import math
import os
import sys
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

CGROUP_CPU = Path("/sys/fs/cgroup/cpu.max")
SWITCH_SECONDS = 0.0005
"""How long one Python thread may keep others waiting: the device's thread takes the lock back after every operator."""

KERNEL_CACHE = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")
"""Compiled kernels that torch keeps, by shape of the batch, on a processor. Its own 1,024 take 100 MiB and more under
traffic of all lengths, and make nothing faster (measured: equal times with 8)."""


def available_cpus(cpu_max: Path = CGROUP_CPU) -> int:
    """CPUs that this process may use: its affinity, capped by the quota of its cgroup (version 2), at least 1."""
    cpus = len(os.sched_getaffinity(0))
    try:
        quota, period = cpu_max.read_text().split()
    except (OSError, ValueError):
        return cpus
    return cpus if quota == "max" else max(1, min(cpus, math.ceil(int(quota) / int(period))))


def configure_threads(processes: int = 1) -> int:
    """Leave one CPU to event loops and tokenizers; return the threads that compute. For a server's start only.

    `processes` divide the rest between them.

    Call it before the first model is loaded: the size of the cache of kernels is read when the first one is made.
    """
    os.environ.setdefault(*KERNEL_CACHE)
    threads = max(1, (available_cpus() - 1) // processes)
    torch.set_num_threads(threads)
    # The statistics of a look are small: BLAS threads would only wait for each other.
    threadpool_limits(limits=1, user_api="blas")
    sys.setswitchinterval(SWITCH_SECONDS)
    return threads


def spare_pauses() -> None:
    """Take what is imported out of the garbage collector's sight. For a server's start only, before a model is loaded.

    Half a million objects that never go: looking through them stops every thread for a tenth of a second and more, now
    and then; what comes after them, models included, takes two milliseconds (measured).
    """
    gc.collect()
    gc.freeze()
