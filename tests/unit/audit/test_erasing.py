"""What is erased is gone for everybody, provably, and what a matter holds is not erased."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import event, func, select

from rollcall.audit import holding, queries, records, retaining
from rollcall.audit.archive import Archive
from rollcall.audit.database import Database
from rollcall.audit.erasing import Ground, erase_record, erase_subject
from rollcall.audit.schema import DATA_KEY, NOTE, PAYLOAD, REFERENCE, SUBJECT_KEY
from rollcall.audit.searching import search
from rollcall.audit.steward import scrubbing
from rollcall.domain.errors import Blocked, InvalidInput, RecordNotFound
from tests.unit.audit import samples
from tests.unit.audit.archives import ANNA, check, open_archive

MINE = [samples.accepted(number, subject_ref=samples.SUBJECT, decision_ref=f"d-{number}") for number in range(3)]
OTHER = samples.accepted(3, subject_ref="somebody else")
NOBODYS = samples.accepted(4)
ALL = [*MINE, OTHER, NOBODYS]
WHY = "letter of Xanthippe"


@pytest.fixture
def archive(database: Database) -> Iterator[Archive]:
    """Keep three records of a person, one of another, and one of nobody."""
    with open_archive(database, *ALL) as opened:
        yield opened


def numbers(archive: Archive, text: str) -> list[int]:
    """Search; return the records' numbers, oldest first."""
    ids = [record.record_id for record in ALL]
    return sorted(ids.index(found.columns["record_id"]) for found in search(archive, text, 100, "").records)


def rows(archive: Archive) -> dict[str, int]:
    """Count the rows of what erasure destroys."""
    with archive.reading() as connection:
        tables = (DATA_KEY, PAYLOAD, REFERENCE, NOTE)
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables
        }


def test_a_person_is_erased_and_nobody_else(archive: Archive) -> None:
    """Keys, texts, names and notes of the person's records are gone; the others are as they were; the log holds."""
    for record in MINE:
        records.read_record(archive, record.record_id, ["input"], WHY, ANNA)
    erased = erase_subject(archive, samples.SUBJECT, Ground.PERSON, WHY, ANNA)
    assert erased.records == tuple(record.record_id for record in MINE)
    assert numbers(archive, "erased = true") == [0, 1, 2]
    assert numbers(archive, f'subject = "{samples.SUBJECT}"') == numbers(archive, "decision = d-1") == []
    assert numbers(archive, 'subject = "somebody else"') == [3]
    with pytest.raises(Blocked, match="erased"):
        records.read_record(archive, MINE[0].record_id, ["input"], WHY, ANNA)
    assert records.read_record(archive, OTHER.record_id, ["input"], WHY, ANNA).parts
    assert check(archive, archive.sign().note).problems == []
    with archive.reading() as connection:
        kept = queries.kept(connection, MINE[0].record_id)
        wrapped = dict(connection.execute(select(SUBJECT_KEY.c.key_id, SUBJECT_KEY.c.wrapped)).all())
    assert (kept.wrapped_key, kept.payloads) == (None, ())
    assert kept.envelope == MINE[0].envelope
    assert MINE[0].subject_key is not None
    assert wrapped[MINE[0].subject_key.key_id] is None
    assert rows(archive)["note"] == 2  # why somebody was erased, and why another one was read


def test_the_events_say_what_was_erased_and_no_more(archive: Archive) -> None:
    """One says why and how much, one for each record that it is gone; nothing tells who the person was."""
    erased = erase_subject(archive, samples.SUBJECT, Ground.PERSON, WHY, ANNA)
    with archive.reading() as connection:
        events = [json.loads(event.body) for event in records.happened(connection)][::-1]
    assert [event["record_id"] for event in events] == [None, *erased.records]
    assert {(event["type"], event["about"], event["code"], event["actor"]) for event in events} == {
        ("erasure", erased.erasure_id, "person", ANNA)
    }
    assert events[0]["details"]["records"] == 3
    assert "Xanthippe" not in json.dumps(events)


def test_one_record_is_erased_and_the_person_stays(archive: Archive) -> None:
    """The person's other records can be read as before; a record is erased once."""
    erase_record(archive, "e-1", Ground.MISTAKE, WHY, ANNA)
    assert numbers(archive, "erased = true") == [1]
    assert numbers(archive, f'subject = "{samples.SUBJECT}"') == [0, 2]
    assert records.read_record(archive, "e-2", ["input"], WHY, ANNA).parts
    assert check(archive).problems == []
    with pytest.raises(Blocked, match="erased already"):
        erase_record(archive, "e-1", Ground.MISTAKE, WHY, ANNA)
    with pytest.raises(RecordNotFound):
        erase_record(archive, "e-9", Ground.MISTAKE, WHY, ANNA)
    erase_record(archive, NOBODYS.record_id, Ground.MISTAKE, WHY, ANNA)
    assert numbers(archive, "erased = true") == [1, 4]


def test_what_is_new_about_an_erased_person_has_a_new_key(archive: Archive) -> None:
    """What arrives under the destroyed key cannot be read; whoever is named anew gets a key of their own."""
    erase_subject(archive, samples.SUBJECT, Ground.PERSON, WHY, ANNA)
    with pytest.raises(RecordNotFound, match="not erased"):
        erase_subject(archive, samples.SUBJECT, Ground.PERSON, WHY, ANNA)
    late = samples.accepted(7, subject_ref=samples.SUBJECT)
    archive.store.append([late])
    with pytest.raises(Blocked, match="erased"):
        records.read_record(archive, late.record_id, ["input"], WHY, ANNA)
    assert check(archive).problems == []
    digest = MINE[0].references[1].digest
    assert archive.store.subject_key(digest) is None
    assert archive.subjects.of(digest).id != MINE[0].subject_key.key_id if MINE[0].subject_key else False


def test_no_file_holds_what_was_erased(tmp_path: Path) -> None:
    """The wrapped keys are in no file of the database any more, also not in its journal."""
    path = tmp_path / "log.db"
    with open_archive(path, *ALL) as archive:
        wanted = [record.wrapped_key for record in MINE] + [MINE[0].payloads[1].ciphertext]
        assert all(any(each in file.read_bytes() for file in tmp_path.iterdir()) for each in wanted)
        erase_subject(archive, samples.SUBJECT, Ground.PERSON, WHY, ANNA)
        files = [file.read_bytes() for file in tmp_path.iterdir()]
    assert not [each for each in wanted if any(each in data for data in files)]
    assert MINE[0].subject_key is not None
    assert not any(MINE[0].subject_key.wrapped in data for data in files)


def left(directory: Path) -> bool:
    """Whether some file of the database has the wrapped key of the records of a person."""
    return any(MINE[0].wrapped_key in file.read_bytes() for file in directory.iterdir())


@pytest.mark.parametrize("restarted", [False, True])
async def test_what_somebody_still_reads_is_forgotten_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, restarted: bool
) -> None:
    """Bytes that a reader of an older state keeps from being overwritten go when the reader has, also after a kill."""
    path = tmp_path / "log.db"
    with ExitStack() as closing:
        archive = closing.enter_context(open_archive(path, *ALL))
        await scrubbing(archive).do()
        assert not archive.store.scrub_owed
        with archive.reading() as old:
            queries.size(old)
            with caplog.at_level(logging.INFO):
                erase_subject(archive, samples.SUBJECT, Ground.PERSON, WHY, ANNA)
            assert [record.message for record in caplog.records] == ["audit_scrub_owed"]
            await scrubbing(archive).do()
            assert left(tmp_path)
        assert left(tmp_path)
        if restarted:
            archive = closing.enter_context(open_archive(path))
        await scrubbing(archive).do()
        assert not left(tmp_path)
        assert not archive.store.scrub_owed


def test_what_was_erased_is_said_so_whatever_becomes_of_its_bytes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A database that fails right after an erasure costs nobody the answer; its bytes stay owed until it works."""
    with open_archive(tmp_path / "log.db", *ALL) as archive:
        working = [False]

        def allowed(action: int, name: str | None, *_: str | None) -> int:
            checkpoint = action == sqlite3.SQLITE_PRAGMA and name == "wal_checkpoint"
            return sqlite3.SQLITE_OK if working[0] or not checkpoint else sqlite3.SQLITE_DENY

        def watch(connection: sqlite3.Connection, *_: object) -> None:
            connection.set_authorizer(allowed)

        event.listen(archive.store.opened, "checkout", watch)
        with caplog.at_level(logging.INFO):
            assert erase_subject(archive, samples.SUBJECT, Ground.PERSON, WHY, ANNA).log_index == 6
        assert [record.message for record in caplog.records] == ["audit_scrub_failed"]
        assert archive.store.scrub_owed
        working[0] = True
        archive.scrub()
        assert not archive.store.scrub_owed
        assert not left(tmp_path)


def test_what_is_held_is_not_erased_until_every_matter_has_released_it(archive: Archive) -> None:
    """A hold of one record protects the whole person; two matters may hold the same record."""
    held = holding.place(archive, "case 1", ["e-1"], "", WHY, ANNA)
    assert held.records == (MINE[1].record_id,)
    holding.place(archive, "case 2", [], "decision = d-1 OR decision = d-2", WHY, ANNA)
    assert holding.place(archive, "case 1", ["e-1"], "", WHY, ANNA).records == ()
    assert numbers(archive, "held = true") == [1, 2]
    with pytest.raises(Blocked, match="are held for: case 1, case 2"):
        erase_subject(archive, samples.SUBJECT, Ground.PERSON, WHY, ANNA)
    with pytest.raises(Blocked, match="are held for: case 1, case 2"):
        erase_record(archive, "e-1", Ground.PERSON, WHY, ANNA)
    assert numbers(archive, "erased = true") == []
    holding.release(archive, "case 1", [], WHY, ANNA)
    assert numbers(archive, "held = true") == [1, 2]
    assert len(holding.release(archive, "case 2", [], WHY, ANNA).records) == 2
    assert holding.release(archive, "case 2", [], WHY, ANNA).log_index is None
    assert numbers(archive, "held = true") == []
    erase_subject(archive, samples.SUBJECT, Ground.PERSON, WHY, ANNA)
    assert check(archive).problems == []


def test_a_hold_names_records_that_are_there(archive: Archive) -> None:
    """A filter that asks for nothing, or nothing at all, holds nothing."""
    with pytest.raises(RecordNotFound):
        holding.place(archive, "case", ["e-9"], "", WHY, ANNA)
    with pytest.raises(RecordNotFound):
        holding.place(archive, "case", [], "model = other", WHY, ANNA)
    with pytest.raises(InvalidInput, match="filter"):
        holding.place(archive, "case", [], "", WHY, ANNA)


def test_what_was_kept_long_enough_is_erased_but_for_what_is_held(archive: Archive) -> None:
    """A dry run says what is due and changes nothing; what is held waits; what has no row is kept for ever."""
    archive.store.append([samples.recorded(samples.decided(), 5)])
    archive.retention = {
        **retaining.days_of("sentiment", None, 183, None),
        **retaining.days_of("other", 400, 183, None),
    }
    assert archive.retention == {
        ("sentiment", "explanation"): 183,
        ("other", "explanation"): 400,
        ("other", "decision"): 400,
    }
    holding.place(archive, "case", ["e-0"], "", WHY, ANNA)
    assert [(due.records, due.held) for due in retaining.plan(archive)] == [(0, 0)] * 3
    archive.now = lambda: samples.AT + 184 * 86_400
    due = {(row.model, row.type): (row.records, row.held) for row in retaining.plan(archive)}
    assert due[("sentiment", "explanation")] == (4, 1)
    assert numbers(archive, "erased = true AND type = explanation") == []
    (done,) = retaining.apply(archive, WHY, ANNA)
    assert len(done.records) == 4
    assert retaining.apply(archive, WHY, ANNA) == []
    assert len(search(archive, "erased = true", 100, "").records) == 4
    assert len(search(archive, "erased = false", 100, "").records) == 2
    assert check(archive).problems == []
