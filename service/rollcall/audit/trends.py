"""How the answers of a model went, period by period: counted in the database by its indices, without opening a record.

Answers count in the period in which they were given; reviews and replays in that in which they were done. Days are
those of UTC, as records say them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import Enum

from sqlalchemy import ColumnElement, Connection, exists, func, not_, select

from rollcall.audit import queries
from rollcall.audit.archive import Archive
from rollcall.audit.comparing import Outcome
from rollcall.audit.events import EventKind
from rollcall.audit.record import DECISION
from rollcall.audit.reviewing import SECOND
from rollcall.audit.reviews import ReviewState
from rollcall.audit.schema import EVENT, RECORD
from rollcall.domain.verdicts import Flag, Reason

MAX_DAYS = 800
"""From the first day to the last: longer than records are kept for in the usual matrices; one query reads them all."""
_DATE_CHARACTERS = len("2026-11-27")


class Period(Enum):
    """How long a period is."""

    DAY = "day"
    WEEK = "week"
    """From Monday on."""
    MONTH = "month"

    def start(self, day: date) -> date:
        """First day of the period in which a day lies."""
        match self:
            case Period.DAY:
                return day
            case Period.WEEK:
                return day - timedelta(days=day.weekday())
            case Period.MONTH:
                return day.replace(day=1)

    def following(self, start: date) -> date:
        """First day of the period after the one that begins with `start`."""
        longest = {Period.DAY: 1, Period.WEEK: 7, Period.MONTH: 31}[self]
        return self.start(start + timedelta(days=longest))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Of which model, of which of its weights ("" for all), from the period of one day to that of another."""

    model: str
    digest: str
    since: date
    until: date
    period: Period


@dataclass(slots=True, kw_only=True)
class Trend:
    """What happened in the period that begins with `start`.

    `flags` counts explanations by the flag and reason of their primary map; `opened` and `closed` are reviews, `opened`
    for the first time; `seconds` second opinions, of which `agreed` came to what the first had.
    """

    start: date
    flags: Counter[tuple[Flag, Reason]] = field(default_factory=Counter)
    decisions: int = 0
    mismatches: int = 0
    usable: int = 0
    opened: int = 0
    closed: int = 0
    seconds: int = 0
    agreed: int = 0
    replays: Counter[Outcome] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trends:
    """Every period, in their order, in a log of `size` entries."""

    periods: tuple[Trend, ...]
    size: int


def trends(archive: Archive, asked: Asked) -> Trends:
    """Count. Raises LogUnavailable."""
    first = asked.period.start(asked.since)
    end = asked.period.following(asked.period.start(asked.until))
    periods = {start: Trend(start=start) for start in _starts(asked.period, first, end)}

    def of(day: str) -> Trend:
        return periods[asked.period.start(date.fromisoformat(day))]

    with archive.reading() as connection:
        size = queries.size(connection)
        _answers(connection, of, [*_records(archive, asked), *_between(RECORD.c.created_at, first, end)])
        told = [EVENT.c.record_id == RECORD.c.record_id, *_records(archive, asked)]
        _events(connection, of, [*told, *_between(EVENT.c.created_at, first, end)])
    return Trends(periods=tuple(periods.values()), size=size)


def _answers(connection: Connection, of: Callable[[str], Trend], wanted: Iterable[ColumnElement[bool]]) -> None:
    """Count answers."""
    columns = (RECORD.c.type, RECORD.c.flag, RECORD.c.reason, RECORD.c.mismatch, RECORD.c.usable_for_notice)
    day = func.substr(RECORD.c.created_at, 1, _DATE_CHARACTERS).label("day")
    counted = select(day, *columns, func.count().label("answers")).where(*wanted).group_by(day, *columns)
    for row in connection.execute(counted):
        trend = of(row.day)
        trend.mismatches += row.answers * row.mismatch
        if row.type == DECISION:
            trend.decisions += row.answers
        else:
            trend.flags[Flag(row.flag), Reason(row.reason)] += row.answers
            trend.usable += row.answers * row.usable_for_notice


def _events(connection: Connection, of: Callable[[str], Trend], wanted: list[ColumnElement[bool]]) -> None:
    """Count what was done: replays, reviews that were opened or closed, and second opinions."""
    day = func.substr(EVENT.c.created_at, 1, _DATE_CHARACTERS).label("day")

    def counted(kind: EventKind, *further: ColumnElement[bool]) -> Iterator[tuple[Trend, str, int]]:
        rows = (
            select(day, EVENT.c.code, func.count().label("events"))
            .where(EVENT.c.type == kind.value, *wanted, *further)
            .group_by(day, EVENT.c.code)
        )
        for row in connection.execute(rows):
            yield of(row.day), row.code, row.events

    for trend, code, events in counted(EventKind.REPLAY):
        trend.replays[Outcome(code)] += events
    for trend, _, events in counted(EventKind.REVIEW, EVENT.c.code == ReviewState.OPEN.value, _first()):
        trend.opened += events
    for trend, _, events in counted(EventKind.REVIEW, EVENT.c.code == ReviewState.CLOSED.value):
        trend.closed += events
    seconds = select(day, EVENT.c.body).where(EVENT.c.type == EventKind.REVIEW.value, EVENT.c.about == SECOND, *wanted)
    for row in connection.execute(seconds):
        details = json.loads(row.body)["details"]
        trend = of(row.day)
        trend.seconds += details["first"] is not None
        trend.agreed += details["first"] == details["disposition"]


def _first() -> ColumnElement[bool]:
    """Whether an event of a review is its record's first: remarks leave an open review open, and are not openings."""
    earlier = EVENT.alias()
    before = select(earlier.c.leaf_index).where(
        earlier.c.record_id == EVENT.c.record_id,
        earlier.c.type == EventKind.REVIEW.value,
        earlier.c.leaf_index < EVENT.c.leaf_index,
    )
    return not_(exists(before.correlate(EVENT)))


def _records(archive: Archive, asked: Asked) -> list[ColumnElement[bool]]:
    weights = [RECORD.c.model_digest == asked.digest] if asked.digest else []
    return [RECORD.c.model == asked.model, *weights, archive.seen()]


def _between(column: ColumnElement[str], first: date, end: date) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return column >= first.isoformat(), column < end.isoformat()


def _starts(period: Period, first: date, end: date) -> Iterator[date]:
    while first < end:
        yield first
        first = period.following(first)
