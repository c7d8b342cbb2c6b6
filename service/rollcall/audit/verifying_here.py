"""Verifies the log that this server has open, as an auditor verifies it from outside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rollcall.audit.archive import Archive
from rollcall.audit.verify_log import verify_log
from rollcall.audit.verifying import Report, Unverifiable
from rollcall.domain.errors import LogUnavailable


def verify_here(archive: Archive, checkpoints: Sequence[str]) -> Report:
    """Verify every column of the database, with this server's own key. Raises LogUnavailable."""
    archive.check_sees_all()
    database = archive.store.database
    try:
        if isinstance(database, Path):
            return verify_log(database, archive.verifier, checkpoints)
        from rollcall.audit.verify_postgresql import verify_postgresql  # noqa: PLC0415 - psycopg is an extra

        return verify_postgresql(database, archive.verifier, checkpoints)
    except Unverifiable as error:
        message = "the log's database cannot be read as a log"
        raise LogUnavailable(message) from error
