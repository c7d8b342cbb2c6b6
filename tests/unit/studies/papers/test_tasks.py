"""Tasks from files: parts that share no text, and nothing that gives the answer away."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollcall.studies.papers.tasks import ag_news, imdb, sst2

REAL = Path(__file__).parents[5] / "shared" / "data"


def _write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("label\ttext\n" + "".join(f"{line}\n" for line in lines))


def test_no_text_is_in_two_parts_whatever_its_case(tmp_path: Path) -> None:
    """What is learnt from is not asked about, nor chosen by; a repetition is left out."""
    for part, lines in {
        "train": ["1\tA good film", "0\tBad", "0\tbad."],
        "dev": ["1\ta good film!", "0\tDull"],
        "test": ["0\tDULL", "1\tNew", "1\tA Good Film"],
    }.items():
        _write(tmp_path / "sst2" / f"{part}.tsv", lines)
    task = sst2(tmp_path)
    assert {one.text for one in task.training} == {"A good film", "Bad"}
    assert [one.text for one in task.dev] == ["Dull"]
    assert [one.text for one in task.held_out] == ["New"]


def test_ag_news_is_world_against_business_without_headlines(tmp_path: Path) -> None:
    """Texts to learn from have no headline, so neither have those that are asked about."""
    _write(tmp_path / "ag_news" / "train10k.tsv", [f"{number % 4}\ttext number {number}" for number in range(80)])
    _write(
        tmp_path / "ag_news" / "test.tsv", ["2\tStocks rise . Markets went up . A lot", "1\tGoal . He scored", "0\tWar"]
    )
    task = ag_news(tmp_path)
    assert [(one.label, one.text) for one in task.held_out] == [(1, "Markets went up . A lot"), (0, "War")]
    assert len(task.training) + len(task.dev) == 40
    assert task.dev == ag_news(tmp_path).dev


@pytest.mark.skipif(not REAL.is_dir(), reason=f"LOUD SKIP: there is no {REAL}, so that real data are not read")
def test_the_real_data_have_the_sizes_that_reports_name() -> None:
    """As the reports say what was learnt from."""
    assert len(sst2(REAL).training) == 6910
    assert len(imdb(REAL).training) == 3410
    assert len(ag_news(REAL).training) == 4497
