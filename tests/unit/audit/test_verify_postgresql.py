"""Whatever is altered in a log in PostgreSQL, verifying says so, and names the record."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from rollcall.__main__ import main
from rollcall.audit.verify import BROKEN, HOLDS, UNVERIFIABLE
from rollcall.audit.verify_postgresql import verify_postgresql
from rollcall.audit.verifying import Report, Unverifiable
from tests.unit.audit.archives import SIGNER
from tests.unit.audit.postgres import PostgresServer
from tests.unit.audit.test_verify_log import COLUMNS, EVENTS, OF_RECORDS, RECORDS, VICTIM, fill


@pytest.fixture(scope="module")
def log(postgres: PostgresServer) -> str:
    """Keep a small log that is signed twice; return its URL."""
    url = postgres.make()
    fill(url)
    return url


@pytest.fixture
def copy(log: str, postgres: PostgresServer) -> str:
    """Copy the log for a test to tamper with."""
    return postgres.make(template=log.rpartition("/")[2])


def tamper(url: str, *statements: str) -> int:
    """Change a database as its administrator can, without triggers and foreign keys; return the rows changed."""
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        return sum(connection.execute(statement.encode()).rowcount for statement in statements)


def check(url: str) -> Report:
    """Verify with the right key."""
    return verify_postgresql(url, SIGNER.verifier)


def test_an_untouched_log_holds(log: str) -> None:
    """The walk over PostgreSQL finds what the one over SQLite does."""
    report = check(log)
    assert (report.problems, report.entries) == ([], 1 + RECORDS + EVENTS)


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=[".".join(pair) for pair in COLUMNS])
def test_no_column_can_be_altered(copy: str, table: str, column: str) -> None:
    """Another value in any column of any table is found, and the record is named where it is a record's."""
    where = f"WHERE record_id = '{VICTIM}'" if table in OF_RECORDS else ""
    kind = {"payload": "AND kind = 'scores'", "reference": "AND kind = 'subject'"}.get(table, "")
    with psycopg.connect(copy) as connection:
        found = connection.execute(f"SELECT {column}, ctid FROM {table} {where} {kind} LIMIT 1".encode()).fetchone()
    assert found is not None
    value, place = found
    other = {int: "999", bytes: "'\\x00'::bytea", bool: str(not value)}.get(type(value), "'altered'")
    assert tamper(copy, f"UPDATE {table} SET {column} = {other} WHERE ctid = '{place}'") == 1
    try:
        report = check(copy)
    except Unverifiable:
        assert table == "log"
        return
    assert report.problems
    if table in OF_RECORDS:
        assert VICTIM in {place for place, _ in report.problems}


@pytest.mark.parametrize("table", OF_RECORDS)
def test_no_row_of_a_record_can_be_removed(copy: str, table: str) -> None:
    """A row that is gone is found, and the record is named."""
    assert tamper(copy, f"DELETE FROM {table} WHERE record_id = '{VICTIM}'")
    report = check(copy)
    assert VICTIM in {place for place, _ in report.problems} or table == "leaf"
    assert report.problems


def test_the_commands_take_the_url_from_a_file(copy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Verifying, showing and exporting work on PostgreSQL as they do on a file, and a wrong URL is said to be one."""
    url = tmp_path / "url"
    url.write_text(copy + "\n")
    (tmp_path / "log.vkey").write_text(SIGNER.verifier.line())
    (tmp_path / "signing.key").write_text(SIGNER.line())
    database = ["--database", str(url)]
    verify = ["audit", "verify", str(tmp_path), *database, "--key", str(tmp_path / "log.vkey")]
    assert main(verify) == HOLDS
    assert main(["audit", "show", str(tmp_path), VICTIM, *database]) == 0
    assert VICTIM in capsys.readouterr().out
    assert main(["audit", "export", str(tmp_path), "--out", str(tmp_path / "out"), *database]) == 0
    assert main(["audit", "verify", str(tmp_path / "out"), "--key", str(tmp_path / "log.vkey")]) == HOLDS
    assert tamper(copy, "UPDATE record SET flag = 'faithful'")
    assert main(verify) == BROKEN
    url.write_text("postgresql://nobody@127.0.0.1:1/nothing")
    assert main(verify) == UNVERIFIABLE
    assert "nobody" not in capsys.readouterr().err
