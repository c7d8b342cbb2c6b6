"""How a model's answers went is what their envelopes and the events of the log say, counted."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from rollcall.audit.accepted import Accepted, accept
from rollcall.audit.archive import Archive
from rollcall.audit.canonical import new_id
from rollcall.audit.comparing import Outcome
from rollcall.audit.database import Database
from rollcall.audit.events import EventKind
from rollcall.audit.following import entries
from rollcall.audit.reviewing import Doing, act
from rollcall.audit.reviews import Disposition, ReviewAction
from rollcall.audit.trends import Asked, Period, Trend, Trends, trends
from rollcall.audit.triggers import ReviewRules
from rollcall.domain.identity import Identity
from rollcall.domain.verdicts import Flag, Reason
from tests.unit.audit import samples
from tests.unit.audit.archives import open_archive
from tests.unit.edge import samples as answers

MONDAY = date(2026, 11, 23)
DAY_SECONDS = 86_400.0
ANNA, BERT, CLEO = "Anna", "Bert", "Cleo"
LOW = Reason.LOW_POWER
MADE = (
    # day, flag, reason, mismatch, model, tenant; no flag is a decision
    (0, Flag.FAITHFUL, Reason.NONE, False, answers.MODEL, ""),
    (0, Flag.FAITHFUL, Reason.NONE, True, answers.MODEL, "ours"),
    (0, Flag.UNFAITHFUL, Reason.NONE, False, answers.MODEL, ""),
    (0, Flag.FAITHFUL, Reason.NONE, False, "another", ""),
    (2, Flag.INCONCLUSIVE, LOW, False, answers.MODEL, "ours"),
    (2, Flag.INCONCLUSIVE, Reason.FLAT_MAP, True, answers.MODEL, ""),
    (2, None, Reason.NONE, True, answers.MODEL, ""),
    (9, Flag.NOT_CHECKED, Reason.NONE, False, answers.MODEL, "theirs"),
    (40, Flag.FAITHFUL, Reason.NONE, False, answers.MODEL, ""),
)


def at(day: float) -> float:
    """Give noon of a day after MONDAY, in Unix seconds."""
    return datetime(MONDAY.year, MONDAY.month, MONDAY.day, 12, tzinfo=UTC).timestamp() + day * DAY_SECONDS


def made(number: int) -> Accepted:
    """Make a record of MADE."""
    day, flag, reason, mismatch, model, tenant = MADE[number]
    when = at(day) + number
    where = replace(samples.WHERE, record_id=new_id(when, number.to_bytes(10, "big")), created_at=when)
    told: Any = samples.decided() if flag is None else samples.explained()
    caller = Identity(name="backend", tenant=tenant, roles=frozenset())
    told = replace(told, card=answers.card(model), request=replace(told.request, caller=caller))
    if flag is not None:
        maps = tuple(replace(each, verdict=answers.verdict(flag, reason)) for each in told.explanation.attributions)
        answer = replace(told.explanation, explanation_id=f"e-{number}", attributions=maps, reported_mismatch=mismatch)
        told = replace(told, explanation=replace(answer, recommended_map=None))
    return accept(told, where, salt=samples.SALT, data_key=samples.DATA_KEY, operator=samples.KEY)


def work_on(archive: Archive) -> None:
    """Review and replay some, on other days than their answers."""
    archive.rules = ReviewRules(second_share=1.0, key=b"key")

    def do(day: float, name: str, action: ReviewAction, actor: str, disposition: Disposition | None = None) -> None:
        archive.now = lambda: at(day)
        doing = Doing(action=action, actor=actor, rationale="why", assignee=ANNA, disposition=disposition)
        act(archive, name, doing, four_eyes=True)

    for name in ("e-0", "e-1"):
        do(1, name, ReviewAction.OPEN, CLEO)
        do(1, name, ReviewAction.COMMENT, CLEO)
        do(2, name, ReviewAction.ASSIGN, ANNA)
        do(2, name, ReviewAction.DECIDE, ANNA, Disposition.OVERTURNED)
    do(3, "e-0", ReviewAction.SECOND, CLEO, Disposition.OVERTURNED)
    do(3, "e-1", ReviewAction.SECOND, CLEO, Disposition.UPHELD)
    do(9, "e-0", ReviewAction.APPROVE, BERT)
    do(9, "e-0", ReviewAction.REOPEN, BERT)
    for day, name, outcome in (
        (2, "e-0", Outcome.EXACT), (2, "e-4", Outcome.EXACT), (2, "e-2", Outcome.VERDICT_CHANGED),
        (9, "e-0", Outcome.NOT_REPLAYABLE), (9, "e-3", Outcome.DIFFERENT),
    ):  # fmt: skip
        archive.now = lambda: at(day)  # noqa: B023 - called at once
        with archive.acting() as acting:
            record_id = archive.find(acting.connection, name)
            acting.log(
                archive.event(acting.connection, EventKind.REPLAY, ANNA, record_id=record_id, code=outcome.value)
            )


def asked(since: int = 0, until: int = 41, period: Period = Period.DAY, digest: str = "") -> Asked:
    """Ask about days after MONDAY."""
    first, last = (date.fromordinal(MONDAY.toordinal() + day) for day in (since, until))
    return Asked(model=answers.MODEL, digest=digest, since=first, until=last, period=period)


def counted(archive: Archive, wanted: Asked) -> dict[date, Trend]:
    """Count what the entries of the log say, one by one."""
    found: dict[date, Trend] = {}
    ours, opened = set(), set()
    for entry in entries(archive, 0):
        record, event = (json.loads(text) if text else None for text in (entry.envelope, entry.event))
        told = record or event
        if told is None:
            continue
        start = wanted.period.start(date.fromisoformat(told["created_at"][:10]))
        trend = found.setdefault(start, Trend(start=start))
        if record and record["model"]["name"] == wanted.model:
            ours.add(record["record_id"])
            trend.mismatches += record["request"]["reported"]["mismatch"]
            if record["verdict"] is None:
                trend.decisions += 1
            else:
                trend.flags[Flag(record["verdict"]["flag"]), Reason(record["verdict"]["reason"])] += 1
                trend.usable += record["verdict"]["usable_for_notice"]
        if event and event["record_id"] in ours:
            action = event["details"].get("action")
            trend.opened += action == "open" and event["record_id"] not in opened
            opened |= {event["record_id"]} if action == "open" else set()
            trend.closed += action == "approve"
            trend.seconds += action == "second"
            trend.agreed += action == "second" and event["details"]["first"] == event["details"]["disposition"]
            if event["type"] == "replay":
                trend.replays[Outcome(event["code"])] += 1
    return found


def in_them(found: Trends) -> dict[date, Trend]:
    """Give the periods in which anything happened."""
    return {each.start: each for each in found.periods if each != Trend(start=each.start)}


@pytest.mark.parametrize("period", list(Period))
def test_trends_are_what_the_log_says(database: Database, period: Period) -> None:
    """Every number of every period is that of the envelopes and events, read one by one."""
    with open_archive(database, *map(made, range(len(MADE)))) as archive:
        work_on(archive)
        found = trends(archive, asked(period=period))
        wanted = counted(archive, asked(period=period))
        assert in_them(found) == {start: each for start, each in wanted.items() if each != Trend(start=start)}
        assert sum(each.seconds for each in found.periods) == 2
        starts = [each.start for each in found.periods]
        assert starts == sorted(set(map(period.start, (date.fromordinal(o) for o in range(
            MONDAY.toordinal(), MONDAY.toordinal() + 42)))))  # fmt: skip


def test_only_what_was_asked_for_is_counted(database: Database) -> None:
    """Other days, other weights and, for whoever does not see them, other tenants do not count."""
    with open_archive(database, *map(made, range(len(MADE)))) as archive:
        work_on(archive)
        (monday,) = trends(archive, asked(until=0)).periods
        assert monday.flags == Counter({(Flag.FAITHFUL, Reason.NONE): 2, (Flag.UNFAITHFUL, Reason.NONE): 1})
        assert (monday.mismatches, monday.opened) == (1, 0)
        assert trends(archive, asked(digest=answers.card().ref.digest)) == trends(archive, asked())
        assert in_them(trends(archive, asked(digest="sha256:" + "0" * 64))) == {}
        ours = in_them(trends(archive.seen_by(frozenset({"ours"})), asked()))
        assert [sum(each.flags.values()) for each in ours.values()] == [1, 0, 1, 0]
        assert [each.opened for each in ours.values()] == [0, 1, 0, 0]
        assert [sum(each.replays.values()) for each in ours.values()] == [0, 0, 1, 0]
        assert in_them(trends(archive.seen_by(frozenset()), asked())) == {}


@pytest.mark.parametrize(
    ("period", "day", "start", "following"),
    [
        (Period.DAY, date(2026, 12, 31), date(2026, 12, 31), date(2027, 1, 1)),
        (Period.WEEK, date(2027, 1, 1), date(2026, 12, 28), date(2027, 1, 4)),
        (Period.MONTH, date(2028, 2, 29), date(2028, 2, 1), date(2028, 3, 1)),
        (Period.MONTH, date(2026, 12, 31), date(2026, 12, 1), date(2027, 1, 1)),
    ],
)
def test_periods_follow_each_other(period: Period, day: date, start: date, following: date) -> None:
    """Weeks begin on Mondays, months on their first; none is left out."""
    assert (period.start(day), period.following(period.start(day))) == (start, following)
