"""What surrounds every call of our services: its id, its count, its log line, and how an error leaves.

One interceptor, because order matters: a call is counted whichever way it ends, also where the caller cancels, the
deadline passes, or the request cannot be decoded. Health and reflection pass through; what the Open Inference Protocol
asks beside ModelInfer is of their kind, neither counted nor, unless it fails, logged. Calls of AuditService are logged,
and not counted: a scrape has no room for them. A request above the inbound limit never gets here; the library refuses
it with RESOURCE_EXHAUSTED.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import grpc
from grpc import aio

from rollcall.domain import errors
from rollcall.edge import status, wire
from rollcall.edge.converters.replies import describe
from rollcall.edge.converters.requests import REQUEST_ID
from rollcall.oip import open_inference_pb2
from rollcall.telemetry import logs
from rollcall.telemetry.metrics import METHODS
from rollcall.telemetry.series import OTHER
from rollcall.v1 import audit_service_pb2, explanation_service_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from google.protobuf.descriptor import MethodDescriptor
    from google.protobuf.message import Message

    from rollcall.telemetry.metrics import Metrics, RejectReason

    Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]
    Context: TypeAlias = aio.ServicerContext[Any, Any]
    Behaviour: TypeAlias = Callable[[Message, Context], Awaitable[Message]]
    Streaming: TypeAlias = Callable[[Message, Context], AsyncGenerator[Message, None]]

AUDIT_SERVICE = audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"]
SERVICES = {
    service.full_name: service
    for file in (explanation_service_pb2, open_inference_pb2, audit_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
}
REQUEST_ID_KEY = "x-request-id"
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


class CallInterceptor(aio.ServerInterceptor):  # type: ignore[type-arg] # generic in the stubs only
    """Wraps the methods of SERVICES."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]], details: grpc.HandlerCallDetails
    ) -> Handler:
        """Find the handler; wrap it once."""
        handler = await continuation(details)
        service, _, method = details.method.lstrip("/").partition("/")
        if handler is None or service not in SERVICES:
            return handler
        if details.method not in self._wrapped:
            self._wrapped[details.method] = self._wrap(SERVICES[service].methods_by_name[method], handler)
        return self._wrapped[details.method]

    def _wrap(self, method: MethodDescriptor, handler: Handler) -> Handler:
        decode = wire.decoder(method.input_type)
        if handler.response_streaming:
            streaming = cast("Streaming", handler.unary_stream)

            async def stream(request: Message | wire.Undecodable, context: Context) -> AsyncIterator[Message]:
                async with aclosing(self._stream(method, streaming, request, context)) as messages:
                    async for message in messages:
                        yield message

            return grpc.unary_stream_rpc_method_handler(
                stream,
                request_deserializer=decode,
                response_serializer=handler.response_serializer,
            )
        behaviour = cast("Behaviour", handler.unary_unary)

        async def call(request: Message | wire.Undecodable, context: Context) -> Message | None:
            return await self._call(method, behaviour, request, context)

        return grpc.unary_unary_rpc_method_handler(
            call, request_deserializer=decode, response_serializer=handler.response_serializer
        )

    async def _call(
        self, method: MethodDescriptor, behaviour: Behaviour, request: Message | wire.Undecodable, context: Context
    ) -> Message | None:
        # 1. Count the call and give it an id, which the caller may have chosen.
        opened = self._open(method, request, context)
        outcome = _Outcome(code=grpc.StatusCode.UNKNOWN)
        # 2. Answer it, or learn what ended it.
        try:
            await context.send_initial_metadata(((REQUEST_ID_KEY, opened.request_id),))
            outcome = await _answer(behaviour, request, context)
        except asyncio.CancelledError:
            outcome = _Outcome(code=_cancelled_by(context))
            raise
        # 3. Count and log the end, whichever it was.
        finally:
            self._close(opened, outcome)
        # 4. Reply; abort raises.
        await _abort_if_refused(opened, outcome, context)
        return outcome.reply

    async def _stream(
        self, method: MethodDescriptor, behaviour: Streaming, request: Message | wire.Undecodable, context: Context
    ) -> AsyncGenerator[Message, None]:
        """The same for a stream of replies, of which the last one that has something to tell is logged."""
        opened = self._open(method, request, context)
        outcome = _Outcome(code=grpc.StatusCode.UNKNOWN)
        try:
            await context.send_initial_metadata(((REQUEST_ID_KEY, opened.request_id),))
            _check_decoded(request)
            last: Message | None = None
            async with aclosing(behaviour(cast("Message", request), context)) as messages:
                async for message in messages:
                    last = message if describe(message) else last
                    yield message
                    self._metrics.rpc_sent(method.name)
            outcome = _Outcome(code=grpc.StatusCode.OK, reply=last)
        except Exception as error:  # noqa: BLE001 - the edge, as in _answer
            outcome = _refuse(error)
        except (asyncio.CancelledError, GeneratorExit):
            outcome = _Outcome(code=_cancelled_by(context))
            raise
        finally:
            self._close(opened, outcome)
        await _abort_if_refused(opened, outcome, context)

    def _open(self, method: MethodDescriptor, request: Message | wire.Undecodable, context: Context) -> _Opened:
        counted = method.name in METHODS and method.containing_service is not AUDIT_SERVICE
        if counted:
            self._metrics.rpc_started(method.name)
        return _Opened(
            method=method.name,
            counted=counted,
            logged=counted or method.containing_service is AUDIT_SERVICE,
            model=getattr(request, "model", getattr(request, "model_name", OTHER)),
            request_id=_name(request, context),
            started=time.monotonic(),
        )

    def _close(self, opened: _Opened, outcome: _Outcome) -> None:
        if not opened.logged and outcome.error is None:
            return
        seconds = time.monotonic() - opened.started
        if opened.counted:
            self._metrics.rpc_handled(opened.method, model=opened.model, code=outcome.code.name, seconds=seconds)
        for reason in (reason for kind, reason in REJECTED.items() if isinstance(outcome.error, kind)):
            self._metrics.rejected(opened.model, reason)
        model = self._metrics.model_label(opened.model)
        _report(outcome, method=opened.method, model=model, request_id=opened.request_id, seconds=seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """A call that has arrived, at a reading of the monotonic clock."""

    method: str
    counted: bool
    logged: bool
    model: str
    request_id: str
    started: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """How a call ended: with a reply, with a rejection and the error behind it, or with neither by cancellation."""

    code: grpc.StatusCode
    reply: Message | None = None
    rejection: status.Rejection | None = None
    error: Exception | None = None


async def _answer(behaviour: Behaviour, request: Message | wire.Undecodable, context: Context) -> _Outcome:
    try:
        _check_decoded(request)
        reply = await behaviour(cast("Message", request), context)
    except Exception as error:  # noqa: BLE001 - the edge: whatever happened, the caller gets a status and no inner text
        return _refuse(error)
    return _Outcome(code=grpc.StatusCode.OK, reply=reply)


def _check_decoded(request: Message | wire.Undecodable) -> None:
    """Raise InvalidInput where the bytes that came are no message."""
    if isinstance(request, wire.Undecodable):
        raise errors.InvalidInput(*request.violations)


async def _abort_if_refused(opened: _Opened, outcome: _Outcome, context: Context) -> None:
    if outcome.rejection is not None:
        rejection = outcome.rejection
        trailers = ((REQUEST_ID_KEY, opened.request_id), (status.DETAILS_KEY, rejection.details))
        await context.abort(rejection.code, rejection.message, trailers)


def _refuse(error: Exception) -> _Outcome:
    rejection = status.rejection(error)
    return _Outcome(code=rejection.code, rejection=rejection, error=error)


def _name(request: Message | wire.Undecodable, context: Context) -> str:
    """Choose the call's id: the request's own, that of the metadata, or a new one, and give it to a request without."""
    own: str = getattr(request, "request_id", getattr(request, "id", ""))
    request_id = own if REQUEST_ID.fullmatch(own) else request_id_of(context)
    if not own and hasattr(request, "request_id"):
        request.request_id = request_id
    return request_id


def request_id_of(context: Context) -> str:
    """Return the id that the call's metadata has, or a new one."""
    given = {key: str(value) for key, value in context.invocation_metadata() or ()}.get(REQUEST_ID_KEY, "")
    return given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _cancelled_by(context: Context) -> grpc.StatusCode:
    """Tell a deadline from a caller who gave up. Peers' clocks differ, so the last moment counts as the deadline."""
    remaining: float | None = context.time_remaining()
    expired = remaining is not None and remaining <= DEADLINE_TOLERANCE_SECONDS
    return grpc.StatusCode.DEADLINE_EXCEEDED if expired else grpc.StatusCode.CANCELLED


def _report(outcome: _Outcome, *, method: str, model: str, request_id: str, seconds: float) -> None:
    """Write the call's log line; an error that is ours comes with its id and its trace."""
    error_id = outcome.rejection.error_id if outcome.rejection else None
    told = describe(outcome.reply) if outcome.reply is not None else {}
    ours = {} if error_id is None else {"error_id": error_id}
    logs.event(
        _log,
        logging.INFO if error_id is None else logging.ERROR,
        "request",
        error=None if error_id is None else outcome.error,
        method=method,
        code=outcome.code.name,
        model=model,
        request_id=request_id,
        seconds=round(seconds, 6),
        **told,
        **ours,
    )
