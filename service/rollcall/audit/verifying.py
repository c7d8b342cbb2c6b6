"""What verifying finds, and what a log and an export have in common. Standard library only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

EXPLANATION, DECISION, GENESIS = "explanation", "decision", "genesis"
RECORDS = (EXPLANATION, DECISION)
"""Types of entries that are a record's."""
ERASURE = "erasure"
EVENTS = ("access", ERASURE, "hold", "release", "replay", "review", "export")
"""Types of entries that are about something that was done."""
_REFERENCE = b"rollcall-reference-1"


class Ask(Protocol):
    """How a database is asked: SQL with "?" for each value; rows by the names of their columns."""

    def __call__(self, query: str, *values: object) -> Iterable[Mapping[str, Any]]:
        """Give the rows."""
        ...


class Unverifiable(Exception):
    """It cannot even be looked at: the message says why."""


@dataclass(slots=True, kw_only=True)
class Report:
    """What was found: `problems` by place, a record's id where there is one, and remarks."""

    subject: str
    entries: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def wrong(self, place: str, problem: str) -> None:
        """Note that something does not hold."""
        self.problems.append((place, problem))

    def note(self, remark: str) -> None:
        """Note what a reader must know beside."""
        self.remarks.append(remark)

    def lines(self, most: int) -> Iterator[str]:
        """Say it in lines, the verdict last."""
        yield from (f"{place}: {problem}" for place, problem in self.problems[:most])
        if len(self.problems) > most:
            yield f"... and {len(self.problems) - most} more"
        yield from (f"note: {remark}" for remark in self.remarks)
        yield f"{self.subject}: " + (f"BROKEN, {len(self.problems)} problems" if self.problems else "holds")


def blob(value: object) -> bytes:
    """Bytes of a column, whatever somebody has put there."""
    return value if isinstance(value, bytes) else str(value).encode()


def column_of(row: Mapping[str, Any], name: str) -> object:
    """A column's value; None where the database is of a version that did not have it yet."""
    return row[name] if name in row.keys() else None  # noqa: SIM118 - sqlite3.Row is no container of its names


def parse_object(data: bytes) -> dict[str, Any] | None:
    """Read a JSON object; None where there is none."""
    try:
        found = json.loads(data)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def sha256(data: bytes) -> str:
    """Digest as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def reference_commitment(kind: str, nonce: bytes, digest: bytes) -> str:
    """Commit to a row of the index over names: 64 hexadecimal digits that tell nothing once the nonce is gone."""
    parts = (_REFERENCE, kind.encode(), nonce, digest)
    return sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts))


def check_entry(report: Report, place: str, entry: Mapping[str, Any], envelope: bytes) -> dict[str, Any] | None:
    """Hold a record's envelope against its entry of the log; return what the envelope says, None if it says nothing."""
    body = parse_object(envelope)
    if entry.get("envelope_sha256") != sha256(envelope):
        report.wrong(place, "the envelope is not the one that was logged")
    if body is None:
        report.wrong(place, "the envelope is no JSON object")
        return None
    for name in ("record_id", "created_at"):
        if body.get(name) != entry.get(name):
            report.wrong(place, f"envelope and entry have another {name}")
    return body
