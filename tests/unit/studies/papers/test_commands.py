"""The frame of the papers' studies, on one that counts: reports, going on, claims, data that are not there."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import pytest

from rollcall.studies.commands import StudyError
from rollcall.studies.papers.catalogue import ENTRIES, Entry
from rollcall.studies.papers.commands import study_papers
from rollcall.studies.papers.frame import QUICK_FORM
from tests.unit.studies.papers import counting

COUNTING = Entry(name="counting", question="how many?", module="tests.unit.studies.papers.counting")


@pytest.fixture
def options(tmp_path: Path) -> argparse.Namespace:
    """As the command line gives them, with one data set."""
    counting.ASKED.clear()
    (tmp_path / "data" / "numbers").mkdir(parents=True)
    (tmp_path / "data" / "numbers" / "all.tsv").write_text("number\n1\n")
    return argparse.Namespace(
        quick=False,
        seeds=None,
        data=tmp_path / "data",
        out=tmp_path / "out",
        work=tmp_path / "work",
        tasks="",
        check=True,
        quiet=True,
        jobs=1,
    )


def test_a_report_says_what_was_found_and_with_what(options: argparse.Namespace) -> None:
    """Both forms have the published figure beside ours, the claim, the seeds, the versions and the data's digest."""
    assert study_papers([COUNTING], options)
    out = options.out / "counting"
    report = json.loads((out / "report.json").read_text())
    assert report["seeds"] == [0, 1]
    assert report["findings"] == {"seed 0": 6, "seed 1": 6}
    assert report["versions"].keys() >= {"python", "torch", "rollcall"}
    page = (out / "report.md").read_text()
    assert "| length \\| of a name | 6 | 6 | none | nothing |" in page
    assert "| seeds are few | yes | 2 |" in page
    assert "![Lengths by seed](lengths.svg)" in page
    assert report["data"]["numbers"].removeprefix("sha256:")[:12] in page


def test_the_same_numbers_give_the_same_bytes(options: argparse.Namespace) -> None:
    """Pictures included: a report that is committed changes where something was found otherwise."""
    study_papers([COUNTING], options)
    first = {path.name: path.read_bytes() for path in (options.out / "counting").iterdir()}
    study_papers([COUNTING], options)
    assert first == {path.name: path.read_bytes() for path in (options.out / "counting").iterdir()}
    assert first.keys() == {"report.md", "report.json", "lengths.svg"}


def test_what_is_finished_is_not_done_again(options: argparse.Namespace) -> None:
    """More seeds later add to what is in the journal."""
    study_papers([COUNTING], options)
    assert counting.ASKED == ["seed 0", "seed 1"]
    options.seeds = 3
    study_papers([COUNTING], options)
    assert counting.ASKED == ["seed 0", "seed 1", "seed 2"]


def test_parts_of_other_data_are_refused(options: argparse.Namespace) -> None:
    """Numbers of two data sets never meet in one report."""
    study_papers([COUNTING], options)
    (options.data / "numbers" / "all.tsv").write_text("number\n2\n")
    with pytest.raises(StudyError, match="data differ"):
        study_papers([COUNTING], options)


def test_a_claim_that_does_not_hold_fails_a_check_alone(
    options: argparse.Namespace, capsys: pytest.CaptureFixture[str]
) -> None:
    """The report is written all the same: a paper may be wrong here."""
    options.seeds = 3
    assert not study_papers([COUNTING], options)
    assert "counting: DOES NOT HOLD: seeds are few (3)" in capsys.readouterr().out
    assert "| seeds are few | **no** | 3 |" in (options.out / "counting" / "report.md").read_text()
    options.check = False
    assert study_papers([COUNTING], options)


def test_a_claim_that_is_not_clear_in_the_reduced_form_is_told_there_and_fails_no_check(
    options: argparse.Namespace, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the whole form it fails one like any other; and the reduced form's other claims are asserted all the same."""
    options.seeds, options.quick = 1, True
    assert study_papers([COUNTING], options)
    assert "counting: DOES NOT HOLD, told alone: seeds are several (1)" in capsys.readouterr().out
    page = (options.out / "counting" / "report.md").read_text()
    assert "| seeds are several | **no** | 1 | told alone |" in page
    assert "| seeds are few | yes | 1 | yes |" in page
    options.quick = False
    assert not study_papers([COUNTING], options)
    options.seeds, options.quick = 3, True
    assert not study_papers([COUNTING], options)


def test_a_journal_of_another_reduced_form_is_refused(options: argparse.Namespace) -> None:
    """What is run there may have changed under the names of the parts; the whole form has a journal of its own."""
    options.quick = True
    study_papers([COUNTING], options)
    journal = options.work / "parts" / "counting-quick.jsonl"
    now, before = f'"quick":{QUICK_FORM}', f'"quick":{QUICK_FORM - 1}'
    journal.write_text(journal.read_text().replace(now, before))
    with pytest.raises(StudyError, match="quick differ"):
        study_papers([COUNTING], options)
    options.quick = False
    assert study_papers([COUNTING], options)


def test_several_studies_at_a_time_say_what_they_say_one_by_one(
    options: argparse.Namespace, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every one has its report and its lines, in processes of their own; one that fails fails them all."""
    entries = [COUNTING, dataclasses.replace(COUNTING, name="again", module="tests.unit.studies.papers.counting_again")]
    options.jobs, options.run = 2, lambda: None  # the command line's options hold functions that cannot be sent
    assert study_papers(entries, options)
    assert counting.ASKED == []
    assert all((options.out / name / "report.md").is_file() for name in ("counting", "again"))
    claims = ("seeds are few", "seeds are several")
    assert sorted(capfd.readouterr().out.splitlines()) == sorted(
        f"{name}: holds: {claim} (2)" for name in ("counting", "again") for claim in claims
    )
    options.seeds = 3
    assert not study_papers(entries, options)
    (options.data / "numbers" / "all.tsv").write_text("number\n2\n")
    with pytest.raises(StudyError, match="data differ"):
        study_papers(entries, options)


def test_without_its_data_a_study_is_left_out_loudly(
    options: argparse.Namespace, capsys: pytest.CaptureFixture[str]
) -> None:
    """And where none is left that is an error, not a success of nothing."""
    options.data = None
    with pytest.raises(StudyError, match="no study is left"):
        study_papers([COUNTING], options)
    assert "LEFT OUT, not in --data: counting (numbers)" in capsys.readouterr().err


def test_every_study_is_what_the_catalogue_calls_it() -> None:
    """Names are those of the command line, and each names data that it needs."""
    for entry in ENTRIES:
        study = entry.load()
        assert (study.name, bool(study.data)) == (entry.name, True)
        assert study.quick_seeds <= study.full_seeds
