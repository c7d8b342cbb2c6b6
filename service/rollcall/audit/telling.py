"""What a server told of its records, as people read it in a terminal, or as JSON. Pure."""
# ruff: noqa: ANN401 - the client's values, which are only imported by who asks

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any


def written(told: object) -> str:
    """Write what a server told as JSON: members of enums by their names, times as RFC 3339, bytes as text."""
    return json.dumps(_plain(told), ensure_ascii=False, indent=2)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, dict):
        return {_plain(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, int | float | str) or value is None else value.isoformat()


def search(found: Any) -> Iterator[str]:
    """Records, one a line, and how many."""
    for each in found:
        marks = [word for word in ("erased", "held", "mismatch") if getattr(each, word)]
        flag = each.flag.name if each.explanation_id else "DECISION"
        yield " ".join(
            [f"{each.created_at:%Y-%m-%d %H:%M:%S}", each.record_id, f"{flag:12}", each.model, each.predicted, *marks]
            + ([f"review {each.review}"] if each.review else [])
        )
    yield _records(len(found))


def read(record: Any) -> Iterator[str]:
    """A record, what was opened of it, and what was done with it."""
    yield from list(search([record.summary]))[:1]
    yield from (f"  {kind}: {content.decode(errors='replace')}" for kind, content in record.parts.items())
    yield from event(record.events)


def event(events: Any) -> Iterator[str]:
    """Events, one a line."""
    for event in events:
        what = event.what
        about = " ".join(each for each in (what["record_id"], what["about"], what["code"]) if each)
        yield f"  {event.log_index} {what['created_at']} {what['type']} by {what['actor']} {about}".rstrip()


def entry(entry: Any) -> Iterator[str]:
    """An entry with what it names, as one line of JSON whose names stay."""
    told: dict[str, Any] = {"log_index": entry.log_index, "entry": json.loads(entry.entry)}
    for name, text in (("record", entry.envelope), ("event", entry.event)):
        if text:
            told[name] = json.loads(text)
    yield json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def trends(told: Any) -> Iterator[str]:
    """Periods in which there was anything, one a line, and what they come to."""
    flags = sorted({flag for each in told.periods for flag in each.flags}, key=lambda flag: flag.value)
    yield "  ".join(["from      ", *(f"{flag.name:>12}" for flag in flags), *(f"{name:>10}" for name, _ in _TRENDS)])
    for each in told.periods:
        counts = [getter(each) for _, getter in _TRENDS]
        if each.flags or any(counts):
            shown = [*(f"{each.flags.get(flag, 0):12}" for flag in flags), *(f"{count:10}" for count in counts)]
            yield "  ".join([each.start.isoformat(), *shown])
    yield f"{sum(each.answers for each in told.periods)} answers in a log of {told.log_size} entries"


_TRENDS: tuple[tuple[str, Callable[[Any], int]], ...] = (
    ("decisions", lambda each: each.decisions),
    ("mismatches", lambda each: each.mismatches),
    ("opened", lambda each: each.reviews_opened),
    ("closed", lambda each: each.reviews_closed),
    ("replayed", lambda each: each.replayed),
    ("differed", lambda each: each.differed),
)


def replay(replay: Any) -> Iterator[str]:
    """What a replay came to, and what differs."""
    yield f"{replay.outcome.name} (entry {replay.log_index} of the log)"
    yield from (f"  {each.what}: {each.recorded} -> {each.now}" for each in replay.differences)


def bundle(header: Any) -> Iterator[str]:
    """What was exported."""
    yield f"{_records(header.records)} under the checkpoint over {header.log_size} entries"
    yield f"manifest {header.manifest_sha256}; entry {header.log_index} of the log says so"


def bundles(headers: Any) -> Iterator[str]:
    """What was exported in each zip, and how much in all."""
    for header in headers:
        yield from bundle(header)
    zips = "1 zip" if len(headers) == 1 else f"{len(headers)} zips"
    yield f"{_records(sum(header.records for header in headers))} in {zips}"


def erase(certificate: Any) -> Iterator[str]:
    """What was erased."""
    yield f"{_records(certificate.records)} erased, for good; entry {certificate.log_index} of the log says so"
    yield f"erasure {certificate.erasure_id}"


def hold(held: Any) -> Iterator[str]:
    """What was held or released."""
    yield f"{_records(held.records)} changed" + (
        "" if held.log_index is None else f"; entry {held.log_index} of the log"
    )


def retention(found: Any) -> Iterator[str]:
    """What is due, a line for each model and type."""
    for row in found.rows:
        kind = row.type.name.lower()
        yield f"{row.model} {kind}: {row.days} days, before {row.before:%Y-%m-%d}: {row.due} due, {row.held} more held"
    yield f"{_records(found.erased)} erased"


def review(told: Any) -> Iterator[str]:
    """Reviews, one a line; of a single one every step; or how reviewers do."""
    if hasattr(told, "kappa"):
        yield from _statistics(told)
        return
    for review in told if isinstance(told, tuple) else (told,):
        came = "" if review.disposition.value == 0 else f", {review.disposition.words} by {review.decided_by}"
        came += ", waits for a second opinion" if review.second_due else ""
        by = f" ({' '.join(review.rules)})" if review.rules else ""
        due = f", due {review.due_at:%Y-%m-%d}" if review.due_at and review.state.name != "CLOSED" else ""
        yield f"{review.record_id} {review.state.name} {review.assignee}".rstrip() + f"{came}{due}{by}"
        for step in review.steps if not isinstance(told, tuple) else ():
            withheld = review.second_due and step.action.name == "DECIDE"
            unsaid = "(withheld until a second opinion is there)" if withheld else "(erased)"
            why = unsaid if step.rationale is None else step.rationale
            yield f"  {step.log_index} {step.created_at:%Y-%m-%d %H:%M} {step.action.name} by {step.actor}: {why}"


def _statistics(told: Any) -> Iterator[str]:
    yield "  ".join(f"{state.name} {count}" for state, count in told.states.items()) + f"  overdue {told.overdue}"
    kappa = "not defined" if told.kappa is None else f"{told.kappa:.2f}"
    yield f"{told.agreed} of {told.second_opinions} second opinions agree, Cohen's kappa {kappa}"


def _records(count: int) -> str:
    return f"{count} record" if count == 1 else f"{count} records"
