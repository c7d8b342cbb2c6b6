"""Erases what was kept long enough: a table of days by model and type of record, with a floor, and a dry run.

What is erased are keys and sealed parts, as for any erasure. Envelopes hold no personal data and stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import ColumnElement, Connection, func, not_, select

from rollcall.audit.archive import Archive
from rollcall.audit.canonical import timestamp
from rollcall.audit.erasing import Erased, Ground, destroy
from rollcall.audit.record import DECISION, EXPLANATION
from rollcall.audit.schema import RECORD
from rollcall.audit.searching import erased, held

DAY_SECONDS = 86_400.0
BATCH = 500
"""Records of one transaction."""

Matrix: TypeAlias = Mapping[tuple[str, str], int]
"""Days by model and type of record; what has no row is kept for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """One row: how long, made before when, how many records are due, and how many of those that would be are held."""

    model: str
    type: str
    days: int
    before: str
    records: int
    held: int


def days_of(model: str, own: int | None, explanation_days: int | None, decision_days: int | None) -> Matrix:
    """Rows of a model: its `own` days, if it has any, win over those of the type."""
    by_type = {EXPLANATION: own or explanation_days, DECISION: own or decision_days}
    return {(model, kind): days for kind, days in by_type.items() if days is not None}


def plan(archive: Archive) -> list[Due]:
    """Say what is due, and change nothing. Raises LogUnavailable."""
    archive.check_sees_all()
    rows = sorted(archive.retention.items())
    with archive.reading() as connection:
        return [_due(archive, connection, model, kind, days) for (model, kind), days in rows]


def apply(archive: Archive, reason: str, actor: str) -> list[Erased]:
    """Erase what is due, in batches, each under an entry of its own. What is held is left alone.

    Raises LogUnavailable; what was erased by then is.
    """
    archive.check_sees_all()
    done: list[Erased] = []
    try:
        _erase_all(archive, reason, actor, done)
    finally:
        if done:
            archive.scrub()
    return done


def _erase_all(archive: Archive, reason: str, actor: str, done: list[Erased]) -> None:
    for (model, kind), days in sorted(archive.retention.items()):
        while True:
            with archive.acting() as acting:
                rows = acting.connection.execute(
                    select(RECORD.c.record_id)
                    .where(*_kept_too_long(archive, model, kind, days), not_(held()))
                    .order_by(RECORD.c.record_id)
                    .limit(BATCH)
                )
                ids = [str(record_id) for (record_id,) in rows]
                if not ids:
                    break
                done.append(destroy(archive, acting, ids, Ground.RETENTION, reason, actor))


def _due(archive: Archive, connection: Connection, model: str, kind: str, days: int) -> Due:
    late = _kept_too_long(archive, model, kind, days)
    counted = select(func.count()).select_from(RECORD).where(*late)
    return Due(
        model=model,
        type=kind,
        days=days,
        before=_before(archive, days),
        records=int(connection.execute(counted.where(not_(held()))).scalar_one()),
        held=int(connection.execute(counted.where(held())).scalar_one()),
    )


def _kept_too_long(archive: Archive, model: str, kind: str, days: int) -> tuple[ColumnElement[bool], ...]:
    return (
        RECORD.c.model == model,
        RECORD.c.type == kind,
        RECORD.c.created_at < _before(archive, days),
        not_(erased()),
    )


def _before(archive: Archive, days: int) -> str:
    return timestamp(archive.now() - days * DAY_SECONDS)
