"""A service in this process: answers each call with the next of its scripted turns and remembers what it was asked."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import grpc

from rollcall_client._v1 import explanation_pb2, explanation_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

_REQUESTS: dict[str, type[Message]] = {
    "Explain": explanation_pb2.ExplainRequest,
    "Predict": explanation_service_pb2.PredictRequest,
    "ListModels": explanation_service_pb2.ListModelsRequest,
    "GetModel": explanation_service_pb2.GetModelRequest,
}
_LONGEST_TEST_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A turn that fails with this status; `details` are the bytes of a google.rpc.Status."""

    code: grpc.StatusCode
    message: str = "refused"
    details: bytes | None = None
    request_id: str | None = None


class Silence:
    """A turn that never answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A turn of a stream: these messages, then `failure` if there is one."""

    messages: tuple[Message, ...]
    failure: Failure | None = None


@dataclass(slots=True)
class FakeService:
    """A server on a free local port. `turns` are taken in order; the last one repeats."""

    turns: list[Message | Failure | Silence | Stream]
    requests: list[Any] = field(default_factory=list)
    metadata: list[dict[str, str | bytes]] = field(default_factory=list)
    remaining: list[float] = field(default_factory=list)
    target: str = ""
    _closing: threading.Event = field(default_factory=threading.Event)

    @classmethod
    @contextmanager
    def serving(cls, *turns: Message | Failure | Silence | Stream) -> Iterator[Self]:
        """Serve the turns until the block ends."""
        service = cls(turns=list(turns))
        server = grpc.server(ThreadPoolExecutor(max_workers=4))
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                service._answer,
                request_deserializer=request.FromString,
                response_serializer=lambda reply: reply.SerializeToString(),
            )
            for name, request in _REQUESTS.items()
        }
        handlers["ExplainStream"] = grpc.unary_stream_rpc_method_handler(
            service._stream,
            request_deserializer=explanation_pb2.ExplainRequest.FromString,
            response_serializer=lambda reply: reply.SerializeToString(),
        )
        handlers["ExplainMany"] = grpc.stream_stream_rpc_method_handler(
            service._many,
            request_deserializer=explanation_pb2.ExplainRequest.FromString,
            response_serializer=lambda reply: reply.SerializeToString(),
        )
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("rollcall.v1.ExplanationService", handlers),)
        )
        service.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield service
        finally:
            service._closing.set()
            server.stop(grace=None).wait()

    def _answer(self, request: Message, context: Any) -> Message:  # noqa: ANN401 - its published type lacks methods
        turn = self._turn(request, context)
        assert not isinstance(turn, Stream)
        return turn

    def _stream(self, request: Message, context: Any) -> Iterator[Message]:  # noqa: ANN401 - as above
        turn = self._turn(request, context)
        assert isinstance(turn, Stream)
        yield from turn.messages
        if turn.failure is not None:
            context.abort(turn.failure.code, turn.failure.message)

    def _many(self, requests: Iterator[Message], context: Any) -> Iterator[Message]:  # noqa: ANN401 - as above
        """A turn for each request, whose id it takes over."""
        for request in requests:
            turn = self._turn(request, context)
            assert isinstance(turn, explanation_service_pb2.ExplainManyResponse)
            turn.request_id = request.request_id  # type: ignore[attr-defined]  # it is an ExplainRequest
            yield turn

    def _turn(self, request: Message, context: Any) -> Message | Stream:  # noqa: ANN401 - as above
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        self.remaining.append(context.time_remaining())
        turn = self.turns.pop(0) if len(self.turns) > 1 else self.turns[0]
        if isinstance(turn, Silence):
            self._closing.wait(_LONGEST_TEST_SECONDS)
            turn = Failure(code=grpc.StatusCode.ABORTED)
        if isinstance(turn, Failure):
            trailers = {"grpc-status-details-bin": turn.details, "x-request-id": turn.request_id}
            context.set_trailing_metadata(tuple((key, value) for key, value in trailers.items() if value is not None))
            context.abort(turn.code, turn.message)
        assert not isinstance(turn, Failure)
        return turn
