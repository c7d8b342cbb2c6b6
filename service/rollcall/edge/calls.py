"""How calls, and each request of a call with many, begin and end: what is counted, logged, and told the caller."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from rollcall.domain import errors
from rollcall.edge import status, wire
from rollcall.edge.converters.replies import describe
from rollcall.edge.converters.requests import REQUEST_ID
from rollcall.telemetry import logs
from rollcall.telemetry.metrics import SERVICES
from rollcall.telemetry.series import OTHER
from rollcall.telemetry.traces import NOTHING, Span, Spans
from rollcall.v1 import audit_service_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.descriptor import MethodDescriptor
    from google.protobuf.message import Message
    from grpc import aio

    from rollcall.telemetry.metrics import Metrics, RejectReason

    Context = aio.ServicerContext[Any, Any]

AUDIT_SERVICE = audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"]
DEADLINE_TOLERANCE_SECONDS = 0.05

REJECTED: dict[type[errors.RollcallError], RejectReason] = {
    errors.Overloaded: "queue_full",
    errors.QuotaExceeded: "quota",
    errors.DeadlineTooShort: "deadline",
    errors.Draining: "draining",
    errors.ModelNotReady: "not_ready",
    errors.DeviceMemory: "memory",
}
"""Which refusals are for want of capacity, and what the metric calls them."""

_log = logging.getLogger("rollcall.edge")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A call or request that has arrived, at a reading of the monotonic clock."""

    method: str
    counted: bool
    logged: bool
    model: str
    request_id: str
    started: float
    span: Span

    @property
    def seconds(self) -> float:
        """How long ago that was."""
        return time.monotonic() - self.started


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How it ended: with a reply, with a rejection and the error behind it, or with neither by cancellation."""

    code: grpc.StatusCode
    reply: Message | None = None
    rejection: status.Rejection | None = None
    error: Exception | None = None


class Ledger:
    """Counts, logs and traces what begins and ends."""

    def __init__(self, metrics: Metrics, spans: Spans) -> None:
        self._metrics = metrics
        self._spans = spans

    def open(
        self,
        method: MethodDescriptor,
        request: Message | wire.Undecodable | None,
        request_id: str,
        metadata: Mapping[str, str],
    ) -> Opened:
        """Count a call that has arrived; None for the request of one that will have many."""
        counted = SERVICES.get(method.name) == method.containing_service.full_name
        if counted:
            self._metrics.rpc_started(method.name)
        logged = counted or method.containing_service is AUDIT_SERVICE
        span = self._spans.call(method.containing_service.full_name, method.name, metadata) if logged else NOTHING
        return _opened(method.name, request, request_id, span, counted=counted, logged=logged)

    def close(self, opened: Opened, outcome: Outcome) -> None:
        """Count and log the end of a call, whichever it was."""
        if not opened.logged and outcome.error is None:
            return
        if opened.counted:
            self._metrics.rpc_handled(opened.method, model=opened.model, code=outcome.code.name, seconds=opened.seconds)
        self._report(opened, outcome)

    def open_one(self, method: str, request: Message | wire.Undecodable | None, request_id: str) -> Opened:
        """Take down one request of many."""
        return _opened(method, request, request_id, self._spans.one(method), counted=True, logged=True)

    def close_one(self, opened: Opened, outcome: Outcome) -> None:
        """Count and log the end of one request of many."""
        self._metrics.request_handled(opened.method, model=opened.model, code=outcome.code.name)
        self._report(opened, outcome)

    def _report(self, opened: Opened, outcome: Outcome) -> None:
        """Count what was refused for want of capacity, and write the log line; our faults have their trace there."""
        for reason in (reason for kind, reason in REJECTED.items() if isinstance(outcome.error, kind)):
            self._metrics.rejected(opened.model, reason)
        error_id = outcome.rejection.error_id if outcome.rejection else None
        told = describe(outcome.reply) if outcome.reply is not None else {}
        told |= {} if error_id is None else {"error_id": error_id}
        told |= {"model": self._metrics.model_label(opened.model), "request_id": opened.request_id}
        opened.span.end(code=outcome.code.value[0], **told)
        traced = {"trace_id": opened.span.trace_id} if opened.span.trace_id else {}
        logs.event(
            _log,
            logging.INFO if error_id is None else logging.ERROR,
            "request",
            error=None if error_id is None else outcome.error,
            method=opened.method,
            code=outcome.code.name,
            seconds=round(opened.seconds, 6),
            **told,
            **traced,
        )


def _opened(
    method: str, request: Message | wire.Undecodable | None, request_id: str, span: Span, *, counted: bool, logged: bool
) -> Opened:
    return Opened(
        method=method,
        counted=counted,
        logged=logged,
        model=getattr(request, "model", getattr(request, "model_name", OTHER)),
        request_id=request_id,
        started=time.monotonic(),
        span=span,
    )


def check_decoded(request: Message | wire.Undecodable) -> None:
    """Raise InvalidInput where the bytes that came are no message."""
    if isinstance(request, wire.Undecodable):
        raise errors.InvalidInput(*request.violations)


def refused(error: Exception) -> Outcome:
    """What an error is to the caller."""
    rejection = status.rejection(error)
    return Outcome(code=rejection.code, rejection=rejection, error=error)


def cancelled_by(context: Context) -> grpc.StatusCode:
    """Tell a deadline from a caller who gave up. Peers' clocks differ, so the last moment counts as the deadline."""
    remaining: float | None = context.time_remaining()
    expired = remaining is not None and remaining <= DEADLINE_TOLERANCE_SECONDS
    return grpc.StatusCode.DEADLINE_EXCEEDED if expired else grpc.StatusCode.CANCELLED


def own_id(request: Message | wire.Undecodable | None) -> str:
    """The id that a request gives itself, if it is one that may be logged; else ""."""
    own: str = getattr(request, "request_id", getattr(request, "id", ""))
    return own if REQUEST_ID.fullmatch(own) else ""
