"""How many threads compute: a container is believed, the host is not."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from rollcall.engine.threads import available_cpus, configure_threads, spare_pauses

HOST = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("quota", "cpus"),
    [
        ("max 100000", HOST),
        ("100000 100000", 1),
        ("50000 100000", 1),
        ("1000 100000", 1),
        ("100000000 100000", HOST),
        ("nonsense", HOST),
        ("", HOST),
    ],
)
def test_the_containers_quota_counts(tmp_path: Path, quota: str, cpus: int) -> None:
    """A quota below the host's CPUs is what there is, rounded up; without a readable one the affinity counts."""
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    assert available_cpus(file) == cpus


def test_no_container_is_no_quota(tmp_path: Path) -> None:
    """Outside of a container there is no such file."""
    assert available_cpus(tmp_path / "cpu.max") == HOST


def test_one_cpu_is_left_to_everything_else() -> None:
    """Computing leaves a CPU to the event loop where there are several, and the statistics do not spread."""
    threads, interval = torch.get_num_threads(), sys.getswitchinterval()
    sys.setswitchinterval(0.005)  # as Python starts; other tests may have run what a server runs
    with threadpool_limits(limits=None):
        try:
            assert configure_threads(processes=1000) == 1 == torch.get_num_threads()
            assert configure_threads() == max(1, available_cpus() - 1) == torch.get_num_threads()
            assert all(pool["num_threads"] == 1 for pool in threadpool_info() if pool["user_api"] == "blas")
            assert sys.getswitchinterval() < 0.005
        finally:
            torch.set_num_threads(threads)
            sys.setswitchinterval(interval)


def test_what_is_imported_is_not_looked_through_again() -> None:
    """A full collection looks at what came after the start, and still frees of that what nobody can reach."""

    class Model:
        """It refers to itself, as modules and their hooks do."""

    before = len(gc.get_objects())
    spare_pauses()
    try:
        model = Model()
        vars(model)["itself"] = model
        gone = weakref.ref(model)
        assert len(gc.get_objects()) < before / 10
        del model
        gc.collect()
        assert gone() is None
    finally:
        gc.unfreeze()


SHAPES = """
from pathlib import Path
import numpy as np
from rollcall.backends.base import variants
from rollcall.demo import model_directory
from rollcall.domain.rows import Row
from rollcall.engine.threads import configure_threads
from rollcall.models.loading import load_model

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

configure_threads()
backend = load_model(model_directory()).backend
rng = np.random.default_rng(0)
for batch in range(700):
    if batch == 100:
        before = resident()
    encoding = backend.synthetic(int(rng.integers(6, 60)))
    backend.run(variants(encoding, [Row()] * int(rng.integers(1, 512 // encoding.length + 1))))
print(resident() - before)
"""


@pytest.mark.timeout(120)
def test_batches_of_all_shapes_do_not_fill_the_memory() -> None:
    """Traffic of every length leaves nothing behind: kernels are not kept for each shape that has ever been seen."""
    done = subprocess.run([sys.executable, "-c", SHAPES], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 25
