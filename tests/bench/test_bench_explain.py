"""The benchmark runs, and its table holds what it promises; the numbers themselves are nobody's test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.bench import bench_explain


def test_the_benchmark_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever wants to know what an explanation costs here gets a table, and all numbers in a file."""
    file, threads = tmp_path / "numbers.json", str(torch.get_num_threads())
    least = ["--lengths", "8", "--texts", "1", "--repeats", "1", "--threads", threads]
    assert bench_explain.main([*least, "--json", str(file)]) == 0
    printed = capsys.readouterr()
    assert "| measure | 8 tokens |" in printed.out
    assert "explanation / its rows on the stock model" in printed.out
    assert "repeat 1 of 1" in printed.err
    (found,) = json.loads(file.read_text())["lengths"]
    assert found["rows"] > 30
    assert set(found["stages_ms"]) == {"encode", "capture", "look", "witness", "decide"}


def test_help_says_what_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """Its help names every option."""
    with pytest.raises(SystemExit):
        bench_explain.main(["--help"])
    told = capsys.readouterr().out
    assert all(option in told for option in ("--json", "--memory", "--lengths", "--texts", "--repeats", "--threads"))
