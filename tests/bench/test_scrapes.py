"""The benchmark of scrapes runs, and counts what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import scrapes


def test_it_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two short turns: latencies of both, of a server whose scrape holds all its models."""
    monkeypatch.setattr(scrapes, "MODELS", 2)
    numbers, page = tmp_path / "scrapes.json", tmp_path / "scrapes.md"
    assert scrapes.main(["--turns", "2", "--json", str(numbers), "--out", str(page)]) == 0
    report = json.loads(numbers.read_text())
    assert len(report["scrapes"]) >= 3
    assert report["lines"] > 600
    for kinds in report["latencies"].values():
        assert len(kinds["explain"]) >= 5
        assert all(0 < seconds < 30 for latencies in kinds.values() for seconds in latencies)
    assert capsys.readouterr().out.startswith(page.read_text())
