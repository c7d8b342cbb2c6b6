"""Filters out of what people choose, and tables for their spreadsheets."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.audit.filtering import Comparison, Every, parse_filter
from rollcall.console.pages.finding import CHOICES, SAVED, TEXTS, cell, joined, quoted
from rollcall.console.visiting import local
from rollcall_client import Flag


@pytest.mark.parametrize("wanted", [wanted for _, wanted in SAVED])
def test_saved_filters_can_be_read_by_the_service(wanted: str) -> None:
    """The links work, and say something."""
    assert (parse_filter(wanted) == Every(parts=())) == (wanted == "")


@pytest.mark.parametrize("name", [*CHOICES, *TEXTS])
def test_what_can_be_chosen_is_a_field_of_the_service(name: str) -> None:
    """Every condition is one comparison."""
    assert parse_filter(f"{name} = {quoted('x')}") == Comparison(name=name, operator="=", value="x")


@given(st.text(max_size=50))
def test_a_value_never_becomes_a_part_of_the_filter(value: str) -> None:
    """Quotes, backslashes and words like OR stay inside the value."""
    wanted = joined("flag = faithful OR flag = unfaithful", f"model = {quoted(value)}")
    found = parse_filter(wanted)
    assert isinstance(found, Every)
    assert found.parts[-1] == Comparison(name="model", operator="=", value=value)


def test_conditions_are_joined_so_that_all_hold() -> None:
    """An OR of before stays together."""
    assert joined("", "a = 1") == "a = 1"
    assert joined("a = 1 OR b = 2", "c = 3") == "(a = 1 OR b = 2) AND c = 3"


@pytest.mark.parametrize("value", ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(value: str) -> None:
    """What a spreadsheet would run begins with an apostrophe."""
    text = io.StringIO()
    csv.writer(text).writerow([cell(value)])
    assert next(csv.reader(io.StringIO(text.getvalue(), newline="")))[0] == f"'{value}"


def test_cells_are_plain_words() -> None:
    """Flags by their names, times as RFC 3339, truth in words."""
    at = datetime(2026, 11, 27, tzinfo=UTC)
    assert [cell(value) for value in (Flag.FAITHFUL, at, True, 7)] == ["faithful", at.isoformat(), "True", "7"]


@pytest.mark.parametrize(
    "path", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:1", "", "/a\nb", "\\\\evil"]
)
def test_nobody_is_sent_to_another_site(path: str) -> None:
    """Where to go on after signing in is a path of ours, or the beginning."""
    assert local(path) == "/"
    assert local("/records?q=a%20b") == "/records?q=a%20b"
