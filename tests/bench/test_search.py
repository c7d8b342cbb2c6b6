"""The measurement of searches measures what it says, on a small log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rollcall.audit.database import FILE
from rollcall.audit.keys import signing_key
from rollcall.audit.verify import verify
from rollcall.console.pages.finding import SAVED
from tests.bench import search
from tests.bench.search import HARDER, ORIGIN, fill, main


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fill a small log."""
    directory = tmp_path_factory.mktemp("search")
    assert fill(directory, 1_200) > 0
    return directory


def test_the_log_is_one_that_holds(work: Path) -> None:
    """Every column of every table; with reviews, holds and erasures in it."""
    report = verify(work, key=signing_key(work, None, ORIGIN).verifier)
    assert report.problems == []
    assert (work / FILE).stat().st_size > 1_000_000


def test_every_question_is_asked_and_the_exit_code_tells(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that the console has as links, and the harder ones; with the numbers that the log was filled for."""
    monkeypatch.setattr(search, "REPEATS", 2)
    monkeypatch.setattr(search, "REPEATS_OF_PAGES", 1)
    monkeypatch.setattr(search, "GOAL_SECONDS", 60.0)
    assert main(["--records", "1200", "--work", str(work), "--out", str(tmp_path)]) == 0
    (page,), (numbers,) = tmp_path.glob("*.md"), tmp_path.glob("*.json")
    told = {each["name"]: each for each in json.loads(numbers.read_text())["measured"]}
    assert told.keys() == dict(SAVED).keys() | HARDER.keys()
    counts = {name: told[name]["found"] for name in ("Everything", "In review", "Held", "Erased", "a name")}
    assert counts == {"Everything": 50, "In review": 6, "Held": 2, "Erased": 3, "a name": 1}
    assert all(0 < each["median"] <= each["p95"] for each in told.values())
    assert "1,200 records on SQLite" in page.read_text()
    monkeypatch.setattr(search, "GOAL_SECONDS", 0.0)
    monkeypatch.setattr(search, "HARDER", {})
    assert main(["--records", "1200", "--work", str(work), "--out", str(tmp_path)]) == 1
