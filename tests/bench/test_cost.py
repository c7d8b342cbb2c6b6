"""The benchmark of costs runs, and its page holds what it promises; the numbers themselves are nobody's test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.bench.cost import __main__ as cost
from tests.bench.cost.memory import MIB, peaks
from tests.bench.cost.models import PLANS, SIZES
from tests.bench.results import RESULTS

FULL_TITLES = (
    "An explanation and its rows on the stock model",
    "Over length",
    "Over units: one text, grouped",
    "Over the rows that it may run",
    "A row of a check, over the size of its batch",
    "Stages, and rows by kind",
)


def test_the_benchmark_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever wants to know what an explanation costs here gets a page, and all numbers in a file."""
    before = sorted(RESULTS.iterdir())
    page, threads = tmp_path / "cost.md", str(torch.get_num_threads())
    told = ["--out", str(page), "--json", str(tmp_path / "cost.json")]
    assert cost.main(["--quick", "--sizes", "demo", "--threads", threads, *told]) == 0
    printed = capsys.readouterr()
    assert printed.out.rstrip("\n") == page.read_text().rstrip("\n")
    assert [line[3:] for line in page.read_text().splitlines() if line.startswith("## ")] == list(FULL_TITLES)
    numbers = json.loads((tmp_path / "cost.json").read_text())
    (whole,) = numbers["whole"]
    assert whole["rows"] > 30
    assert set(whole["stages_ms"]) == {"encode", "capture", "look", "witness", "decide"}
    assert [each["tokens"] for each in numbers["lengths"]] == [8, 16]
    assert [each["units"] for each in numbers["units"]] == [4, 14]
    assert [each["max_rows"] for each in numbers["rows"]] == [30]
    assert [each["batch"] for each in numbers["batches"]] == [1, 2]
    assert numbers["origin"]["machine"]["torch"] == torch.__version__
    assert sorted(RESULTS.iterdir()) == before  # a quick try leaves nothing among the results


def test_every_size_has_a_plan() -> None:
    """A size that can be asked for can be measured, from 16 tokens up to 512."""
    assert SIZES.keys() == PLANS.keys()
    assert all((plan.sweep[0], plan.sweep[-1]) == (16, 512) for plan in PLANS.values())


def test_a_peak_is_what_was_held_at_once() -> None:
    """Memory that is given back between two moments counts once."""
    found = peaks(lambda mib: [torch.ones(mib * MIB // 4).sum() for _ in range(3)], [32, 64])
    assert 30 <= found[32] <= 50
    assert 62 <= found[64] <= 90


def test_help_says_what_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    """Its help names every option."""
    with pytest.raises(SystemExit):
        cost.main(["--help"])
    told = capsys.readouterr().out
    assert all(option in told for option in ("--sizes", "--threads", "--quick", "--out", "--json", "--note"))
