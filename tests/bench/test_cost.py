"""The benchmark runs, and its page holds what it promises; the numbers themselves are nobody's test."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.bench.cost import __main__ as command
from tests.bench.cost.memory import peaks
from tests.bench.cost.models import PLANS, SIZES
from tests.bench.cost.report import Report
from tests.bench.cost.sweeps import AtBatch, AtLength
from tests.bench.cost.whole import Whole
from tests.bench.results import RESULTS, Origin
from tests.bench.spread import Spread

ORIGIN = Origin(date="2026-01-02", command="measure", code={"commit": "abc"}, machine={"cores": "2"})
ONE = Spread(middle=1.0, low=0.9, high=1.1)
WHOLE = Whole(
    size="12x768",
    tokens=128,
    rows=66,
    looks=2,
    stock_batch=4,
    explanation_ms=ONE,
    wall_ms=ONE,
    whole_ratio=ONE,
    one_by_one_ratio=ONE,
    one_by_one_checks_ratio=ONE,
    fan_out_efficiency=ONE,
    statistics_ms_per_look=ONE,
    statistics_share=ONE,
    last_layer_ratio=Spread(middle=150.0, low=140.0, high=160.0),
    last_layer_error=1e-6,
    stages_ms={"look": ONE},
    stages_share={"look": Spread(middle=0.75, low=0.7, high=0.8)},
    efficiency_by_row={"uniform": ONE},
)


def at_length(tokens: int, peak: float) -> AtLength:
    """Find the same at every length, memory apart."""
    return AtLength(
        size="12x768",
        tokens=tokens,
        units=64,
        rows=66,
        times=2,
        explanation_ms=Spread(middle=660.0, low=600.0, high=700.0),
        over_reference=None,
        whole_ratio=ONE,
        statistics_share=ONE,
        peak_mib=peak,
    )


def at_batch(size: str, batch: int) -> AtBatch:
    """Find the same for every batch."""
    return AtBatch(size=size, tokens=32, batch=batch, row_ms=ONE, over_one=ONE, stock_ratio=ONE)


def test_the_benchmark_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever wants to know what an explanation costs here gets a page, and all numbers in a file."""
    before, threads = sorted(RESULTS.iterdir()), str(torch.get_num_threads())
    told = ["--out", str(tmp_path / "page.md"), "--json", str(tmp_path / "page.json")]
    assert command.main(["--quick", "--sizes", "demo", "--threads", threads, *told]) == 0
    assert sorted(RESULTS.iterdir()) == before  # a quick try leaves nothing among the results
    printed = capsys.readouterr()
    assert "| measure | demo, 8 tokens |" in printed.out
    assert "making and proving" in printed.err
    assert printed.out.startswith((tmp_path / "page.md").read_text())
    numbers = json.loads((tmp_path / "page.json").read_text())
    assert numbers["origin"]["command"].endswith(f"tests.bench.cost --quick --sizes demo --threads {threads}")
    (whole,) = numbers["whole"]
    assert whole["rows"] > 30
    assert set(whole["stages_ms"]) == {"encode", "capture", "look", "witness", "decide"}
    assert 0.9 < sum(share["middle"] for share in whole["stages_share"].values()) < 1.01
    assert [each["tokens"] for each in numbers["lengths"]] == [8, 16]
    assert [each["units"] for each in numbers["units"]] == [4, 14]
    assert [(each["max_rows"], each["rows"] <= 30) for each in numbers["rows"]] == [(30, True)]
    assert [each["batch"] for each in numbers["batches"]] == [1, 2]
    assert numbers["batches"][0]["over_one"]["middle"] == 1.0


def test_targets_are_judged() -> None:
    """What is missed is said to be missed, with its number."""
    page = Report(origin=ORIGIN, whole=(WHOLE,), lengths=(at_length(512, 1024.0),)).as_markdown()
    assert "best batches | 12x768 | 128 | at most 1.2 | 1.00 [0.90, 1.10] | met |" in page
    assert "above the weights, GiB | 12x768 | 512 | below 2 | 1.00 | met |" in page
    slow = replace(WHOLE, whole_ratio=Spread(middle=1.25, low=1.2, high=1.3))
    page = Report(origin=ORIGIN, whole=(slow,), lengths=(at_length(512, 2048.0),)).as_markdown()
    assert "at most 1.2 | 1.25 [1.20, 1.30] | **not met** |" in page
    assert "below 2 | 2.00 | **not met** |" in page


def test_the_page_says_where_the_time_goes() -> None:
    """Stages come with their share; sizes stand side by side; what one lacks is a dash, not a zero."""
    other = replace(WHOLE, size="demo", stages_ms={"decide": ONE}, stages_share={"decide": ONE})
    page = Report(origin=ORIGIN, whole=(WHOLE, other)).as_markdown()
    assert "| stage | 12x768, 128 tokens | demo, 128 tokens |" in page
    assert "| look | 1.0 ms, 75.0% | — |" in page
    assert "| decide | — | 1.0 ms, 100.0% |" in page
    assert "Cost against length" not in page
    assert "Cost against length" in Report(origin=ORIGIN, lengths=(at_length(16, 5.0),)).as_markdown()
    assert (
        "| 12x768 | 16 | 64 | 66 | 2 | 660 [600, 700] | 10.0 | — |"
        in Report(origin=ORIGIN, lengths=(at_length(16, 5.0),)).as_markdown()
    )


def test_parts_of_a_run_add_up() -> None:
    """A run that is cut leaves what was measured until then."""
    first, second = Report(origin=ORIGIN, whole=(WHOLE,)), Report(origin=ORIGIN, batches=(at_batch("demo", 1),))
    both = first.plus(second)
    assert (both.whole, both.batches, both.lengths) == ((WHOLE,), (at_batch("demo", 1),), ())
    assert json.loads(json.dumps(both.as_json()))["batches"][0]["batch"] == 1


def test_peaks_are_what_was_needed_for_a_moment() -> None:
    """Memory that is given back before the action ends counts; what was held before does not."""
    held = np.ones(64 * 2**20, dtype=np.uint8)
    found = peaks(lambda mib: np.ones(mib * 2**20, dtype=np.uint8).sum(), [16, 128])
    assert held.sum() == 64 * 2**20
    assert found[16] == pytest.approx(16, abs=8)
    assert found[128] == pytest.approx(128, abs=8)


def test_every_size_has_a_plan() -> None:
    """The three sizes that the design names, each at the lengths that its targets are about."""
    assert list(SIZES) == list(PLANS) == ["demo", "6x384", "12x768"]
    assert all({32, 128} <= set(plan.lengths) and {32, 128, 512} <= set(plan.sweep) for plan in PLANS.values())


def test_help_says_what_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """Its help names every option."""
    with pytest.raises(SystemExit):
        command.main(["--help"])
    told = capsys.readouterr().out
    assert all(option in told for option in ("--json", "--out", "--note", "--sizes", "--threads", "--quick"))
