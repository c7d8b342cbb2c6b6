"""What is asked of the records and answered, between protobuf and values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from rollcall.audit.events import EventKind
from rollcall.audit.parts import KEPT, SALT
from rollcall.audit.searching import DEFAULT_PAGE, MAX_PAGE
from rollcall.domain.errors import InvalidInput
from rollcall.domain.recording import RecordMode
from rollcall.domain.verdicts import Flag, Reason
from rollcall.edge.converters import enums
from rollcall.v1 import audit_service_pb2, explanation_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rollcall.audit.following import Entry
    from rollcall.audit.records import Happened, Read
    from rollcall.audit.searching import Page, Summary
    from rollcall.audit.verifying import Report

MAX_REASON_CHARACTERS = 1_000
MAX_NAME_CHARACTERS = 64
MAX_CHECKPOINTS = 100
MAX_PROBLEMS = 100
PART_KINDS = KEPT[RecordMode.FULL] | {SALT}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordAsked:
    """Which record, which of its sealed parts, and why."""

    name: str
    parts: tuple[str, ...]
    reason: str
    masked: bool


def record_request(message: audit_service_pb2.GetRecordRequest) -> RecordAsked:
    """Read which record is asked for. Raises InvalidInput."""
    unknown = next((i for i, kind in enumerate(message.parts) if kind not in PART_KINDS), None)
    if unknown is not None:
        raise InvalidInput.of(f"parts[{unknown}]", f"must be one of {', '.join(sorted(PART_KINDS))}")
    return RecordAsked(
        name=record_name(message.record_id),
        parts=tuple(dict.fromkeys(message.parts)),
        reason=reason(message.reason),
        masked=message.masked,
    )


def record_name(value: str, field: str = "record_id") -> str:
    """Read the id of a record or explanation. Raises InvalidInput."""
    if not 0 < len(value) <= MAX_NAME_CHARACTERS:
        raise InvalidInput.of(field, f"must have 1 to {MAX_NAME_CHARACTERS} characters")
    return value


def reason(value: str) -> str:
    """Read why something is done. Raises InvalidInput."""
    if len(value) > MAX_REASON_CHARACTERS:
        raise InvalidInput.of("reason", f"must have at most {MAX_REASON_CHARACTERS} characters")
    return value.strip()


def page_size(message: audit_service_pb2.SearchRecordsRequest) -> int:
    """Read how many records a page has. Raises InvalidInput."""
    if not 0 <= message.page_size <= MAX_PAGE:
        raise InvalidInput.of("page_size", f"must lie between 1 and {MAX_PAGE}")
    return message.page_size or DEFAULT_PAGE


def event_kind(message: audit_service_pb2.ListEventsRequest) -> EventKind | None:
    """Read which events are asked for. Raises InvalidInput."""
    found = next((kind for kind, number in enums.EVENT_TYPES.items() if number == message.type), None)
    if found is None and message.type:
        raise InvalidInput.of("type", f"has no value {message.type} in this version")
    return found


def proof_request(message: audit_service_pb2.GetProofRequest) -> tuple[str, int | None]:
    """Read what a proof is asked of: a record's name, or an index. Raises InvalidInput."""
    match message.WhichOneof("of"):
        case "record_id":
            return record_name(message.record_id), None
        case "log_index" if message.log_index >= 0:
            return "", message.log_index
        case "log_index":
            raise InvalidInput.of("log_index", "must not be negative")
    raise InvalidInput.of("of", "exactly one of record_id and log_index must be set")


def checkpoints(message: audit_service_pb2.VerifyLogRequest) -> tuple[str, ...]:
    """Read the checkpoints that were kept elsewhere. Raises InvalidInput."""
    if len(message.checkpoints) > MAX_CHECKPOINTS:
        raise InvalidInput.of("checkpoints", f"must have at most {MAX_CHECKPOINTS} entries")
    return tuple(message.checkpoints)


def record_reply(read: Read) -> audit_service_pb2.GetRecordResponse:
    """Write a record."""
    return audit_service_pb2.GetRecordResponse(
        summary=summary(read.summary),
        envelope=read.kept.envelope.decode(),
        entry=read.kept.entry.decode(),
        events=events(read.events),
        parts=[
            audit_service_pb2.RecordPart(kind=kind, content=content) for kind, content in sorted(read.parts.items())
        ],
        access_log_index=read.access,
        redactions=[
            audit_service_pb2.Redaction(
                part=each.part, field=each.name, start=each.span.start, end=each.span.end, what=each.span.what
            )
            for each in read.redactions
        ],
    )


def page_reply(page: Page) -> audit_service_pb2.SearchRecordsResponse:
    """Write a page of a search."""
    return audit_service_pb2.SearchRecordsResponse(
        records=[summary(found) for found in page.records], next_page_token=page.next_token, log_size=page.size
    )


def summary(found: Summary) -> audit_service_pb2.RecordSummary:
    """Write a record as a list shows it."""
    columns = found.columns
    created_at = Timestamp()
    created_at.FromDatetime(datetime.fromisoformat(columns["created_at"]))
    return audit_service_pb2.RecordSummary(
        record_id=columns["record_id"],
        log_index=found.leaf_index,
        type=enums.RECORD_TYPES[columns["type"]],
        created_at=created_at,
        explanation_id=columns["explanation_id"] or "",
        model=columns["model"],
        model_digest=columns["model_digest"],
        predicted=columns["predicted"],
        flag=enums.FLAGS[Flag(columns["flag"])] if columns["flag"] else explanation_pb2.FLAG_UNSPECIFIED,
        reason=enums.REASONS[Reason(columns["reason"])] if columns["reason"] else explanation_pb2.REASON_UNSPECIFIED,
        usable_for_notice=bool(columns["usable_for_notice"]),
        mismatch=bool(columns["mismatch"]),
        mode=enums.RECORD_MODES[RecordMode(columns["mode"])],
        erased=found.erased,
        held=found.held,
        review=found.review or "",
        tenant=columns["tenant"] or "",
    )


def events(found: Iterable[Happened]) -> list[audit_service_pb2.Event]:
    """Write events."""
    return [audit_service_pb2.Event(log_index=each.leaf_index, body=each.body.decode()) for each in found]


def first_index(message: audit_service_pb2.StreamRecordsRequest) -> int:
    """Read from which index on entries are asked for. Raises InvalidInput."""
    if message.from_log_index < 0:
        raise InvalidInput.of("from_log_index", "must not be negative")
    return message.from_log_index


def entry(found: Entry) -> audit_service_pb2.StreamRecordsResponse:
    """Write an entry with what it names."""
    return audit_service_pb2.StreamRecordsResponse(
        log_index=found.leaf_index,
        entry=found.entry.decode(),
        envelope=found.envelope.decode(),
        event=found.event.decode(),
    )


def report_reply(report: Report) -> audit_service_pb2.VerifyLogResponse:
    """Write what verifying found."""
    return audit_service_pb2.VerifyLogResponse(
        holds=not report.problems,
        entries=report.entries,
        problems=[
            audit_service_pb2.LogProblem(place=place, problem=problem)
            for place, problem in report.problems[:MAX_PROBLEMS]
        ],
        problem_count=len(report.problems),
        remarks=report.remarks,
    )
