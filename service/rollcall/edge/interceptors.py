"""What surrounds every call of our services: its id, its count, its log line, and how an error leaves.

One interceptor, because order matters: a call is counted whichever way it ends, also where the caller cancels, the
deadline passes, or the request cannot be decoded. Health and reflection pass through; what the Open Inference Protocol
asks beside ModelInfer is of their kind, neither counted nor, unless it fails, logged. Calls of AuditService are logged,
and not counted: a scrape has no room for them. A request above the inbound limit never gets here; the library refuses
it with RESOURCE_EXHAUSTED.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import grpc
from google.protobuf.message import Message
from grpc import aio

from rollcall.edge import status, wire
from rollcall.edge.calls import Ledger, Opened, Outcome, cancelled_by, check_decoded, own_id, refused
from rollcall.edge.converters.replies import describe
from rollcall.edge.converters.requests import REQUEST_ID
from rollcall.oip import open_inference_pb2
from rollcall.v1 import audit_service_pb2, explanation_service_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from google.protobuf.descriptor import MethodDescriptor

    from rollcall.telemetry.metrics import Metrics
    from rollcall.telemetry.traces import Spans

    Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]
    Context: TypeAlias = aio.ServicerContext[Any, Any]
    Behaviour: TypeAlias = Callable[[Message, Context], Awaitable[Message]]
    Streaming: TypeAlias = Callable[[Message, Context], AsyncGenerator[Message, None]]
    Conversing: TypeAlias = Callable[[AsyncIterator[Message], Context], AsyncGenerator[Message, None]]

SERVICES = {
    service.full_name: service
    for file in (explanation_service_pb2, open_inference_pb2, audit_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
}
REQUEST_ID_KEY = "x-request-id"


class CallInterceptor(aio.ServerInterceptor):  # type: ignore[type-arg] # generic in the stubs only
    """Wraps the methods of SERVICES."""

    def __init__(self, metrics: Metrics, spans: Spans) -> None:
        self._metrics = metrics
        self._ledger = Ledger(metrics, spans)
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
        if handler.request_streaming:
            conversing = cast("Conversing", handler.stream_stream)

            async def converse(requests: AsyncIterator[Message], context: Context) -> AsyncIterator[Message]:
                opened = self._ledger.open(method, None, request_id_of(context), metadata_of(context))
                begin = partial(conversing, self._received(method.name, requests), context)
                async with aclosing(self._stream(opened, begin, context)) as messages:
                    async for message in messages:
                        yield message

            return grpc.stream_stream_rpc_method_handler(
                converse, request_deserializer=decode, response_serializer=handler.response_serializer
            )
        if handler.response_streaming:
            streaming = cast("Streaming", handler.unary_stream)

            async def stream(request: Message | wire.Undecodable, context: Context) -> AsyncIterator[Message]:
                opened = self._ledger.open(method, request, _name(request, context), metadata_of(context))
                begin = partial(_begin, streaming, request, context)
                async with aclosing(self._stream(opened, begin, context)) as messages:
                    async for message in messages:
                        yield message

            return grpc.unary_stream_rpc_method_handler(
                stream, request_deserializer=decode, response_serializer=handler.response_serializer
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
        opened = self._ledger.open(method, request, _name(request, context), metadata_of(context))
        outcome = Outcome(code=grpc.StatusCode.UNKNOWN)
        # 2. Answer it, or learn what ended it.
        try:
            await context.send_initial_metadata(((REQUEST_ID_KEY, opened.request_id),))
            outcome = await _answer(behaviour, request, context)
        except asyncio.CancelledError:
            outcome = Outcome(code=cancelled_by(context))
            raise
        # 3. Count and log the end, whichever it was.
        finally:
            self._ledger.close(opened, outcome)
        # 4. Reply; abort raises.
        await _abort_if_refused(opened, outcome, context)
        return outcome.reply

    async def _stream(
        self, opened: Opened, begin: Callable[[], AsyncGenerator[Message, None]], context: Context
    ) -> AsyncGenerator[Message, None]:
        """The same for a stream of replies, of which the last one that has something to tell is logged."""
        outcome = Outcome(code=grpc.StatusCode.UNKNOWN)
        try:
            await context.send_initial_metadata(((REQUEST_ID_KEY, opened.request_id),))
            last: Message | None = None
            async with aclosing(begin()) as messages:
                async for message in messages:
                    last = message if describe(message) else last
                    yield message
                    if opened.counted:
                        self._metrics.rpc_sent(opened.method)
            outcome = Outcome(code=grpc.StatusCode.OK, reply=last)
        except Exception as error:  # noqa: BLE001 - the edge, as in _answer
            outcome = refused(error)
        except (asyncio.CancelledError, GeneratorExit):
            outcome = Outcome(code=cancelled_by(context))
            raise
        finally:
            self._ledger.close(opened, outcome)
        await _abort_if_refused(opened, outcome, context)

    async def _received(self, method: str, requests: AsyncIterator[Message]) -> AsyncIterator[Message]:
        """Count requests of a stream as they come; the servicer answers for each of them."""
        async for request in requests:
            self._metrics.rpc_received(method)
            yield request


def _begin(
    behaviour: Streaming, request: Message | wire.Undecodable, context: Context
) -> AsyncGenerator[Message, None]:
    check_decoded(request)
    return behaviour(cast("Message", request), context)


async def _answer(behaviour: Behaviour, request: Message | wire.Undecodable, context: Context) -> Outcome:
    try:
        check_decoded(request)
        reply = await behaviour(cast("Message", request), context)
    except Exception as error:  # noqa: BLE001 - the edge: whatever happened, the caller gets a status and no inner text
        return refused(error)
    return Outcome(code=grpc.StatusCode.OK, reply=reply)


async def _abort_if_refused(opened: Opened, outcome: Outcome, context: Context) -> None:
    if outcome.rejection is not None:
        rejection = outcome.rejection
        trailers = ((REQUEST_ID_KEY, opened.request_id), (status.DETAILS_KEY, rejection.details))
        await context.abort(rejection.code, rejection.message, trailers)


def _name(request: Message | wire.Undecodable, context: Context) -> str:
    """Choose the call's id: the request's own, that of the metadata, or a new one, and give it to a request without."""
    own = own_id(request)
    request_id = own or request_id_of(context)
    if isinstance(request, Message) and not getattr(request, "request_id", "?"):
        request.request_id = request_id  # type: ignore[attr-defined] # it has the field
    return request_id


def request_id_of(context: Context) -> str:
    """Return the id that the call's metadata has, or a new one."""
    given = metadata_of(context).get(REQUEST_ID_KEY, "")
    return given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def metadata_of(context: Context) -> dict[str, str]:
    """What came with the call; of a key that came more than once the last."""
    return {key: str(value) for key, value in context.invocation_metadata() or ()}
