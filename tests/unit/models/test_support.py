"""The table of architectures in the README says what is measured."""

from __future__ import annotations

from pathlib import Path

from tests.support import lines, made

README = Path(__file__).parents[3] / "README.md"


def test_the_table_of_architectures_is_what_is_measured(tmp_path: Path) -> None:
    """Every row of the README's table is what a tiny model of that family was found to do at load, in both runtimes."""
    table = "\n".join(lines(made(tmp_path)))
    assert table in README.read_text(encoding="utf-8"), f"python -m tests.support makes it:\n{table}"
