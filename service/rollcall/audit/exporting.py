"""Exports records of a log that is open: for whoever asks, with an entry that says what left and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rollcall.audit.archive import Archive
from rollcall.audit.events import EventKind
from rollcall.audit.export import ALL, Bundle, export
from rollcall.audit.searching import matching

MOST = 2_000
"""Records of one export: it is made in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """An export, and the index of the entry that tells of it."""

    bundle: Bundle
    log_index: int


def export_records(archive: Archive, names: Sequence[str], text: str, reason: str, actor: str) -> Exported:
    """Export the records named, or those that a filter asks for now, under a checkpoint that covers all of them.

    Raises RecordNotFound, InvalidInput where they are too many, LogUnavailable.
    """
    archive.sign()
    with archive.reading() as connection:
        if names:
            wanted = [archive.find(connection, name) for name in names]
        else:
            wanted = matching(archive, connection, text, MOST)
        bundle = export(connection, archive.store.signer, wanted)
    with archive.acting() as acting:
        index = acting.log(
            archive.event(
                acting.connection,
                EventKind.EXPORT,
                actor,
                code="records" if names or text else ALL,
                details={"records": bundle.records, "manifest_sha256": bundle.digest},
                note=reason,
            )
        )
    return Exported(bundle=bundle, log_index=index)
