"""What is asked about a model's trends is read, and what cannot be answered is refused by the field's name."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from rollcall.audit.trends import MAX_DAYS, Asked, Period
from rollcall.domain.errors import InvalidInput
from rollcall.edge.converters.trends import trends_request
from rollcall.v1 import audit_service_pb2

NOW = datetime(2026, 11, 27, 23, 59, tzinfo=UTC).timestamp()


def asked(**told: Any) -> Asked:  # noqa: ANN401 - fields of the message
    """Ask."""
    return trends_request(audit_service_pb2.GetTrendsRequest(**({"model": "m"} | told)), NOW)


def on(year: int, month: int = 1, day: int = 1) -> Timestamp:
    """Say a day as the wire does."""
    found = Timestamp()
    found.FromDatetime(datetime(year, month, day, 18, tzinfo=UTC))
    return found


def test_what_is_left_out_is_the_last_thirty_days() -> None:
    """By day, of all weights, today included."""
    wanted = Asked(model="m", digest="", since=date(2026, 10, 29), until=date(2026, 11, 27), period=Period.DAY)
    assert asked() == wanted
    assert asked(until=on(2026, 3, 30), period=3).since == date(2026, 3, 1)
    assert asked(until=on(2026, 3, 30), period=3).period is Period.MONTH


@pytest.mark.parametrize(
    ("told", "field"),
    [
        ({"model": ""}, "model"),
        ({"model": "m" * 257}, "model"),
        ({"model_digest": "m" * 257}, "model_digest"),
        ({"period": 9}, "period"),
        ({"since": on(2026, 12)}, "since"),
        ({"since": on(2020), "until": on(2026)}, "since"),
        ({"until": on(1999)}, "until"),
        ({"until": on(9999)}, "until"),
        ({"since": Timestamp(seconds=2**62)}, "since"),
    ],
)
def test_what_cannot_be_answered_names_its_field(told: dict[str, Any], field: str) -> None:
    """No model, an order that is none, more than the log is counted through for at once."""
    with pytest.raises(InvalidInput, match=f"{field}: "):
        asked(**told)


def test_the_longest_span_is_allowed() -> None:
    """As many days as the message says."""
    until = date(2026, 11, 27)
    since = date.fromordinal(until.toordinal() - MAX_DAYS)
    assert asked(since=on(since.year, since.month, since.day)).since == since
