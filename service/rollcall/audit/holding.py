"""Legal holds: while a matter needs a record, nobody erases it. Several matters may need the same one.

There is no table of holds: a matter holds a record if the log says so last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, case, func, select

from rollcall.audit.archive import Archive
from rollcall.audit.events import EventKind, Once
from rollcall.audit.schema import EVENT
from rollcall.audit.searching import matching
from rollcall.audit.store import Before
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


def place(
    archive: Archive, matter: str, names: Sequence[str], text: str, reason: str, actor: str, once: Once | None = None
) -> Held:
    """Hold records: those named, or those that a filter asks for now. Those that the matter holds already stay so.

    Raises RecordNotFound, InvalidInput, LogUnavailable.
    """

    def wanted(connection: Connection) -> list[str]:
        return [archive.find(connection, name) for name in names] or _asked_for(archive, connection, text)

    return _change(archive, EventKind.HOLD, matter, wanted, reason, actor, once)


def release(
    archive: Archive, matter: str, names: Sequence[str], reason: str, actor: str, once: Once | None = None
) -> Held:
    """End a matter's hold of records, of all that it holds if none is named. Raises RecordNotFound, LogUnavailable."""

    def wanted(connection: Connection) -> list[str]:
        return [archive.find(connection, name) for name in names] or _about(archive, connection, matter)

    return _change(archive, EventKind.RELEASE, matter, wanted, reason, actor, once)


def _change(
    archive: Archive,
    kind: EventKind,
    matter: str,
    wanted: Callable[[Connection], list[str]],
    reason: str,
    actor: str,
    once: Once | None,
) -> Held:
    with archive.acting(once) as acting:
        connection = acting.connection
        if acting.before is not None:
            return _changed_before(connection, acting.before)
        ids = wanted(connection)
        held = matters(connection, ids)
        changed = [
            record_id
            for record_id in dict.fromkeys(ids)
            if (matter in held.get(record_id, ())) is (kind is EventKind.RELEASE)
        ]
        index, details = None, {"records": len(changed)}
        for record_id in changed:
            event = archive.event(
                connection, kind, actor, record_id=record_id, about=matter, details=details, note=reason
            )
            index = acting.log(event)
    return Held(records=tuple(changed), log_index=index)


def _changed_before(connection: Connection, before: Before) -> Held:
    """Give what a call came to whose first entry is known: an entry for each record, one behind the other."""
    last = before.leaf_index + before.body["details"]["records"] - 1
    rows = connection.execute(
        select(EVENT.c.record_id)
        .where(EVENT.c.leaf_index.between(before.leaf_index, last))
        .order_by(EVENT.c.leaf_index)
    )
    return Held(records=tuple(str(record_id) for (record_id,) in rows), log_index=last)


def _about(archive: Archive, connection: Connection, matter: str) -> list[str]:
    kinds = (EventKind.HOLD.value, EventKind.RELEASE.value)
    rows = connection.execute(
        select(EVENT.c.record_id)
        .where(EVENT.c.about == matter, EVENT.c.type.in_(kinds), archive.told(EVENT.c.record_id))
        .distinct()
    )
    return [str(record_id) for (record_id,) in rows if record_id is not None]


def _asked_for(archive: Archive, connection: Connection, text: str) -> list[str]:
    if not text:
        raise InvalidInput.of("filter", "required where no records are named")
    return matching(archive, connection, text, MOST)
