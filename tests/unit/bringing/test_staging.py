"""Hidden directories of imports: of a killed one nothing stays, of a living one everything."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rollcall.bringing.importing import Imported, Wanted, bring
from rollcall.bringing.staging import PREFIX, staged_directory, sweep_repository
from rollcall.domain.model import UNDECLARED
from tests.tiny import make_model

IMPORTING = """
import sys
from pathlib import Path
from rollcall.bringing.importing import Wanted, bring
from rollcall.domain.model import UNDECLARED

def copying(_):
    print("copying", flush=True)
    sys.stdin.read()

bring(Wanted(path=sys.argv[1], repository=Path(sys.argv[2]), name=sys.argv[3], declared=UNDECLARED, tested=False),
      lambda _: copying)
"""
"""An import that stops after its first piece until its standard input ends."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Something to import."""
    return make_model("bert", tmp_path_factory.mktemp("source") / "reviews")


@contextmanager
def importing(checkpoint: Path, repository: Path, name: str) -> Iterator[subprocess.Popen[str]]:
    """Another process in the middle of an import."""
    command = [sys.executable, "-c", IMPORTING, str(checkpoint), str(repository), name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "copying\n"
        try:
            yield process
        finally:
            process.kill()


def brought(checkpoint: Path, repository: Path, name: str = "reviews") -> Imported:
    """Bring it in, here."""
    wanted = Wanted(path=str(checkpoint), repository=repository, name=name, declared=UNDECLARED, tested=False)
    return bring(wanted, lambda _: lambda _: None)


def hidden(repository: Path) -> list[str]:
    """Directories of imports, by the model that they are of."""
    return sorted(path.parent.name for path in repository.glob(f"*/{PREFIX}*"))


def test_what_a_killed_import_left_goes_with_the_next_one(checkpoint: Path, tmp_path: Path) -> None:
    """Of any model of the repository; and a model of which nothing else is there is gone as a whole."""
    with importing(checkpoint, tmp_path, "reviews") as one, importing(checkpoint, tmp_path, "other") as another:
        for process in (one, another):
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    assert hidden(tmp_path) == ["other", "reviews"]
    found = brought(checkpoint, tmp_path)
    assert (found.revision, hidden(tmp_path)) == ("1", [])
    assert [path.name for path in tmp_path.iterdir()] == ["reviews"]


def test_a_living_import_is_left_alone_and_ends_well(checkpoint: Path, tmp_path: Path) -> None:
    """However many others come and go meanwhile; the revision that it meant to be is its own."""
    with importing(checkpoint, tmp_path, "other") as process:
        assert brought(checkpoint, tmp_path).revision == "1"
        assert brought(checkpoint, tmp_path).revision == "2"
        sweep_repository(tmp_path)
        assert hidden(tmp_path) == ["other"]
        process.communicate("")
        assert process.returncode == 0
    assert hidden(tmp_path) == []
    assert (tmp_path / "other" / "1" / "model.toml").is_file()


def test_directories_that_are_no_imports_stay(checkpoint: Path, tmp_path: Path) -> None:
    """Hidden ones of other people, links, and files of that name."""
    model = tmp_path / "reviews"
    (model / ".1.original").mkdir(parents=True)
    (model / f"{PREFIX}file").write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (model / f"{PREFIX}link").symlink_to(tmp_path / "elsewhere")
    brought(checkpoint, tmp_path)
    assert (model / ".1.original").is_dir()
    assert (model / f"{PREFIX}file").is_file()
    assert (model / f"{PREFIX}link").is_symlink()
    assert (tmp_path / "elsewhere").is_dir()


def test_an_import_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Neither its own directory nor one that was made for its model; what was there stays."""
    (tmp_path / "there").mkdir()
    for name in ("new", "there"):
        with pytest.raises(FileNotFoundError):
            _fail_in(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert list((tmp_path / "there").iterdir()) == []


def _fail_in(model: Path) -> None:
    with staged_directory(model, "1") as staged:
        (staged / "part").write_text("half of it")
        (staged / "another").read_text()


def test_without_locks_nothing_is_taken_away(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume that knows of none says so; models are imported as before, and nobody guesses what is left over."""

    def no_locks(*_: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    left = tmp_path / "reviews" / f"{PREFIX}1.abcdefgh"
    left.mkdir(parents=True)
    assert brought(checkpoint, tmp_path).revision == "1"
    assert left.is_dir()
