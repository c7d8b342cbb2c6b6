"""The benchmark of recording measures what it says, on a log that holds what was recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rollcall.domain.recording import Durability
from tests.bench import records
from tests.bench.records import TARGET_RATE, Spread, Steady, Sustained, main, page, sustain
from tests.bench.results import origin
from tests.unit.audit import samples


async def test_what_is_counted_is_in_the_log(tmp_path: Path) -> None:
    """Strict answers wait for the log: as many are acknowledged as it has, none waits, and each took time."""
    found = await sustain(tmp_path / "log", Durability.STRICT, 0.3)
    assert found.acknowledged == found.logged > 0
    assert (found.waiting, found.each.count > 0) == (0, True)
    assert 0 < found.each.p50 <= found.each.p99
    assert found.processor_seconds > 0


def spread(p99: float) -> Spread:
    """Make a spread."""
    return Spread(count=10, p50=p99 / 2, p99=p99)


@pytest.mark.parametrize(
    ("logged", "p99", "words"), [(250.0, 0.014, ["met", "met"]), (150.0, 0.016, ["missed", "missed"])]
)
def test_the_page_says_whether_targets_are_met(logged: float, p99: float, words: list[str]) -> None:
    """By what reached the log, and by what lies beyond the flush; a miss is a number, and the page says it."""
    sustained = Sustained(
        durability="durable", acknowledged=300.0, logged=logged, waiting=3, processor_seconds=0.002, each=spread(0.02)
    )
    steady = Steady(rate=10.0, durability="durable", processor_seconds=0.002, each=spread(p99), flush=spread(0.01))
    run = origin("tests.bench.records", [], threads=1, note="Busy.")
    told = page(run, samples.accepted(), [sustained], [steady])
    assert f"{logged:.0f} records/s sustained with `durable` (target {TARGET_RATE:.0f}: {words[0]})" in told
    assert f"at 10 records/s ({words[1]})" in told


def test_a_run_leaves_a_page_and_its_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short, but all of it."""
    monkeypatch.setattr(records, "RATES", (20.0,))
    assert main(["--seconds", "0.2", "--work", str(tmp_path), "--out", str(tmp_path / "page.md")]) == 0
    numbers = json.loads((tmp_path / "page.json").read_text())
    assert {each["durability"] for each in numbers["sustained"]} == {"durable", "strict"}
    assert [each["each"]["count"] for each in numbers["steady"]] == [4, 4]
    assert all(each["processor_seconds"] > 0 for each in numbers["steady"])
    assert all(each["flush"]["count"] > 0 for each in numbers["steady"])
    assert (tmp_path / "page.md").read_text().startswith("# Recording answers, ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.json", "page.md"]
