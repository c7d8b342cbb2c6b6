"""How answers went, between protobuf and values."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from rollcall.audit.trends import MAX_DAYS, Asked, Period
from rollcall.domain.errors import InvalidInput
from rollcall.edge.converters import enums
from rollcall.v1 import audit_service_pb2

if TYPE_CHECKING:
    from rollcall.audit.trends import Trend, Trends

DEFAULT_DAYS = 30
MAX_MODEL_CHARACTERS = 256
FIRST_YEAR, LAST_YEAR = 2000, 9000
"""Beyond them days before and after could not be counted."""


def trends_request(message: audit_service_pb2.GetTrendsRequest, now: float) -> Asked:
    """Read what is asked for, at a time in Unix seconds. Raises InvalidInput."""
    for name in ("model", "model_digest"):
        if len(getattr(message, name)) > MAX_MODEL_CHARACTERS:
            raise InvalidInput.of(name, f"must have at most {MAX_MODEL_CHARACTERS} characters")
    if not message.model:
        raise InvalidInput.of("model", "must name a model")
    period = next((known for known, wire in enums.TREND_PERIODS.items() if wire == message.period), None)
    if period is None and message.period:
        raise InvalidInput.of("period", f"has no value {message.period} in this version")
    until = _day(message, "until") or datetime.fromtimestamp(now, tz=UTC).date()
    since = _day(message, "since") or until - timedelta(days=DEFAULT_DAYS - 1)
    if not timedelta() <= until - since <= timedelta(days=MAX_DAYS):
        raise InvalidInput.of("since", f"must lie at most {MAX_DAYS} days before until, and not after it")
    return Asked(
        model=message.model, digest=message.model_digest, since=since, until=until, period=period or Period.DAY
    )


def trends_reply(found: Trends) -> audit_service_pb2.GetTrendsResponse:
    """Write how answers went."""
    return audit_service_pb2.GetTrendsResponse(trends=[_trend(each) for each in found.periods], log_size=found.size)


def _trend(found: Trend) -> audit_service_pb2.Trend:
    start = Timestamp()
    start.FromDatetime(datetime.combine(found.start, time(), UTC))
    return audit_service_pb2.Trend(
        start=start,
        flags=[
            audit_service_pb2.FlagTrend(flag=enums.FLAGS[flag], reason=enums.REASONS[reason], explanations=count)
            for (flag, reason), count in sorted(found.flags.items(), key=lambda each: str(each[0]))
        ],
        decisions=found.decisions,
        mismatches=found.mismatches,
        usable_for_notice=found.usable,
        reviews_opened=found.opened,
        reviews_closed=found.closed,
        second_opinions=found.seconds,
        agreed=found.agreed,
        replays=[
            audit_service_pb2.ReplayTrend(outcome=enums.REPLAY_OUTCOMES[outcome], replays=count)
            for outcome, count in sorted(found.replays.items(), key=lambda each: each[0].value)
        ],
    )


def _day(message: audit_service_pb2.GetTrendsRequest, name: str) -> date | None:
    """Read a day, None where there is none. Raises InvalidInput."""
    if not message.HasField(name):  # type: ignore[arg-type] # one of its fields
        return None
    try:
        day: date = getattr(message, name).ToDatetime(tzinfo=UTC).date()
    except (ValueError, OverflowError) as error:
        raise InvalidInput.of(name, "is no time") from error
    if not FIRST_YEAR <= day.year < LAST_YEAR:
        raise InvalidInput.of(name, f"must lie between {FIRST_YEAR} and {LAST_YEAR}")
    return day
