"""Journals: long work goes on where it was stopped, and never mixes with other work."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollcall.studies.journal import Journal, JournalError

SUBJECT = {"model": "sha256:1", "maps": ["a", "b"]}


def test_what_was_added_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    """Line by line, in order; opening creates the folders it needs."""
    path = tmp_path / "deep" / "work.jsonl"
    with Journal(path, SUBJECT) as journal:
        journal.add({"number": 1})
        journal.add({"number": 2, "of": [1, 2]})
    with Journal(path, SUBJECT) as journal:
        assert journal.done == [{"number": 1}, {"number": 2, "of": [1, 2]}]
        journal.add({"number": 3})
    with Journal(path, SUBJECT) as journal:
        assert [line["number"] for line in journal.done] == [1, 2, 3]


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_line_that_a_crash_cut_short_is_dropped(tmp_path: Path, cut: int) -> None:
    """What was whole before it stays, and what is added after it is whole again."""
    path = tmp_path / "work.jsonl"
    with Journal(path, SUBJECT) as journal:
        journal.add({"number": 1})
        journal.add({"number": 2})
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal(path, SUBJECT) as journal:
        assert journal.done == [{"number": 1}]
        journal.add({"number": 7})
    with Journal(path, SUBJECT) as journal:
        assert [line["number"] for line in journal.done] == [1, 7]


def test_a_journal_cut_in_its_first_line_begins_anew(tmp_path: Path) -> None:
    """Nothing was done yet."""
    path = tmp_path / "work.jsonl"
    path.write_bytes(b'{"journal": {"mod')
    with Journal(path, SUBJECT) as journal:
        assert journal.done == []
        journal.add({"number": 1})
    with Journal(path, SUBJECT) as journal:
        assert journal.done == [{"number": 1}]


def test_a_journal_of_other_work_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    """It names what differs."""
    path = tmp_path / "work.jsonl"
    with Journal(path, SUBJECT) as journal:
        journal.add({"number": 1})
    before = path.read_bytes()
    with pytest.raises(JournalError, match=r"of other work \(model differ\)"):
        Journal(path, SUBJECT | {"model": "sha256:2"})
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["a,b\n1,2\n", '{"journal": 3}\n', '["x"]\n', "3\n"])
def test_a_file_that_is_no_journal_is_refused_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    """Whatever it is, it is not overwritten."""
    path = tmp_path / "work.jsonl"
    path.write_text(text)
    with pytest.raises(JournalError):
        Journal(path, SUBJECT)
    assert path.read_text() == text
