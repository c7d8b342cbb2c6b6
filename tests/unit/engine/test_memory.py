"""What is measured at load: the tensors that live at once, and what the system leaves free."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from rollcall.engine.engine import Engine
from rollcall.engine.memory import RESIDENT_PER_TENSOR_BYTE, Allowance, HostMeter, measure, meter_of
from rollcall.models.loading import load_model
from rollcall.scheduling.queue import Kind
from tests.tiny import make_model
from tests.unit.engine.fakes import FakeBackend, engine_of

MIB = 2**20


@pytest.mark.parametrize(
    ("act", "floats"),
    [
        (lambda: torch.zeros(1000), 1000),
        (lambda: torch.zeros(1000).view(10, 100).T, 1000),
        (lambda: [torch.zeros(1000).sum() for _ in range(5)], 1000 + 5),
        (lambda: torch.zeros(1000).add_(1), 1000),
        (lambda: torch.zeros(1000) + 1, 2000),
    ],
    ids=["one", "a view is no copy", "one after another", "in place", "two at once"],
)
def test_tensors_that_live_at_once_are_counted(act: Callable[[], object], floats: int) -> None:
    """Memory is counted once while it is held, and no longer."""
    most = HostMeter().peak(act) / RESIDENT_PER_TENSOR_BYTE / 4
    assert floats <= most <= floats + 5


def test_what_was_there_before_is_not_counted() -> None:
    """Weights are no part of what a row takes."""
    weights = torch.ones(10_000)
    assert HostMeter().peak(lambda: weights.view(100, 100).sum()) < 100


def test_the_least_of_machine_and_cgroup_is_free(tmp_path: Path) -> None:
    """A container's limit counts, what it can give back at once does not; without a limit the machine counts."""
    meminfo, limit, used = (tmp_path / name for name in ("meminfo", "memory.max", "memory.current"))
    meminfo.write_text(f"MemTotal:  {2**30} kB\nMemAvailable:  {8 * 1024} kB\n")
    limit.write_text(f"{5 * MIB}\n")
    used.write_text(f"{3 * MIB}\n")
    (tmp_path / "memory.stat").write_text(f"anon 7\ninactive_file {MIB}\n")
    meter = HostMeter(cgroups=((limit, used, "inactive_file"),), meminfo=meminfo)
    assert meter.free() == 3 * MIB
    limit.write_text("max\n")
    assert meter.free() == 8 * MIB
    meminfo.unlink()
    assert meter.free() is None


def test_a_budget_is_a_power_of_two_shared_by_those_who_take_from_the_same() -> None:
    """Two starts with slightly different memory free cut the same rows alike; an operator's word is the last."""
    allowance = Allowance(share=0.5)
    assert allowance.budget(100 * MIB) == allowance.budget(90 * MIB) == 32 * MIB
    assert Allowance(share=0.5, sharers=2).budget(100 * MIB) == 16 * MIB
    assert Allowance(bytes=5).budget(100 * MIB) == 5
    assert allowance.budget(None) == math.inf
    assert allowance.budget(0) == 1


@dataclass(kw_only=True)
class Scripted:
    """A meter that says what it is told, and remembers how often it was asked to measure."""

    left: int
    takes: int = 1000
    measured: int = 0
    failures: list[Exception] = field(default_factory=list)

    def peak(self, act: Callable[[], object]) -> int:
        """Run it all the same."""
        self.measured += 1
        act()
        return self.takes

    def free(self) -> int:
        """What there is."""
        return self.left


def test_what_might_not_fit_is_not_tried() -> None:
    """Measuring must not be what a process dies of: the longest row is left alone where the shorter says so."""
    generous, tight = Scripted(left=10**9), Scripted(left=3_999)
    measure(engine_of(FakeBackend()), "m", generous)
    found = measure(engine_of(FakeBackend()), "m", tight)
    assert (generous.measured, tight.measured) == (6, 3)
    assert found.keys() == {Kind.PREDICTIONS, Kind.ROWS, Kind.CAPTURE}


def test_a_row_that_fails_at_load_is_no_point() -> None:
    """A device too small for the longest row serves shorter ones."""
    assert measure(engine_of(FakeBackend(failure=lambda: torch.OutOfMemoryError("no"))), "m", Scripted(left=1)) == {}


def test_a_real_model_takes_the_same_at_every_start(tmp_path: Path) -> None:
    """Counting is exact: the same rows are cut in the same places after a restart, and more words never take less."""
    load = make_model("bert", tmp_path)
    first, second = (
        measure(
            Engine(models={"m": load_model(load, device="cpu", dtype="float32", max_units=64)}), "m", meter_of("cpu")
        )
        for _ in range(2)
    )
    assert first == second
    assert first[Kind.CAPTURE].bytes(64) > first[Kind.ROWS].bytes(64) > first[Kind.PREDICTIONS].bytes(64) > 0
