"""A record comes out of the spool as it went in, or not at all."""

from __future__ import annotations

import pytest

from rollcall.audit.accepted import Accepted, Unreadable
from tests.unit.audit import samples


def test_a_record_comes_back_whole() -> None:
    """Envelope, key and payloads are what they were."""
    record = samples.accepted()
    assert Accepted.decode(record.encode()) == record


def test_cut_off_bytes_are_no_record() -> None:
    """Wherever the bytes end early, nothing is made up."""
    data = samples.accepted().encode()
    for end in (1, 3, 4, 20, len(data) - 1):
        with pytest.raises(Unreadable):
            Accepted.decode(data[:end])
    with pytest.raises(Unreadable):
        Accepted.decode(b"")


def test_names_and_the_subjects_key_come_back() -> None:
    """What the spool gives back is what went in, whatever belongs to the record."""
    record = samples.accepted(decision_ref=samples.DECISION, subject_ref=samples.SUBJECT)
    assert record.subject_key is not None
    assert len(record.references) == 2
    assert Accepted.decode(record.encode()) == record
    decided = samples.recorded(samples.decided())
    assert Accepted.decode(decided.encode()) == decided
