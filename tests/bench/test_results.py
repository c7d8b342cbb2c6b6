"""Results say what was measured, where and how, and are never half written."""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path

import pytest

from tests.bench import results
from tests.bench.results import Files, Origin, add_options, files, machine, origin, shown


def test_a_page_says_where_its_numbers_come_from() -> None:
    """A number without machine, versions, code and command is hearsay."""
    found = origin("tests.bench.thing", ["--texts", "2", "--note", "Busy."], threads=1, note="Busy.", also=["grpcio"])
    head = "\n".join(found.head("A thing"))
    assert head.startswith(f"# A thing, {found.date}\n`python -m tests.bench.thing --texts 2`\n")
    assert "1 of them computing" in head
    assert all(name in head for name in ("processor ", "memory ", "python ", "torch ", "grpcio ", "rollcall "))
    assert head.endswith("Busy.")
    assert "GiB" in machine(1)["memory"]


def test_the_page_names_no_folders() -> None:
    """What is published says how it was measured, not where files were kept."""
    given = ["--only", "a", "b", "--work", "/somewhere", "--out=x.md", "--texts", "2", "--resume", "--json", "y", "-q"]
    assert shown(given) == ["--only", "a", "b", "--texts", "2"]


def test_the_code_is_named_by_what_git_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commit and tree of the service; changes that are not committed are told; without history nothing is made up."""

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)  # noqa: S607
        return done.stdout.strip()

    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert results.code() == {}
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "a.py").write_text("1")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "one")
    commit, tree = git("rev-parse", "HEAD")[:12], git("rev-parse", "HEAD:service")[:12]
    assert results.code() == {"commit": commit, "service tree": tree}
    (tmp_path / "service" / "a.py").write_text("2")
    assert results.code()["commit"] == f"{commit} with changes"


def test_files_are_named_by_date_and_benchmark(tmp_path: Path) -> None:
    """One way for all; what is told wins, and a quick try leaves nothing behind."""
    named = files("load", "2026-01-02", page=None, numbers=None)
    assert named.page == results.RESULTS / "2026-01-02-load.md"
    assert named.numbers == results.RESULTS / "2026-01-02-load.json"
    told = files("load", "2026-01-02", page=None, numbers=tmp_path / "x.json")
    assert (told.page, told.numbers) == (tmp_path / "x.md", tmp_path / "x.json")
    quick = files("load", "2026-01-02", page=None, numbers=None, keep=False)
    assert (quick.page, quick.numbers) == (None, None)


def test_numbers_carry_their_origin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON file stands by itself; writing again replaces it whole."""
    where = Origin(date="2026-01-02", command="c", code={"commit": "abc"}, machine={"cores": "2"})
    both = Files(page=tmp_path / "new" / "x.md", numbers=tmp_path / "new" / "x.json")
    both.write("first", where, {"found": [1]})
    both.write("second", where, {"found": [1, 2]})
    assert (tmp_path / "new" / "x.md").read_text() == "second"
    numbers = json.loads((tmp_path / "new" / "x.json").read_text())
    assert numbers["origin"]["code"] == {"commit": "abc"}
    assert numbers["found"] == [1, 2]
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["x.json", "x.md"]
    both.tell()
    assert "x.json" in capsys.readouterr().err


def test_every_benchmark_takes_the_same_options() -> None:
    """Whoever knows one knows all."""
    parser = argparse.ArgumentParser()
    add_options(parser, "thing")
    assert vars(parser.parse_args([])) == {"out": None, "json": None, "note": ""}
    assert all(
        f"DATE-thing.{kind}" in parser.format_help().replace("\n                 ", "") for kind in ("md", "json")
    )
