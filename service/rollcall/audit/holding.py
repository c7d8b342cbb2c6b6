"""Legal holds: while a matter needs a record, nobody erases it. Several matters may need the same one.

There is no table of holds: a matter holds a record if the log says so last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, case, func, select

from rollcall.audit.archive import Archive
from rollcall.audit.events import EventKind
from rollcall.audit.schema import EVENT
from rollcall.audit.searching import matching
from rollcall.domain.errors import InvalidInput

MOST = 10_000
"""Records that one call may hold or release."""
CHUNK = 500
"""Ids of one query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a call came to: the records that changed, and the index of the last entry that tells so, if any did."""

    records: tuple[str, ...]
    log_index: int | None


def matters(connection: Connection, record_ids: Iterable[str]) -> dict[str, list[str]]:
    """Matters by record, for those of the records that some matter holds."""
    ids, found = list(record_ids), dict[str, list[str]]()
    placed = case((EVENT.c.type == EventKind.HOLD.value, 1), else_=-1)
    kinds = (EventKind.HOLD.value, EventKind.RELEASE.value)
    for start in range(0, len(ids), CHUNK):
        for row in connection.execute(
            select(EVENT.c.record_id, EVENT.c.about)
            .where(EVENT.c.record_id.in_(ids[start : start + CHUNK]), EVENT.c.type.in_(kinds))
            .group_by(EVENT.c.record_id, EVENT.c.about)
            .having(func.sum(placed) > 0)
            .order_by(EVENT.c.about)
        ):
            found.setdefault(str(row.record_id), []).append(str(row.about))
    return found


def place(archive: Archive, matter: str, names: Sequence[str], text: str, reason: str, actor: str) -> Held:
    """Hold records: those named, or those that a filter asks for now. Those that the matter holds already stay so.

    Raises RecordNotFound, InvalidInput, LogUnavailable.
    """
    return _change(archive, EventKind.HOLD, matter, names, text, reason, actor)


def release(archive: Archive, matter: str, names: Sequence[str], reason: str, actor: str) -> Held:
    """End a matter's hold of records, of all that it holds if none is named. Raises RecordNotFound, LogUnavailable."""
    return _change(archive, EventKind.RELEASE, matter, names, "", reason, actor)


def _change(
    archive: Archive, kind: EventKind, matter: str, names: Sequence[str], text: str, reason: str, actor: str
) -> Held:
    with archive.acting() as acting:
        connection = acting.connection
        if names:
            wanted = [archive.find(connection, name) for name in names]
        elif kind is EventKind.HOLD:
            wanted = _asked_for(archive, connection, text)
        else:
            rows = connection.execute(select(EVENT.c.record_id).where(EVENT.c.about == matter).distinct())
            wanted = [str(record_id) for (record_id,) in rows if record_id is not None]
        held = matters(connection, wanted)
        changed = [
            record_id
            for record_id in dict.fromkeys(wanted)
            if (matter in held.get(record_id, ())) is (kind is EventKind.RELEASE)
        ]
        index = None
        for record_id in changed:
            index = acting.log(archive.event(connection, kind, actor, record_id=record_id, about=matter, note=reason))
    return Held(records=tuple(changed), log_index=index)


def _asked_for(archive: Archive, connection: Connection, text: str) -> list[str]:
    if not text:
        raise InvalidInput.of("filter", "required where no records are named")
    return matching(archive, connection, text, MOST)
