"""The table of architectures in the README says what is measured."""

from __future__ import annotations

import tomllib
from pathlib import Path

from tests.support import lines, made

README = Path(__file__).parents[3] / "README.md"


def test_the_table_of_architectures_is_what_is_measured(tmp_path: Path) -> None:
    """Every row of the README's table is what a tiny model of that family was found to do at load, in both runtimes."""
    table = "\n".join(lines(made(tmp_path)))
    assert table in README.read_text(encoding="utf-8"), f"python -m tests.support makes it:\n{table}"


def test_the_oldest_transformers_that_is_tried_is_the_oldest_that_is_promised() -> None:
    """`make oldest` runs on the version at which pyproject.toml's range begins."""
    promised = tomllib.loads((README.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    tried = next(
        line for line in (README.parent / "Makefile").read_text(encoding="utf-8").splitlines() if "OLDEST :=" in line
    )
    assert f"transformers>={tried.split()[-1].removesuffix('.0')},<6" in promised
