"""The soak runs against a real server, and fails for each thing that it is there to find."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.bench import soak
from tests.bench.growth import Growth
from tests.bench.openloop import make_texts, timetable
from tests.bench.process import Sample, look
from tests.bench.soak_report import Findings
from tests.bench.visits import MANNERS, Manner, Outcome, visits

CLEAN: dict[str, Any] = {
    "warm": [Sample(at=float(at), memory_mib=100.0, threads=10, descriptors=12) for at in range(9)],
    "growth": Growth.FLAT,
    "left": {},
    "started": 3.0,
    "ended": Counter({"OK": 2, "CANCELLED": 1}),
    "outcomes": [Outcome(manner=Manner.POLITE, code="OK", fine=True)],
}
LEAK = [Sample(at=float(at), memory_mib=100.0, threads=10 + at, descriptors=12 + at) for at in range(9)]


def test_the_soak_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Clients that leave, hurry, err and hang up get what they should, and leave nothing behind."""
    numbers, page = tmp_path / "soak.json", tmp_path / "soak.md"
    assert soak.main(["--quick", "--json", str(numbers), "--out", str(page)]) == 0
    report = json.loads(numbers.read_text())
    assert report["problems"] == []
    assert set(report["outcomes"]) == {manner.value for manner in Manner}
    assert report["outcomes"]["polite"]["OK"] > 0
    assert report["growth"] in {growth.value for growth in Growth}
    assert len(report["samples"]) > 20
    assert capsys.readouterr().out.startswith(page.read_text())


def test_a_clean_soak_has_no_problems() -> None:
    """Nothing is made up."""
    assert Findings(**CLEAN).problems(memory_counts=True) == []


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        ({"growth": Growth.GROWS}, ["memory: grows, bound 64 MiB per hour"]),
        ({"growth": Growth.CANNOT_TELL}, ["memory: cannot tell, bound 64 MiB per hour"]),
        ({"warm": LEAK}, ["threads: at least 6 more at the end", "file descriptors: at least 6 more at the end"]),
        (
            {"outcomes": [Outcome(manner=Manner.WRONG, code="OK", fine=False)]},
            ["1 times wrong client: OK"],
        ),
        ({"ended": Counter({"OK": 2, "INTERNAL": 1})}, ["the server counts 1 times INTERNAL"]),
        ({"ended": Counter({"OK": 2})}, ["3 calls started, 2 ended"]),
        ({"left": {"rollcall_queue_depth": 2.0}}, ["rollcall_queue_depth stays at 2"]),
    ],
)
def test_each_thing_that_is_wrong_is_named(change: dict[str, Any], problems: list[str]) -> None:
    """Whoever reads the report knows what to look for."""
    assert Findings(**(CLEAN | change)).problems(memory_counts=True) == problems


def test_memory_of_a_quick_run_is_not_judged() -> None:
    """Seconds cannot tell."""
    assert Findings(**(CLEAN | {"growth": Growth.CANNOT_TELL})).problems(memory_counts=False) == []


def test_all_manners_come_and_always_at_the_same_time() -> None:
    """A soak can be repeated."""
    plan = timetable(share=0.2, rate=100.0, seconds=20.0, texts=make_texts(50), seed=1)
    paid = visits(plan, seed=2)
    shares = {manner: count / len(paid) for manner, count in Counter(visit.manner for visit in paid).items()}
    assert shares == pytest.approx(MANNERS, abs=0.02)
    assert paid == visits(plan, seed=2)
    assert [visit.at for visit in paid] == [due.at for due in plan]


def test_a_process_can_be_looked_at() -> None:
    """This one, for instance."""
    seen = look(os.getpid(), 1.0)
    assert seen.memory_mib > 10
    assert seen.threads >= 1
    assert seen.descriptors >= 3
