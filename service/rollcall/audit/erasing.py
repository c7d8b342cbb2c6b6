"""Erases records by destroying their keys; what is left proves that they were there, and tells nothing of anybody.

Destroyed are the wrapped key, the sealed parts, the index over names and the notes of whoever worked on the record;
envelope and entry stay, and every proof holds. One entry says why and how much, one for each record that it is erased.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from sqlalchemy import Connection, delete, select, update

from rollcall.audit import queries
from rollcall.audit.archive import Archive
from rollcall.audit.events import EventKind, Once
from rollcall.audit.holding import CHUNK, matters
from rollcall.audit.references import ReferenceKind, index_digest
from rollcall.audit.schema import DATA_KEY, EVENT, NOTE, PAYLOAD, REFERENCE, SUBJECT_KEY
from rollcall.audit.sealing import index_key
from rollcall.audit.store import Acting, Before
from rollcall.domain.errors import Blocked, RecordNotFound


class Ground(Enum):
    """Why something is erased."""

    PERSON = "person"
    """The person asked for it."""
    OBLIGATION = "obligation"
    """A law or an authority demands it."""
    MISTAKE = "mistake"
    """It should not have been kept."""
    RETENTION = "retention"
    """It was kept long enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What was erased: an id, how many records, and the index of the entry that says why and how much."""

    erasure_id: str
    records: tuple[str, ...]
    log_index: int


def erase_record(
    archive: Archive, name: str, ground: Ground, reason: str, actor: str, once: Once | None = None
) -> Erased:
    """Erase one record. Raises RecordNotFound, Blocked where it is held or erased already, LogUnavailable."""
    with archive.acting(once) as acting:
        if acting.before is not None:
            return _erased_before(acting.connection, acting.before)
        record_id = archive.find(acting.connection, name)
        if not _left(acting, [record_id]):
            message = "the record is erased already"
            raise Blocked("erased", message)
        erased = destroy(archive, acting, [record_id], ground, reason, actor)
    archive.scrub()
    return erased


def erase_subject(
    archive: Archive,
    subject_ref: str,
    ground: Ground,
    reason: str,
    actor: str,
    once: Once | None = None,
    tenant: str | None = None,
) -> Erased:
    """Erase every record about a person, and the person's keys. All of them, or none.

    The same name is another person's with another `tenant`: which one must be said where there are several.
    What was done `once` is about this person if nothing is left about them: nothing else says whom it was about.
    Raises RecordNotFound where nothing is left about this person, Blocked where a record is held, LogUnavailable.
    """
    key = index_key(archive.operator)
    with archive.acting(once) as acting:
        found = {
            each: queries.named(
                acting.connection, ReferenceKind.SUBJECT, index_digest(key, ReferenceKind.SUBJECT, subject_ref, each)
            )
            for each in archive.tenants(acting.connection)
            if tenant is None or each == tenant
        }
        about = {each: ids for each, ids in found.items() if ids}
        if len(about) > 1:
            raise Blocked("tenant", f"several tenants have records about this subject: {', '.join(about)[:200]}")
        record_ids = next(iter(about.values()), [])
        if acting.before is not None:
            if record_ids:
                raise Blocked("idempotency_key", "this key was used before, and there are records about this subject")
            return _erased_before(acting.connection, acting.before)
        if not record_ids:
            message = "the log has no record about this subject that is not erased"
            raise RecordNotFound(message)
        keys = _subject_keys(acting, record_ids)
        erased = destroy(archive, acting, record_ids, ground, reason, actor, keys)
    archive.subjects.forget()
    archive.scrub()
    return erased


def destroy(
    archive: Archive,
    acting: Acting,
    record_ids: Sequence[str],
    ground: Ground,
    reason: str,
    actor: str,
    subject_keys: Sequence[str] = (),
) -> Erased:
    """Destroy what can be read of records, in the transaction that logs it. Raises Blocked where one is held."""
    connection = acting.connection
    held = matters(connection, record_ids)
    if held:
        names = ", ".join(sorted({matter for each in held.values() for matter in each}))
        raise Blocked("hold", f"{len(held)} of {len(record_ids)} records are held for: {names[:200]}")
    for start in range(0, len(record_ids), CHUNK):
        ids = record_ids[start : start + CHUNK]
        notes = select(EVENT.c.event_id).where(EVENT.c.record_id.in_(ids))
        connection.execute(delete(NOTE).where(NOTE.c.event_id.in_(notes)))
        for table in (PAYLOAD, REFERENCE, DATA_KEY):
            connection.execute(delete(table).where(table.c.record_id.in_(ids)))
    if subject_keys:
        connection.execute(update(SUBJECT_KEY).where(SUBJECT_KEY.c.key_id.in_(subject_keys)).values(wrapped=None))
    erasure_id = secrets.token_hex(8)
    index = acting.log(
        archive.event(
            connection,
            EventKind.ERASURE,
            actor,
            about=erasure_id,
            code=ground.value,
            details={"records": len(record_ids), "subject_keys": sorted(subject_keys)},
            note=reason,
        )
    )
    for record_id in record_ids:
        acting.log(
            archive.event(
                connection, EventKind.ERASURE, actor, record_id=record_id, about=erasure_id, code=ground.value
            )
        )
    return Erased(erasure_id=erasure_id, records=tuple(record_ids), log_index=index)


def _erased_before(connection: Connection, before: Before) -> Erased:
    erasure_id = before.body["about"]
    rows = connection.execute(
        select(EVENT.c.record_id)
        .where(EVENT.c.about == erasure_id, EVENT.c.record_id.is_not(None))
        .order_by(EVENT.c.leaf_index)
    )
    ids = tuple(str(record_id) for (record_id,) in rows)
    return Erased(erasure_id=erasure_id, records=ids, log_index=before.leaf_index)


def _left(acting: Acting, record_ids: Sequence[str]) -> bool:
    found = select(DATA_KEY.c.record_id).where(DATA_KEY.c.record_id.in_(record_ids))
    return acting.connection.execute(found).first() is not None


def _subject_keys(acting: Acting, record_ids: Sequence[str]) -> list[str]:
    found: set[str] = set()
    for start in range(0, len(record_ids), CHUNK):
        rows = acting.connection.execute(
            select(SUBJECT_KEY.c.key_id)
            .join(DATA_KEY, DATA_KEY.c.key_id == SUBJECT_KEY.c.key_id)
            .where(DATA_KEY.c.record_id.in_(record_ids[start : start + CHUNK]))
            .distinct()
        )
        found |= {str(key_id) for (key_id,) in rows}
    return sorted(found)
