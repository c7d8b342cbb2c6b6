"""Whatever is altered in a log's database, verifying says so, and names the record."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from rollcall.audit import queries
from rollcall.audit.accepted import Accepted
from rollcall.audit.database import Database, reading
from rollcall.audit.erasing import Ground, erase_subject
from rollcall.audit.merkle import leaf_hash
from rollcall.audit.notes import Signer
from rollcall.audit.records import read_record
from rollcall.audit.schema import METADATA
from rollcall.audit.store import Store
from rollcall.audit.verify import BROKEN, HOLDS, UNVERIFIABLE, main, verify
from rollcall.audit.verifying import Report, Unverifiable
from tests.unit.audit import samples
from tests.unit.audit.archives import SIGNER, open_archive

RECORDS, EVENTS = 5, 1
VICTIM = samples.accepted(2).record_id
OF_RECORDS = ("leaf", "record", "data_key", "payload", "reference")
COLUMNS = [(table.name, column.name) for table in METADATA.sorted_tables for column in table.columns]


def named(number: int) -> Accepted:
    """Make a record of a decision about a person."""
    return samples.accepted(number, decision_ref=samples.DECISION, subject_ref=samples.SUBJECT)


def fill(database: Database) -> None:
    """Keep a small log that is signed twice."""
    store = Store(database=database, signer=SIGNER)
    store.open(1.0)
    store.append([samples.accepted(0), samples.recorded(samples.decided(), 1), named(2)])
    store.checkpoint()
    store.append([named(3), samples.accepted(4)])
    store.close()
    with open_archive(database) as archive:
        read_record(archive, VICTIM, ["input"], "a complaint", "auditor")
        archive.sign()


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep a small log that is signed twice."""
    path = tmp_path_factory.mktemp("log") / "log.db"
    fill(path)
    return path


@pytest.fixture
def copy(log: Path, tmp_path: Path) -> Path:
    """Copy the log for a test to tamper with."""
    return Path(shutil.copy(log, tmp_path / "log.db"))


def tamper(path: Path, *statements: str) -> None:
    """Change a database as its administrator can: without triggers and foreign keys."""
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for statement in (*(f"DROP TRIGGER {name}" for (name,) in names), *statements):
            connection.execute(statement)
        connection.commit()


def check(path: Path, *kept: str) -> Report:
    """Verify with the right key."""
    return verify(path, key=SIGNER.verifier, checkpoints=kept)


def test_an_untouched_log_holds(log: Path) -> None:
    """Everything hangs together: entries, tiles, checkpoints, records, keys and payloads."""
    report = check(log)
    assert (report.problems, report.entries) == ([], 1 + RECORDS + EVENTS)
    assert verify(log, key=None).problems == []


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=[".".join(pair) for pair in COLUMNS])
def test_no_column_can_be_altered(copy: Path, table: str, column: str) -> None:
    """Another value in any column of any table is found, and the record is named where it is a record's."""
    where = f"WHERE record_id = '{VICTIM}'" if table in OF_RECORDS else ""
    kind = {"payload": "AND kind = 'scores'", "reference": "AND kind = 'subject'"}.get(table, "")
    first = f"rowid = (SELECT MIN(rowid) FROM {table} {where} {kind})"
    with closing(sqlite3.connect(copy)) as connection:
        (value,) = connection.execute(f"SELECT {column} FROM {table} WHERE {first}").fetchone()
    other = {int: "999", bytes: "x'00'"}.get(type(value), "'altered'")
    tamper(copy, f"UPDATE {table} SET {column} = {other} WHERE {first}")
    try:
        report = check(copy)
    except Unverifiable as error:
        assert table == "log"
        assert "one row" in str(error)  # noqa: PT017 - either is an answer
        return
    assert report.problems
    if table in OF_RECORDS:
        assert VICTIM in {place for place, _ in report.problems}


@pytest.mark.parametrize("table", OF_RECORDS)
def test_no_row_of_a_record_can_be_removed(copy: Path, table: str) -> None:
    """A row that is gone is found, and the record is named."""
    tamper(copy, f"DELETE FROM {table} WHERE record_id = '{VICTIM}'")
    report = check(copy)
    assert VICTIM in {place for place, _ in report.problems} or table == "leaf"
    assert report.problems


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param(["DELETE FROM tile"], id="no tiles"),
        pytest.param(["INSERT INTO tile VALUES (0, 7, x'00')"], id="one tile more"),
        pytest.param(["UPDATE checkpoint SET size = 5 WHERE size = 4"], id="a checkpoint of another size"),
        pytest.param(
            [
                "UPDATE leaf SET leaf_index = 99 WHERE leaf_index = 1",
                "UPDATE leaf SET leaf_index = 1 WHERE leaf_index = 2",
                "UPDATE leaf SET leaf_index = 2 WHERE leaf_index = 99",
            ],
            id="two entries swapped",
        ),
        pytest.param(
            [
                f"UPDATE payload SET kind = 'other' WHERE record_id = '{VICTIM}' AND kind = 'scores'",
                f"UPDATE payload SET kind = 'scores' WHERE record_id = '{VICTIM}' AND kind = 'input'",
                f"UPDATE payload SET kind = 'input' WHERE record_id = '{VICTIM}' AND kind = 'other'",
            ],
            id="two payloads swapped",
        ),
        pytest.param([f"INSERT INTO payload VALUES ('{VICTIM}', 'more', x'00', x'00')"], id="one payload more"),
        pytest.param(["INSERT INTO payload VALUES ('nobody', 'more', x'00', x'00')"], id="a payload of nobody"),
        pytest.param(["INSERT INTO subject_key VALUES ('0123', '4567', x'00')"], id="one subject's key more"),
        pytest.param(["DELETE FROM event"], id="no event"),
        pytest.param(["DELETE FROM note"], id="no note"),
        pytest.param(
            ["INSERT INTO event SELECT 9, 'e', type, created_at, actor, record_id, about, code, body, NULL FROM event"],
            id="one event more",
        ),
        pytest.param(["INSERT INTO note VALUES ('nobody', 'k', x'00', x'00', x'00')"], id="one note more"),
        pytest.param(["DELETE FROM subject_key"], id="no subject's key"),
        pytest.param(["UPDATE subject_key SET wrapped = NULL"], id="a subject's key destroyed by nobody"),
    ],
)
def test_no_row_can_be_added_or_moved(copy: Path, statements: list[str]) -> None:
    """Rows that are too many, or elsewhere, are found."""
    tamper(copy, *statements)
    assert check(copy).problems


def test_a_consistent_forgery_is_found_by_the_signature(copy: Path) -> None:
    """Who alters an entry and everything that follows from it has no signature for it."""
    with closing(sqlite3.connect(copy)) as connection:
        (entry,) = connection.execute("SELECT entry FROM leaf WHERE leaf_index = 1").fetchone()
    forged = entry.replace(b"2025", b"2024")
    assert forged != entry
    values = f"entry = x'{forged.hex()}', leaf_hash = x'{leaf_hash(forged).hex()}'"
    tamper(copy, f"UPDATE leaf SET {values} WHERE leaf_index = 1")
    places = {place for place, _ in check(copy).problems}
    assert places >= {"checkpoint 4", "checkpoint 7", samples.accepted(0).record_id}


def test_an_old_copy_is_found_by_a_checkpoint_that_was_kept(log: Path, tmp_path: Path) -> None:
    """A log whose end was cut off, checkpoints and all, agrees with itself, but not with what was kept elsewhere."""
    with reading(log) as connection:
        last = queries.last_checkpoint(connection)
    assert last is not None
    store = Store(database=tmp_path / "log.db", signer=SIGNER)
    store.open(1.0)
    store.append([samples.accepted(number) for number in range(3)])
    store.checkpoint()
    store.close()
    assert check(tmp_path / "log.db").problems == []
    (problem,) = check(tmp_path / "log.db", last.note).problems
    assert problem == ("kept checkpoint 1", "7 entries were signed, and there are 4: an old copy of the log?")
    assert check(log, last.note).problems == []


def test_another_key_is_not_the_logs(log: Path) -> None:
    """With the key that the auditor trusts, a log signed by another one does not hold."""
    other = Signer.generate("log.example").verifier
    assert {place for place, _ in verify(log, key=other).problems} == {"checkpoint 4", "checkpoint 7"}


def test_the_command_answers_with_its_exit_code(copy: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """0 where it holds, 1 where it does not, 2 where there is nothing to look at; the record is in the output."""
    key = SIGNER.verifier.line()
    assert main([str(copy), "--key", key]) == HOLDS
    assert capsys.readouterr().out.splitlines()[-1] == f"log {copy}: holds"
    tamper(copy, f"UPDATE record SET flag = 'faithful' WHERE record_id = '{VICTIM}'")
    assert main([str(copy), "--key", key]) == BROKEN
    out = capsys.readouterr().out
    assert f"{VICTIM}: the column flag is not what the envelope says" in out
    assert "BROKEN, 1 problems" in out
    assert main([str(tmp_path / "nothing")]) == UNVERIFIABLE
    (tmp_path / "rubbish.db").write_bytes(b"rubbish" * 1000)
    assert main([str(tmp_path / "rubbish.db")]) == UNVERIFIABLE
    assert main([str(copy), "--key", "rubbish"]) == UNVERIFIABLE


def test_a_proof_file_is_verified_with_its_entry(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One file, one entry and the key suffice to show that the entry was logged."""
    with reading(log) as connection:
        last = queries.last_checkpoint(connection)
        assert last is not None
        (tmp_path / "entry").write_bytes(queries.entry(connection, 2))
        (tmp_path / "x.tlog-proof").write_text(queries.proof(connection, 2, last).text())
    arguments = [str(tmp_path / "x.tlog-proof"), "--key", SIGNER.verifier.line(), "--entry", str(tmp_path / "entry")]
    assert main(arguments) == HOLDS
    (tmp_path / "entry").write_bytes(b"another")
    assert main(arguments) == BROKEN
    assert main(arguments[:1]) == UNVERIFIABLE
    assert "needs --key and --entry" in capsys.readouterr().err


@pytest.fixture
def erased(copy: Path) -> Path:
    """Erase the person whom the victim is about."""
    with open_archive(copy) as archive:
        erase_subject(archive, samples.SUBJECT, Ground.PERSON, "a letter", "officer")
        archive.sign()
    assert check(copy).problems == []
    return copy


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("UPDATE subject_key SET wrapped = x'00'", id="the subject's key is back"),
        pytest.param(f"INSERT INTO data_key VALUES ('{VICTIM}', 'k', x'00')", id="a key is back"),
        pytest.param(f"INSERT INTO payload VALUES ('{VICTIM}', 'input', x'00', x'00')", id="a text is back"),
        pytest.param(f"INSERT INTO reference VALUES ('{VICTIM}', 'subject', x'00', x'00')", id="a name is back"),
        pytest.param("DELETE FROM event WHERE type = 'erasure'", id="nobody erased it"),
    ],
)
def test_what_was_erased_must_stay_so(erased: Path, statement: str) -> None:
    """What is there again, or gone without an entry that says so, is found."""
    tamper(erased, statement)
    assert check(erased).problems
