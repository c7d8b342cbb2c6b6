"""The benchmark of accelerators runs on a processor, too, and its page holds what it promises."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.accelerator import __main__ as command
from tests.bench.results import RESULTS


def test_the_benchmark_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Latency, throughput of one process and of two, and every self-test are on the page; numbers lie beside it."""
    before = sorted(RESULTS.iterdir())
    told = ["--out", str(tmp_path / "page.md"), "--json", str(tmp_path / "page.json")]
    quick = ["--device", "cpu", "--dtype", "float32", "--models", "tiny", "--quick"]
    assert command.main([*quick, "--anew", *told]) == 0
    assert sorted(RESULTS.iterdir()) == before
    page = capsys.readouterr().out
    assert page.startswith((tmp_path / "page.md").read_text())
    assert "|  | tiny, float32 |" in page
    assert "| own_map_reproduces | passed" in page
    (found,) = json.loads((tmp_path / "page.json").read_text())["found"]
    assert found["rows"] > 30
    assert set(found["stages_ms"]) == {"encode", "capture", "look", "witness", "decide"}
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p99"]
    assert [(each["processes"], each["callers"]) for each in found["saturated"]] == [(1, 2), (2, 8)]
    assert all(each["rows_per_second"] > each["explanations_per_second"] > 0 for each in found["saturated"])
    assert found["kernels"] == []  # no device beside the processor


def test_help_says_what_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """Its help names every option."""
    with pytest.raises(SystemExit):
        command.main(["--help"])
    assert {"--device", "--dtype", "--models", "--processes", "--anew"} <= set(capsys.readouterr().out.split())
