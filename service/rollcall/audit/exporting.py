"""Exports records of a log that is open: for whoever asks, with an entry that says what left and why."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Connection

from rollcall.audit import queries
from rollcall.audit.archive import Archive
from rollcall.audit.events import EventKind
from rollcall.audit.export import ALL, Bundle, export
from rollcall.audit.masking import masked, words
from rollcall.audit.parts import INPUT, SCORES
from rollcall.audit.records import open_parts
from rollcall.audit.searching import matching
from rollcall.domain.errors import Blocked

MOST = 2_000
"""Records of one export: it is made in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """An export, and the index of the entry that tells of it."""

    bundle: Bundle
    log_index: int


def export_records(
    archive: Archive, names: Sequence[str], text: str, reason: str, actor: str, *, texts: bool = False
) -> Exported:
    """Export the records named, or those that a filter asks for now, under a checkpoint that covers all of them.

    `texts`: pages show the words of those that hold their input, masked; that each was opened is an entry of its own.
    Raises RecordNotFound, InvalidInput where they are too many, LogUnavailable.
    """
    archive.sign()
    with archive.reading() as connection:
        if names:
            wanted = [archive.find(connection, name) for name in names]
        else:
            wanted = matching(archive, connection, text, MOST)
        shown = _words(archive, connection, wanted) if texts else {}
        bundle = export(connection, archive.store.signer, wanted, shown if texts else None)
    with archive.acting() as acting:
        for record_id in shown:
            acting.log(
                archive.event(
                    acting.connection,
                    EventKind.ACCESS,
                    actor,
                    record_id=record_id,
                    code="export",
                    details={"parts": [INPUT, SCORES]},
                    note=reason,
                )
            )
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


def _words(archive: Archive, connection: Connection, record_ids: Sequence[str]) -> dict[str, list[str]]:
    """Words of the explanations that hold their text, masked. Whoever calls logs it."""
    shown = {}
    for record_id in record_ids:
        kept = queries.kept(connection, record_id)
        if kept.wrapped_key is None or not {INPUT, SCORES} <= {each.kind for each in kept.payloads}:
            continue
        parts = open_parts(archive, connection, record_id, (INPUT, SCORES))
        with suppress(Blocked):  # token ids are not shown
            shown[record_id] = words(masked(parts, archive.recognisers).parts)
    return shown
