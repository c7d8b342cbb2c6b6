"""Finding records: a filter, links that are filters, and a table of what was found."""

from __future__ import annotations

import csv
import io
from itertools import islice
from typing import Any

from starlette.responses import Response

from rollcall.console.visiting import Visit, address
from rollcall_client import InvalidArgument, RecordPage, RecordSummary

PAGE_SIZE = 50
MOST_ROWS = 10_000
"""Of a table for a spreadsheet."""
SAVED = (
    ("Everything", ""),
    ("Unfaithful", "flag = unfaithful"),
    (
        "Unfaithful, nobody looked",
        "flag = unfaithful AND NOT (review = open OR review = assigned OR review = decided OR review = closed)",
    ),
    ("Acted on something else", "mismatch = true"),
    ("Not for a notice", "type = explanation AND notice = false"),
    ("Not explained", "type = decision"),
    ("In review", "review = open OR review = assigned OR review = decided"),
    ("Held", "held = true"),
    ("Erased", "erased = true"),
)
"""Questions that come up every day. Every other one can be kept as a bookmark: the filter is in the address."""
CHOICES: dict[str, tuple[str, ...]] = {
    "flag": ("faithful", "unfaithful", "inconclusive", "not_checked"),
    "review": ("open", "assigned", "decided", "closed"),
    "type": ("explanation", "decision"),
    "mode": ("full", "scores_only", "digest_only"),
}
TEXTS = ("model", "predicted", "policy", "reason", "tenant")
DAYS = (("from", "time >="), ("before", "time <"))
NAMES = ("subject", "decision")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet may take for a formula at the beginning of a cell."""
COLUMNS = (
    "record_id", "log_index", "type", "created_at", "explanation_id", "model", "model_digest", "predicted", "flag",
    "reason", "usable_for_notice", "mismatch", "mode", "erased", "held", "review", "tenant",
)  # fmt: skip


def search(visit: Visit) -> Response:
    """Show a page of what a filter asks for; conditions that were chosen are added to it first."""
    wanted, added = visit.asked("q"), chosen(visit)
    if added:
        return visit.go(address("/records", q=joined(wanted, *added)))
    return _found(visit, wanted, visit.asked("page"))


def find_by_name(visit: Visit) -> Response:
    """Show what is about a person or a decision. Names come in a form's body: an address is kept in too many places."""
    conditions = [f"{name} = {quoted(visit.given(name))}" for name in NAMES if visit.given(name)]
    return _found(visit, joined("", *conditions), visit.given("page"), named=True)


def table(visit: Visit) -> Response:
    """Give what a filter asks for as a table for spreadsheets."""
    wanted = visit.asked("q")
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\r\n")
    rows.writerow(COLUMNS)
    for found in islice(visit.client.records(wanted, page_size=1000), MOST_ROWS):
        rows.writerow([cell(getattr(found, column)) for column in COLUMNS])
    named = {"Content-Disposition": 'attachment; filename="records.csv"'}
    return Response(text.getvalue(), media_type="text/csv; charset=utf-8", headers=named)


def cell(value: object) -> str:
    """Write a value for a spreadsheet, with an apostrophe before what it might take for a formula."""
    text = (
        value.name.lower()
        if hasattr(value, "name")
        else value.isoformat()
        if hasattr(value, "isoformat")
        else str(value)
    )
    return f"'{text}" if text.startswith(FORMULA) else text


def chosen(visit: Visit) -> list[str]:
    """Write the conditions that were chosen in the form beside the filter."""
    named = [f"{name} = {quoted(visit.asked(name))}" for name in (*CHOICES, *TEXTS) if visit.asked(name)]
    return named + [f"{start} {quoted(visit.asked(name))}" for name, start in DAYS if visit.asked(name)]


def joined(*conditions: str) -> str:
    """Join conditions, so that all of them hold."""
    given = [condition for condition in conditions if condition]
    return " AND ".join(f"({each})" if len(given) > 1 and " OR " in each else each for each in given)


def quoted(value: str) -> str:
    """Write a value so that nothing in it is read as a part of the filter."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _found(visit: Visit, wanted: str, token: str, *, named: bool = False) -> Response:
    nothing = RecordPage(records=(), next_page_token="", log_size=0)
    shown: dict[str, Any] = {
        "wanted": wanted,
        "named": named,
        "saved": SAVED,
        "choices": CHOICES,
        "texts": TEXTS,
        "days": DAYS,
        "names": NAMES,
        "narrowed": narrowed,
    }
    try:
        found = visit.client.search(wanted, page_size=PAGE_SIZE, page_token=token)
    except InvalidArgument as error:
        return visit.refused("search.html", error, found=nothing, **shown)
    return visit.show("search.html", found=found, **shown)


def narrowed(wanted: str, name: str, value: str) -> str:
    """Write the address of the same search with one more condition."""
    return address("/records", q=joined(wanted, f"{name} = {quoted(value)}"))


def summary_of(visit: Visit, record_id: str) -> RecordSummary | None:
    """Give what a list shows of one record, for who may not read it."""
    return next(iter(visit.client.search(f"record = {quoted(record_id)}", page_size=1).records), None)
