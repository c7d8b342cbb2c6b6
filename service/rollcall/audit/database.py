"""How the log's database is opened: a file of SQLite, or a server of PostgreSQL by its URL.

SQLite: WAL with synchronous=FULL, so that a commit survives a power cut, and secure_delete, so that what is erased is
overwritten. What is read is mapped into memory, which makes a search of all records three times as fast; what is
written is not. PostgreSQL: its own defaults; writers take turns by an advisory lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from sqlite3 import Error as SqliteError
from typing import TypeAlias

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import OperationalError

FILE = "log.db"
Database: TypeAlias = Path | str
"""A file, or a URL "postgresql://..."."""
BUSY_SECONDS = 5.0
"""How long a writer waits for another one's transaction (SQLite), and for a server to answer (PostgreSQL)."""
SCRUB_MILLISECONDS = 500
"""How long emptying the journal of a file waits for those who read it, and whoever writes waits with it."""
MAPPED_BYTES = 2**31 - 65_536
"""Of the file, at most; SQLite's own limit. The rest is read as usual."""
WRITER_LOCK = 0x726F6C6C63616C6C
"""Advisory lock of whoever writes: the letters "rollcall"."""
_BEGIN = "rollcall_begin"


def database_of(directory: Path, url_file: Path | None) -> Database:
    """Say where a log is: at the URL in a file, if there is one, else in its directory. Raises OSError."""
    return directory / FILE if url_file is None else url_file.read_text(encoding="utf-8").strip()


def open_database(database: Database, *, foreign_keys: bool = True) -> Engine:
    """Open; a file is made if it is missing. Raises sqlalchemy.exc.ArgumentError for what is no URL."""
    if not isinstance(database, Path):
        url = make_url(database).set(drivername="postgresql+psycopg")
        return create_engine(
            url, pool_pre_ping=True, connect_args={"connect_timeout": int(BUSY_SECONDS)}, hide_parameters=True
        )
    engine = create_engine(f"sqlite:///{database}", connect_args={"timeout": BUSY_SECONDS}, hide_parameters=True)

    def on_connect(connection: SqliteConnection, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute(f"PRAGMA mmap_size={MAPPED_BYTES}")
        connection.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Write in one transaction that nobody else's comes between; committed at the end, unless something raises."""
    with engine.execution_options(**{_BEGIN: "IMMEDIATE"}).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": WRITER_LOCK})
        yield connection


def scrub(engine: Engine) -> bool:
    """Have a database forget what was deleted: SQLite empties its journal, PostgreSQL vacuums its tables.

    False where somebody who reads an older state of a file, or writes to it, is in the way: it is to be done again.
    Backups, and PostgreSQL's write-ahead log until it is recycled, are not reached by this. Raises DBAPIError.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("VACUUM payload, data_key, subject_key, reference, note"))
            return True
        sqlite = connection.connection.driver_connection
        assert isinstance(sqlite, SqliteConnection), "it is open"
        try:
            sqlite.execute(f"PRAGMA busy_timeout={SCRUB_MILLISECONDS}")  # meanwhile nobody writes
            busy, _, _ = sqlite.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except SqliteError as error:
            raise OperationalError(None, None, error) from error
        finally:
            sqlite.execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}")
        return not busy


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """Read one state of the log, whatever is appended meanwhile."""
    options = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
    with engine.connect().execution_options(**options) as connection:
        yield connection


@contextmanager
def reading(database: Database) -> Iterator[Connection]:
    """Read one state of a database that nobody here has open; raises FileNotFoundError."""
    if isinstance(database, Path) and not database.is_file():
        raise FileNotFoundError(2, "there is no log", str(database))
    engine = open_database(database)
    try:
        with snapshot(engine) as connection:
            yield connection
    finally:
        engine.dispose()


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get(_BEGIN, 'DEFERRED')}")
