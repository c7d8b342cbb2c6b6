"""Verifies a log in PostgreSQL as `verify_log` does one in SQLite: the same walk over the same tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg.rows import dict_row

from rollcall.audit.notes import Verifier
from rollcall.audit.verify_log import verify_tables
from rollcall.audit.verifying import Report, Unverifiable

BATCH = 1000
"""Rows of a whole table that are fetched at once."""


def verify_postgresql(url: str, key: Verifier | None, kept: Sequence[str] = ()) -> Report:
    """Verify the database at `url`; `kept` are notes of checkpoints from elsewhere. Raises Unverifiable."""
    try:
        with psycopg.connect(url, row_factory=dict_row) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            report = Report(subject=f"log {connection.info.dbname} at {connection.info.host}")
            verify_tables(_Asking(connection), key, kept, report)
    except psycopg.Error as error:
        message = f"the database cannot be read as a log: {type(error).__name__}"
        raise Unverifiable(message) from error
    return report


class _Asking:
    """Asks one connection; whole tables come in batches."""

    def __init__(self, connection: psycopg.Connection[dict[str, Any]]) -> None:
        self._connection = connection
        self._scans = 0

    def __call__(self, query: str, *values: object) -> Iterable[Mapping[str, Any]]:
        if values:
            return self._connection.execute(query.replace("?", "%s").encode(), values).fetchall()
        return self._scan(query)

    def _scan(self, query: str) -> Iterator[Mapping[str, Any]]:
        self._scans += 1
        with self._connection.cursor(f"scan_{self._scans}", row_factory=dict_row) as cursor:
            cursor.itersize = BATCH
            yield from cursor.execute(query.encode())
