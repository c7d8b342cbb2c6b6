"""The load benchmark runs against a real server, and its report holds what it promises; its times are nobody's test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import load


def test_the_load_benchmark_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Offered twice of what it can do, the server answers, refuses or lets deadlines pass, and nothing else."""
    numbers, page = tmp_path / "load.json", tmp_path / "load.md"
    little = ["--quick", "--mixes", "mixed", "--rates", "2", "--json", str(numbers), "--out", str(page)]
    assert load.main(little) == 0
    report = json.loads(numbers.read_text())
    assert report["problems"] == []
    assert set(report["pure"]) == {"predict", "explain"}
    (sweep,) = report["sweeps"]
    (point,) = sweep["points"]
    assert [part["kind"] for part in point["parts"]] == ["predict", "explain"]
    assert {code for part in point["parts"] for code in part["codes"]} <= {"OK", "UNAVAILABLE", "DEADLINE_EXCEEDED"}
    assert point["parts"][0]["offered_per_second"] > 0
    assert {"rollcall_requests_in_flight", "rollcall_queue_depth"} <= set(point["maxima"])
    assert len(report["pairs"]) == 1
    assert report["explanations"] >= report["texts"] > 0
    printed = capsys.readouterr()
    assert printed.out.startswith(page.read_text())
    assert "| goodput / capacity, mixed at 2 x capacity | at least 0.9 |" in printed.out
    assert "mixed at 2 x capacity" in printed.err


def test_help_says_what_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    """Its help names every option."""
    with pytest.raises(SystemExit):
        load.main(["--help"])
    told = capsys.readouterr().out
    options = ("--model", "--seconds", "--rates", "--mixes", "--deadline", "--clients", "--pairs")
    assert all(option in told for option in (*options, "--rest", "--json", "--out", "--quick"))
