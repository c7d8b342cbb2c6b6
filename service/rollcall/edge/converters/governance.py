"""Holds, erasures and retention, between protobuf and values."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from rollcall.audit.erasing import Ground
from rollcall.domain.errors import InvalidInput
from rollcall.edge.converters import enums
from rollcall.edge.converters.audit import reason as read_reason
from rollcall.edge.converters.audit import record_name
from rollcall.edge.converters.requests import MAX_REFERENCE_CHARACTERS
from rollcall.v1 import audit_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rollcall.audit.erasing import Erased
    from rollcall.audit.exporting import Exported
    from rollcall.audit.retaining import Due

MAX_MATTER_CHARACTERS = 64
MAX_RECORDS = 1_000
"""Named in one request."""


def reason(value: str) -> str:
    """Read why something is done, which must be said. Raises InvalidInput."""
    given = read_reason(value)
    if not given:
        raise InvalidInput.of("reason", "required: it is kept, sealed, with who did this")
    return given


def ground(number: int) -> Ground:
    """Read why something is erased. Raises InvalidInput."""
    found = next((known for known, wire in enums.ERASURE_GROUNDS.items() if wire == number), None)
    if found is None or found is Ground.RETENTION:
        raise InvalidInput.of("ground", "must be PERSON, OBLIGATION or MISTAKE")
    return found


def subject(value: str) -> str:
    """Read what callers call a person. Raises InvalidInput."""
    if not 0 < len(value) <= MAX_REFERENCE_CHARACTERS:
        raise InvalidInput.of("subject_ref", f"must have 1 to {MAX_REFERENCE_CHARACTERS} characters")
    return value


def matter(value: str) -> str:
    """Read what records are held for. Raises InvalidInput."""
    if not 0 < len(value) <= MAX_MATTER_CHARACTERS or not value.isprintable():
        raise InvalidInput.of("matter", f"must have 1 to {MAX_MATTER_CHARACTERS} printable characters")
    return value


def record_names(values: Iterable[str]) -> tuple[str, ...]:
    """Read ids of records. Raises InvalidInput."""
    names = tuple(record_name(value, f"record_ids[{i}]") for i, value in enumerate(values))
    if len(names) > MAX_RECORDS:
        raise InvalidInput.of("record_ids", f"must have at most {MAX_RECORDS} entries")
    return names


def certificate(
    erased: Erased, event: bytes, entry: bytes, proof: str, key: str
) -> audit_service_pb2.ErasureCertificate:
    """Write what is kept of an erasure."""
    return audit_service_pb2.ErasureCertificate(
        erasure_id=erased.erasure_id,
        records=len(erased.records),
        log_index=erased.log_index,
        event=event.decode(),
        entry=entry.decode(),
        proof=proof,
        verifier_key=key,
    )


def retention_reply(rows: Sequence[Due], done: Sequence[Erased]) -> audit_service_pb2.ApplyRetentionResponse:
    """Write what was due, and what was erased."""
    return audit_service_pb2.ApplyRetentionResponse(
        rows=[_row(due) for due in rows],
        erased=sum(len(erased.records) for erased in done),
        log_index=done[0].log_index if done else None,
    )


def export_header(exported: Exported, size_bytes: int) -> audit_service_pb2.ExportHeader:
    """Write what an export is."""
    bundle = exported.bundle
    return audit_service_pb2.ExportHeader(
        records=bundle.records,
        left_out_as_unsigned=bundle.unsigned,
        log_size=bundle.size,
        manifest_sha256=bundle.digest,
        log_index=exported.log_index,
        size_bytes=size_bytes,
    )


def _row(due: Due) -> audit_service_pb2.RetentionRow:
    before = Timestamp()
    before.FromDatetime(datetime.fromisoformat(due.before))
    return audit_service_pb2.RetentionRow(
        model=due.model, type=enums.RECORD_TYPES[due.type], days=due.days, before=before, due=due.records, held=due.held
    )
