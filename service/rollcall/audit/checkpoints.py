"""Copies of checkpoints outside the database: what an old or rewritten copy of the database is found out by.

Each is a file `<size>.note` in a directory, best one on other storage. Who keeps them where the operator cannot change
them need not trust the operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from rollcall.audit import queries
from rollcall.audit.merkle import root
from rollcall.audit.notes import Verifier, open_checkpoint
from rollcall.audit.queries import Signed
from rollcall.disk import replace_file

SUFFIX = ".note"


class OldLog(Exception):
    """The database holds less than, or something else than, what was signed before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """A directory of checkpoints."""

    directory: Path

    def keep(self, signed: Signed) -> None:
        """Write a checkpoint. Raises OSError."""
        self.directory.mkdir(parents=True, exist_ok=True)
        replace_file(self.directory / f"{signed.size:012d}{SUFFIX}", signed.note)

    def last(self) -> str | None:
        """Note of the largest size; None where there is none."""
        paths = sorted(self.directory.glob(f"*{SUFFIX}"))
        return paths[-1].read_text(encoding="utf-8") if paths else None


def hold_against(connection: Connection, note: str, key: Verifier) -> None:
    """Raise OldLog unless the log begins with what a checkpoint says; NoteError where that is not the log's own."""
    signed = open_checkpoint(note, [key])
    size = queries.size(connection)
    if size < signed.size:
        message = f"the log has {size} entries and had {signed.size} when it was signed: an old copy?"
        raise OldLog(message)
    if root(queries.node(connection), signed.size) != signed.root:
        message = f"the first {signed.size} entries of the log are not those that were signed"
        raise OldLog(message)
