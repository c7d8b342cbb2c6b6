"""From the error tree to gRPC codes and google.rpc details: one table.

A status travels in the trailing metadata, of which peers accept 8 KiB and some drop more at random, so it stays far
below: see the constants. Messages are those of `domain.errors`, written for callers; for everything that is our fault
the text is fixed and an error id leads to the log.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from rollcall.domain import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.message import Message

DETAILS_KEY = "grpc-status-details-bin"
ERROR_DOMAIN = "rollcall"
MAX_MESSAGE_BYTES = 1_000
MAX_DETAILS_BYTES = 4_500
"""Of the whole google.rpc.Status: 6 kB once it is in base64, as some peers count."""
MAX_VIOLATIONS = 20
MAX_FIELD_CHARACTERS = 100
MAX_DESCRIPTION_CHARACTERS = 300

Details: TypeAlias = "Callable[[errors.RollcallError], Message]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How one class of errors leaves. `reason` is the ErrorInfo that programs read."""

    code: grpc.StatusCode
    reason: str
    details: tuple[Details, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """What the caller gets instead of an answer; `error_id` finds the log line of an internal error."""

    code: grpc.StatusCode
    message: str
    details: bytes
    error_id: str | None = None


def _bad_request(error: errors.RollcallError) -> Message:
    violations = error.violations[:MAX_VIOLATIONS] if isinstance(error, errors.InvalidInput) else ()
    details: Message = error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(
                field=_cut(violation.field, MAX_FIELD_CHARACTERS),
                description=_cut(violation.description, MAX_DESCRIPTION_CHARACTERS),
            )
            for violation in violations
        ]
    )
    return details


def _missing_model(error: errors.RollcallError) -> Message:
    name = error.name if isinstance(error, errors.ModelNotFound) else ""
    details: Message = error_details_pb2.ResourceInfo(
        resource_type="model", resource_name=_cut(name, MAX_FIELD_CHARACTERS), description="not served here"
    )
    return details


def _unmet(error: errors.RollcallError) -> Message:
    subject = error.subject if isinstance(error, errors.Unsupported | errors.Blocked) else ""
    violation = error_details_pb2.PreconditionFailure.Violation(
        type="BLOCKED" if isinstance(error, errors.Blocked) else "UNSUPPORTED",
        subject=_cut(subject, MAX_FIELD_CHARACTERS),
        description=_cut(str(error), MAX_DESCRIPTION_CHARACTERS),
    )
    details: Message = error_details_pb2.PreconditionFailure(violations=[violation])
    return details


def _retry(error: errors.RollcallError) -> Message:
    seconds = error.retry_after if isinstance(error, errors.CapacityError) else 0.0
    delay = Duration()
    delay.FromNanoseconds(round(seconds * 1e9))
    details: Message = error_details_pb2.RetryInfo(retry_delay=delay)
    return details


def _quota(error: errors.RollcallError) -> Message:
    tenant, limit = (error.tenant, error.limit) if isinstance(error, errors.QuotaExceeded) else ("", "")
    violation = error_details_pb2.QuotaFailure.Violation(
        subject=_cut(f"tenant:{tenant}", MAX_FIELD_CHARACTERS), description=_cut(limit, MAX_DESCRIPTION_CHARACTERS)
    )
    details: Message = error_details_pb2.QuotaFailure(violations=[violation])
    return details


_CODE = grpc.StatusCode
TABLE: dict[type[errors.RollcallError], Row] = {
    errors.InvalidInput: Row(code=_CODE.INVALID_ARGUMENT, reason="INVALID_INPUT", details=(_bad_request,)),
    errors.ModelNotFound: Row(code=_CODE.NOT_FOUND, reason="MODEL_NOT_FOUND", details=(_missing_model,)),
    errors.RecordNotFound: Row(code=_CODE.NOT_FOUND, reason="RECORD_NOT_FOUND"),
    errors.Blocked: Row(code=_CODE.FAILED_PRECONDITION, reason="BLOCKED", details=(_unmet,)),
    errors.Unsupported: Row(code=_CODE.FAILED_PRECONDITION, reason="UNSUPPORTED", details=(_unmet,)),
    errors.NotAuthenticated: Row(code=_CODE.UNAUTHENTICATED, reason="NOT_AUTHENTICATED"),
    errors.NotPermitted: Row(code=_CODE.PERMISSION_DENIED, reason="NOT_PERMITTED"),
    errors.CallerError: Row(code=_CODE.INVALID_ARGUMENT, reason="INVALID_REQUEST"),
    errors.QuotaExceeded: Row(code=_CODE.RESOURCE_EXHAUSTED, reason="QUOTA_EXCEEDED", details=(_quota, _retry)),
    errors.Overloaded: Row(code=_CODE.UNAVAILABLE, reason="OVERLOADED", details=(_retry,)),
    errors.Draining: Row(code=_CODE.UNAVAILABLE, reason="DRAINING", details=(_retry,)),
    errors.ModelNotReady: Row(code=_CODE.UNAVAILABLE, reason="MODEL_NOT_READY", details=(_retry,)),
    errors.DeadlineTooShort: Row(code=_CODE.DEADLINE_EXCEEDED, reason="ADMISSION"),
    errors.DeviceLost: Row(code=_CODE.UNAVAILABLE, reason="DEVICE_LOST", details=(_retry,)),
    errors.LogUnavailable: Row(code=_CODE.UNAVAILABLE, reason="LOG_UNAVAILABLE", details=(_retry,)),
    errors.RecordingFailed: Row(code=_CODE.RESOURCE_EXHAUSTED, reason="NOT_RECORDED", details=(_retry,)),
    errors.DeviceMemory: Row(code=_CODE.RESOURCE_EXHAUSTED, reason="DEVICE_MEMORY"),
    errors.CapacityError: Row(code=_CODE.UNAVAILABLE, reason="NO_CAPACITY", details=(_retry,)),
}
"""Rows apply to subclasses that have none of their own. What no row covers is our fault: INTERNAL."""


def rejection(error: Exception) -> Rejection:
    """Say how an error leaves. Total: an error without a row leaves as INTERNAL with a fixed text and a fresh id."""
    for kind in type(error).__mro__:
        if kind in TABLE and isinstance(error, errors.RollcallError):
            return _known(TABLE[kind], error)
    error_id = secrets.token_hex(8)
    message = f"internal error; the server's log has it under error id {error_id}"
    info = error_details_pb2.ErrorInfo(reason="INTERNAL", domain=ERROR_DOMAIN, metadata={"error_id": error_id})
    details = _status(_CODE.INTERNAL, message, info).SerializeToString()
    return Rejection(code=_CODE.INTERNAL, message=message, details=details, error_id=error_id)


def _known(row: Row, error: errors.RollcallError) -> Rejection:
    message = _cut_bytes(str(error), MAX_MESSAGE_BYTES)
    info = error_details_pb2.ErrorInfo(reason=row.reason, domain=ERROR_DOMAIN)
    details = tuple(detail(error) for detail in row.details)
    attempts = (_status(row.code, message, info, *some) for some in _shrinking(details))
    status = next(attempt for attempt in attempts if attempt.ByteSize() <= MAX_DETAILS_BYTES)
    return Rejection(code=row.code, message=message, details=status.SerializeToString())


def _shrinking(details: tuple[Message, ...]) -> Iterator[tuple[Message, ...]]:
    """Yield the details, then ever fewer violations, so that the caller sees as many as fit; in the end nothing."""
    yield details
    for each in details:
        while isinstance(each, error_details_pb2.BadRequest) and each.field_violations:
            del each.field_violations[-1]
            yield details
    yield ()


def _status(code: grpc.StatusCode, message: str, *details: Message) -> Status:
    packed = []
    for detail in details:
        any_message = AnyMessage()
        any_message.Pack(detail)
        packed.append(any_message)
    number: int = code.value[0]
    return Status(code=number, message=message, details=packed)


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 3] + "..."


def _cut_bytes(text: str, most: int) -> str:
    """Cut so that the text, percent-encoded as gRPC sends it, has at most so many bytes."""
    costs = (1 if " " <= character <= "~" and character != "%" else 3 * len(character.encode()) for character in text)
    total = 0
    for position, cost in enumerate(costs):
        total += cost
        if total > most - 3:
            return text[:position] + "..."
    return text
