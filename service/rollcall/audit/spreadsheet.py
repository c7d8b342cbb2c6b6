"""Records as a table for spreadsheets: CSV (RFC 4180), one row a record, nothing that a spreadsheet would run. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rollcall.audit.queries import Kept

_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""With these a cell begins that a spreadsheet takes for a formula (OWASP, CSV Injection), full-width ones included."""


def _verdict(name: str) -> Callable[[Kept, Mapping[str, Any]], object]:
    return lambda _, body: (body["verdict"] or {}).get(name)


COLUMNS: dict[str, Callable[[Kept, Mapping[str, Any]], object]] = {
    "record_id": lambda kept, _: kept.record_id,
    "log_index": lambda kept, _: kept.leaf_index,
    "type": lambda _, body: body["type"],
    "created_at": lambda _, body: body["created_at"],
    "flag": _verdict("flag"),
    "reason": _verdict("reason"),
    "scope": _verdict("scope"),
    "map": _verdict("map"),
    "usable_for_notice": _verdict("usable_for_notice"),
    "blocked_by": lambda _, body: " ".join((body["verdict"] or {}).get("blocked_by", [])),
    "model": lambda _, body: body["model"]["name"],
    "model_digest": lambda _, body: body["model"]["digest"],
    "policy": lambda _, body: body["policy"]["id"] if "policy" in body else None,
    "predicted": lambda _, body: body["prediction"]["predicted"],
    "probability": lambda _, body: body["prediction"]["probabilities"][body["prediction"]["predicted_index"]],
    "mismatch": lambda _, body: body["request"]["reported"]["mismatch"],
    "mode": lambda _, body: body["governance"]["mode"],
    "erased": lambda kept, _: kept.wrapped_key is None,
    "envelope_sha256": lambda kept, _: kept.envelope_sha256,
    "tenant": lambda _, body: body["governance"].get("tenant"),
}
"""The table's columns, in their order; new ones come at the end."""


def table(records: Iterable[tuple[Kept, Mapping[str, Any]]]) -> str:
    """Write the table of records, each with its envelope as it reads."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    writer.writerows([_cell(column(kept, body)) for column in COLUMNS.values()] for kept, body in records)
    return out.getvalue()


def _cell(value: object) -> str:
    """Write a cell: a text that begins like a formula gets an apostrophe before it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
