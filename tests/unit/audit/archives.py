"""A log that is open, with some records in it, for everything that is asked of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rollcall.audit.accepted import Accepted
from rollcall.audit.archive import Archive
from rollcall.audit.database import Database
from rollcall.audit.notes import Signer
from rollcall.audit.store import Store
from rollcall.audit.subjects import SubjectKeys
from rollcall.audit.verify import verify
from rollcall.audit.verify_postgresql import verify_postgresql
from rollcall.audit.verifying import Report
from tests.unit.audit import samples

SIGNER = Signer(name="log.example", seed=bytes(32))
ANNA = "officer Anna"


@contextmanager
def open_archive(database: Database, *records: Accepted) -> Iterator[Archive]:
    """Keep records for the length of a block."""
    store = Store(database=database, signer=SIGNER)
    store.open(1.0)
    if records:
        store.append(records)
    try:
        yield Archive(
            store=store,
            subjects=SubjectKeys(operator=samples.KEY, find=store.subject_key),
            verifier=SIGNER.verifier,
            now=lambda: samples.AT + 1_000.0,
        )
    finally:
        store.close()


def check(archive: Archive, *kept: str) -> Report:
    """Verify a log from outside, whatever it is kept in."""
    database = archive.store.database
    if isinstance(database, Path):
        return verify(database, key=SIGNER.verifier, checkpoints=kept)
    return verify_postgresql(database, SIGNER.verifier, kept)
