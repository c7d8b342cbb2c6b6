"""Records are found by what they say, in pages of one state of the log, and by names that nobody else learns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from rollcall.audit.archive import Archive
from rollcall.audit.database import Database
from rollcall.audit.filtering import parse_filter
from rollcall.audit.searching import search
from rollcall.domain.errors import InvalidInput
from tests.unit.audit import samples
from tests.unit.audit.archives import open_archive
from tests.unit.audit.test_filtering import Row, holds

RECORDS = (
    samples.accepted(0),
    samples.recorded(samples.decided(subject_ref=samples.SUBJECT), 1),
    samples.accepted(2, subject_ref=samples.SUBJECT),
    samples.accepted(3, decision_ref=samples.DECISION),
    samples.recorded(samples.decided(decision_ref="another"), 4),
)
IDS = [record.record_id for record in RECORDS]


@pytest.fixture
def archive(database: Database) -> Iterator[Archive]:
    """Keep five records."""
    with open_archive(database, *RECORDS) as opened:
        yield opened


def found(archive: Archive, text: str) -> list[int]:
    """Search; return the numbers of the records, newest first."""
    page = search(archive, text, 100, "")
    assert page.next_token == ""
    return [IDS.index(summary.columns["record_id"]) for summary in page.records]


def test_records_are_found_by_what_they_say(archive: Archive) -> None:
    """Type, flag, model, time and mismatch; a decision has no flag."""
    assert found(archive, "") == [4, 3, 2, 1, 0]
    assert found(archive, "type = decision") == [4, 1]
    assert found(archive, "flag = inconclusive") == [3, 2, 0]
    assert found(archive, "flag != inconclusive") == [4, 1]
    assert found(archive, "NOT flag = inconclusive AND mismatch = true") == [4, 1]
    assert found(archive, 'model = "sentiment" AND explanation = "e-2"') == [2]
    assert found(archive, "time > 2030") == []
    assert found(archive, "held = true OR erased = true OR review = open") == []
    assert found(archive, "held = false AND erased = false AND review != open") == [4, 3, 2, 1, 0]


def test_records_are_found_by_a_time_of_any_length(archive: Archive) -> None:
    """A day, a second and a millisecond hold the records that were made in them, in the database's order of texts."""
    (made,) = {summary.columns["created_at"] for summary in search(archive, "", 100, "").records}
    for value in (made[:10], made[:13] + "Z", made[:19] + "Z", made[:19], made):
        for operator in ("=", ">=", "<="):
            assert found(archive, f"time {operator} {value}") == [4, 3, 2, 1, 0], (operator, value)
        for operator in ("!=", ">", "<"):
            assert found(archive, f"time {operator} {value}") == [], (operator, value)


@pytest.mark.parametrize(
    ("text", "index"), [("type = decision", "leaf_type (type=?"), ("held = true", "event_type (type=?")]
)
def test_few_among_many_are_found_by_an_index(tmp_path: Path, text: str, index: str) -> None:
    """What a question asks for may be nowhere in a log of any length: nobody waits until all of it was looked at."""
    with open_archive(tmp_path / "log.db", *RECORDS) as archive:
        asked: list[tuple[str, Any]] = []
        event.listen(
            archive.store.opened,
            "before_cursor_execute",
            lambda _c, _cursor, statement, parameters, *_: asked.append((statement, parameters)),
        )
        search(archive, text, 50, "")
        ((statement, parameters),) = [each for each in asked if "ORDER BY leaf.leaf_index DESC" in each[0]]
        with archive.reading() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    steps = [str(row.detail) for row in plan]
    assert any(index in step for step in steps)
    assert not any(step in {"SCAN leaf", "SCAN record"} for step in steps)


def test_records_are_found_by_names_that_the_log_does_not_hold(archive: Archive) -> None:
    """Who knows what the caller called a person or a decision finds its records; a name of one is none of the other."""
    assert found(archive, f'subject = "{samples.SUBJECT}"') == [2, 1]
    assert found(archive, f'decision = "{samples.DECISION}"') == [3, 1]
    assert found(archive, f'decision = "{samples.SUBJECT}"') == []
    assert found(archive, f'subject != "{samples.SUBJECT}" AND type = decision') == [4]


def test_pages_are_of_one_state_of_the_log(archive: Archive) -> None:
    """What is appended meanwhile is on no later page, and every record is on one."""
    first = search(archive, "", 2, "")
    archive.store.append([samples.accepted(9)])
    second = search(archive, "", 2, first.next_token)
    third = search(archive, "", 2, second.next_token)
    ids = [summary.columns["record_id"] for page in (first, second, third) for summary in page.records]
    assert ids == IDS[::-1]
    assert [page.size for page in (first, second, third)] == [6, 6, 6]
    assert third.next_token == ""


def test_a_page_token_belongs_to_its_filter_and_server(archive: Archive) -> None:
    """A token that was made up, altered, or given for something else is refused."""
    token = search(archive, "", 2, "").next_token
    for other in ("x", "AAAA", token[:-8] + "AAAAAAA=", token.swapcase()):
        with pytest.raises(InvalidInput, match="page_token"):
            search(archive, "", 2, other)
    with pytest.raises(InvalidInput, match="another filter"):
        search(archive, "type = decision", 2, token)


VALUES = {
    "type": ["explanation", "decision"],
    "flag": ["inconclusive", "faithful"],
    "predicted": ["positive", "negative"],
    "mismatch": ["true", "false"],
    "notice": ["true", "false"],
    "time": ["2025-11-24T16:00:01", "2025-11-24T16:00:03", "2026"],
}
COMPARISONS = st.sampled_from(sorted(VALUES)).flatmap(
    lambda name: st.builds(
        lambda operator, value: f"{name} {operator} {value}",
        st.sampled_from(["=", "!=", "<", ">="] if name == "time" else ["=", "!="]),
        st.sampled_from(VALUES[name]),
    )
)
FILTERS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        inner.map(lambda text: f"NOT ({text})"),
        st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(lambda parts: f"({' '.join(parts)})"),
    ),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=FILTERS)
def test_sql_finds_what_a_filter_means(archive: Archive, text: str) -> None:
    """What the database finds is what the filter, taken by hand, says of every record."""
    rows: list[Row] = [
        summary.columns | {"time": summary.columns["created_at"], "notice": summary.columns["usable_for_notice"]}
        for summary in search(archive, "", 100, "").records
    ]
    wanted = parse_filter(text)
    by_hand = [IDS.index(str(row["record_id"])) for row in rows if holds(wanted, row)]
    assert found(archive, text) == by_hand
