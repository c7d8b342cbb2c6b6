"""How the log's SQLite database is opened: WAL with synchronous=FULL, so that a commit survives a power cut."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection as SqliteConnection

from sqlalchemy import Connection, Engine, create_engine, event

FILE = "log.db"
BUSY_SECONDS = 5.0
"""How long a writer waits for another one's transaction."""
_BEGIN = "rollcall_begin"


def open_database(path: Path) -> Engine:
    """Open, and make if it is missing."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Write in one transaction that nobody else's comes between; committed at the end, unless something raises."""
    with engine.execution_options(**{_BEGIN: "IMMEDIATE"}).begin() as connection:
        yield connection


@contextmanager
def reading(path: Path) -> Iterator[Connection]:
    """Read one state of the database at `path`; raises FileNotFoundError."""
    if not path.is_file():
        raise FileNotFoundError(2, "there is no log", str(path))
    engine = open_database(path)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _on_connect(connection: SqliteConnection, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the driver
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get(_BEGIN, 'DEFERRED')}")
