"""The language of searches means what it says, and nothing that is not in it gets through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.audit.canonical import timestamp
from rollcall.audit.filtering import (
    MAX_CHARACTERS,
    MAX_COMPARISONS,
    MAX_DEPTH,
    ORDER,
    Comparison,
    Every,
    Filter,
    Not,
    Some,
    parse_filter,
)
from rollcall.domain.errors import InvalidInput

Row = Mapping[str, str | bool | None]


def holds(wanted: Filter, row: Row) -> bool:
    """Decide by hand whether a row is asked for."""
    match wanted:
        case Every(parts=parts):
            return all(holds(part, row) for part in parts)
        case Some(parts=parts):
            return any(holds(part, row) for part in parts)
        case Not(part=part):
            return not holds(part, row)
        case Comparison(name=name, operator="!=", value=value):
            return row[name] != value
        case Comparison(name=name, operator="=", value=value):
            return row[name] == value
        case Comparison(name=name, operator=operator, value=value):
            own = str(row[name])
            return {"<": own < str(value), "<=": own <= str(value), ">": own > str(value)}.get(
                operator, own >= str(value)
            )


ROW: Row = {"flag": "faithful", "model": "a b", "time": "2026-05-01T00:00:00.000Z", "mismatch": True, "review": None}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", True),
        ("flag = FAITHFUL", True),
        ('model = "a b" AND mismatch = true', True),
        ("flag = unfaithful OR mismatch = true AND flag = unfaithful", False),
        ("(flag = unfaithful OR mismatch = true) AND flag = faithful", True),
        ("NOT flag = unfaithful AND NOT NOT mismatch=true", True),
        ("time >= 2026-05 AND time < 2026-06-01", True),
        ("time>2026-05-01T00:00:00.000Z", False),
        ("review = open", False),
        ("review != open", True),
        (r'model = "say \"AND\""', False),
    ],
)
def test_what_is_asked_for(text: str, found: bool) -> None:  # noqa: FBT001 - a table
    """NOT before AND before OR, parentheses, quotes, words in any case, and nothing is equal to no value."""
    assert holds(parse_filter(text), ROW) is found


MILLISECOND = timedelta(milliseconds=1)
FORMS: tuple[tuple[str, Callable[[datetime], datetime]], ...] = (
    ("%Y", lambda at: at.replace(year=at.year + 1, month=1, day=1, hour=0, minute=0, second=0, microsecond=0)),
    ("%Y-%m", lambda at: (at.replace(day=1) + timedelta(days=31)).replace(day=1, hour=0, minute=0, second=0)),
    ("%Y-%m-%d", lambda at: at + timedelta(days=1)),
    ("%Y-%m-%dT%H", lambda at: at + timedelta(hours=1)),
    ("%Y-%m-%dT%H:%M", lambda at: at + timedelta(minutes=1)),
    ("%Y-%m-%dT%H:%M:%S", lambda at: at + timedelta(seconds=1)),
)
"""How much of a time somebody writes, and when what begins at a time ends."""


@given(
    st.datetimes(datetime(2001, 1, 1), datetime(2098, 12, 31)),  # noqa: DTZ001 - all of them are UTC
    st.sampled_from(FORMS),
    st.sampled_from(["", "Z"]),
    st.sampled_from(["begin", "end", "between"]),
    st.integers(-2, 2),
    st.data(),
)
def test_a_time_is_the_whole_of_what_it_names(
    at: datetime,
    form: tuple[str, Callable[[datetime], datetime]],
    zone: str,
    near: str,
    off: int,
    data: st.DataObject,
) -> None:
    """Records close to both ends of a year, ..., a second are found as the arithmetic of datetime finds them."""
    shape, end_of = form
    written = at.strftime(shape)
    begin = datetime.strptime(written, shape)  # noqa: DTZ007 - the same
    end = end_of(begin)
    inside = int((end - begin) / MILLISECOND) - 1
    origin = {"begin": begin, "end": end, "between": begin + data.draw(st.integers(0, inside)) * MILLISECOND}[near]
    record = origin + off * MILLISECOND
    row: Row = {"time": timestamp(record.replace(tzinfo=UTC).timestamp() + 0.0001)}
    value = written + zone * ("T" in shape)
    expected = {
        "=": begin <= record < end,
        "!=": not begin <= record < end,
        "<": record < begin,
        "<=": record < end,
        ">": record >= end,
        ">=": record >= begin,
    }
    assert {operator: holds(parse_filter(f"time {operator} {value}"), row) for operator in ORDER} == {
        operator: expected[operator] for operator in ORDER
    }


@pytest.mark.parametrize("written", ["2026-11-27T15:00:00.500Z", "2026-11-27T15:00:00.500", "2026-11-27T15:00:00.5Z"])
def test_a_record_is_at_its_own_time(written: str) -> None:
    """The time that a record shows finds it, with and without Z, and with fewer digits."""
    row: Row = {"time": "2026-11-27T15:00:00.500Z"}
    assert [operator for operator in ORDER if holds(parse_filter(f"time {operator} {written}"), row)] == [
        "=",
        "<=",
        ">=",
    ]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("password = x", "expected one of the fields .* at character 1"),
        ("flag", "expected one of = != at its end"),
        ("flag < faithful", "expected one of = != at character 6"),
        ("flag = ", "expected a value at its end"),
        ("flag = (", "expected a value at character 8"),
        ("flag = a flag = b", "expected AND, OR or the end at character 10"),
        ("(flag = a", r"expected \) at its end"),
        ("mismatch = perhaps", "expected true or false at character 12"),
        ("time > yesterday", "expected a time like"),
        ("flag = a; DROP TABLE record", "cannot be read from character 9 on"),
        ('model = "never closed', "cannot be read"),
        ("x" * (MAX_CHARACTERS + 1), f"at most {MAX_CHARACTERS} characters"),
        ("(" * (MAX_DEPTH + 2), f"at most {MAX_DEPTH} levels"),
        (" AND ".join(["flag = a"] * (MAX_COMPARISONS + 1)), f"at most {MAX_COMPARISONS} comparisons"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, wrong: str) -> None:
    """The caller hears what was expected where; nothing of a value is quoted."""
    with pytest.raises(InvalidInput, match=f"filter: .*{wrong}") as caught:
        parse_filter(text)
    assert "DROP" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_a_filter_or_is_refused(text: str) -> None:
    """Whatever somebody types, nothing else is raised."""
    with suppress(InvalidInput):
        parse_filter(text)
