"""The two clients. What they say is written once, in `Surface`; only the loop that calls and sleeps has two colours."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, Unpack

import grpc
import grpc.aio

from rollcall_client._calls import (
    EXPLAIN,
    EXPLAIN_STREAM,
    GET_MODEL,
    LIST_MODELS,
    METHODS,
    PREDICT,
    Answer,
    Call,
    Method,
)
from rollcall_client._failures import failure_from
from rollcall_client._record_calls import METHODS as RECORD_METHODS
from rollcall_client._requests import explain_request, predict_request, text_input, tokens_input
from rollcall_client._retry import wait_before_retry
from rollcall_client._v1 import common_pb2, explanation_service_pb2
from rollcall_client.explanation import Explanation
from rollcall_client.types import Model, PredictResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from rollcall_client.options import ExplainOptions, PredictOptions
    from rollcall_client.types import Progress

DEFAULT_TIMEOUT_SECONDS = 30.0
DEFAULT_RETRIES = 3
# Full attention maps are larger than gRPC's default of 4 MiB. The caller asked for them; the service limits what it
# sends.
_CHANNEL_OPTIONS = (("grpc.max_receive_message_length", -1),)

_Explained = TypeVar("_Explained")
_Predicted = TypeVar("_Predicted")
_Listed = TypeVar("_Listed")
_Described = TypeVar("_Described")
_Metadata = tuple[tuple[str, str | bytes], ...]


class Surface(ABC, Generic[_Explained, _Predicted, _Listed, _Described]):
    """What both clients offer. `Client` returns answers, `AsyncClient` coroutines that return them.

    `timeout` (seconds, the client's own if None) covers a call and all its retries. A `request_id` of at most 128
    printable ASCII characters is made up if empty; it is in the answer, in every error and in the service's log.

    All methods raise, or their coroutines do:
        CallerError: the request is at fault (InvalidArgument, NotFound, FailedPrecondition, AccessDenied, Cancelled).
        CapacityError: too much to do (Unavailable, DeadlineExceeded, QuotaExceeded).
        ServiceError: the service is at fault (Internal, InvalidAnswer, Unknown).
        ValueError, TypeError: an argument does not fit the wire; nothing was sent.
    """

    def __init__(self, *, timeout: float, retries: int, metadata: Sequence[tuple[str, str | bytes]]) -> None:
        """Keep what applies to every call."""
        self._timeout = timeout
        self._retries = retries
        self._metadata: _Metadata = tuple(metadata)

    @abstractmethod
    def _run(self, call: Call[Any]) -> Any:  # noqa: ANN401 - no Python type says "this answer, awaited or not"
        """Make the call, again if need be, and return its answer or a coroutine that does."""

    def explain(
        self,
        text: str,
        *,
        text_pair: str | None = None,
        request_id: str = "",
        timeout: float | None = None,
        **options: Unpack[ExplainOptions],
    ) -> _Explained:
        """The prediction for a text, its maps, and a flag with evidence for each map."""
        return self._explain(text_input(text, text_pair), request_id, timeout, options)

    def explain_stream(
        self,
        text: str,
        *,
        progress: Callable[[Progress], None],
        text_pair: str | None = None,
        request_id: str = "",
        timeout: float | None = None,
        **options: Unpack[ExplainOptions],
    ) -> _Explained:
        """The same as `explain`; `progress` is called while the service works, e.g. with the level THOROUGH.

        It is called between messages of the stream, so that it should return soon. A call that is tried again begins
        anew, and so does what it is told. What it raises ends the call and is raised here.
        """
        return self._explain(text_input(text, text_pair), request_id, timeout, options, progress)

    def explain_tokens(
        self,
        input_ids: Sequence[int],
        *,
        request_id: str = "",
        timeout: float | None = None,
        **options: Unpack[ExplainOptions],
    ) -> _Explained:
        """The same for vocabulary ids exactly as the model's tokenizer makes them, special tokens included."""
        return self._explain(tokens_input(input_ids), request_id, timeout, options)

    def predict(
        self,
        text: str,
        *,
        text_pair: str | None = None,
        request_id: str = "",
        timeout: float | None = None,
        **options: Unpack[PredictOptions],
    ) -> _Predicted:
        """The prediction for a text alone: same input, same weights."""
        return self._predict(text_input(text, text_pair), request_id, timeout, options)

    def predict_tokens(
        self,
        input_ids: Sequence[int],
        *,
        request_id: str = "",
        timeout: float | None = None,
        **options: Unpack[PredictOptions],
    ) -> _Predicted:
        """The prediction for vocabulary ids alone."""
        return self._predict(tokens_input(input_ids), request_id, timeout, options)

    def models(self, *, timeout: float | None = None) -> _Listed:
        """The models that are being served, by name."""
        request = explanation_service_pb2.ListModelsRequest()
        call = Call(method=LIST_MODELS, request=request, request_id="", timeout=self._seconds(timeout))
        models: _Listed = self._run(call)
        return models

    def model(self, name: str = "", *, timeout: float | None = None) -> _Described:
        """One model, with its limits, self-tests and calibration; the default or only one if unnamed."""
        request = explanation_service_pb2.GetModelRequest(model=name)
        call = Call(method=GET_MODEL, request=request, request_id="", timeout=self._seconds(timeout))
        model: _Described = self._run(call)
        return model

    def _explain(
        self,
        content: common_pb2.TextInput | common_pb2.TokensInput,
        request_id: str,
        timeout: float | None,
        options: ExplainOptions,
        progress: Callable[[Progress], None] | None = None,
    ) -> _Explained:
        request_id = request_id or _new_request_id()
        request = explain_request(content, request_id=request_id, **options)
        call = Call(
            method=EXPLAIN if progress is None else EXPLAIN_STREAM,
            request=request,
            request_id=request_id,
            timeout=self._seconds(timeout),
            progress=progress,
        )
        explained: _Explained = self._run(call)
        return explained

    def _predict(
        self,
        content: common_pb2.TextInput | common_pb2.TokensInput,
        request_id: str,
        timeout: float | None,
        options: PredictOptions,
    ) -> _Predicted:
        request_id = request_id or _new_request_id()
        request = predict_request(content, request_id=request_id, **options)
        call = Call(method=PREDICT, request=request, request_id=request_id, timeout=self._seconds(timeout))
        predicted: _Predicted = self._run(call)
        return predicted

    def _seconds(self, timeout: float | None) -> float:
        return self._timeout if timeout is None else timeout


class Client(Surface[Explanation, PredictResult, tuple[Model, ...], Model]):
    """A connection to a Rollcall service, safe to share between threads. Close it, or use it in a `with` block.

    Args:
        target: "host:port" of the service.
        credentials: how to connect securely; a plaintext connection if None.
        timeout: seconds for a call and all its retries.
        retries: how often a call that found the service unavailable is made again.
        metadata: gRPC metadata sent with every call, e.g. an authorization.
        sleep: waits between retries; tests pass their own.
        jitter: a random number between 0 and 1; tests pass their own.
    """

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        retries: int = DEFAULT_RETRIES,
        metadata: Sequence[tuple[str, str | bytes]] = (),
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Open the channel; it connects with the first call."""
        super().__init__(timeout=timeout, retries=retries, metadata=metadata)
        self._sleep = sleep
        self._jitter = jitter
        self._channel = (
            grpc.insecure_channel(target, options=_CHANNEL_OPTIONS)
            if credentials is None
            else grpc.secure_channel(target, credentials, options=_CHANNEL_OPTIONS)
        )
        self._send = {method.path: _caller(self._channel, method) for method in (*METHODS, *RECORD_METHODS)}

    def _run(self, call: Call[Answer]) -> Answer:
        send, deadline = self._send[call.method.path], time.monotonic() + call.timeout
        retries_done = 0
        while True:
            try:
                reply = send(call.request, timeout=_until(deadline), metadata=self._metadata)
                if call.method.streams:
                    reply = _last(reply, call)
            except grpc.RpcError as error:
                failure = failure_from(error, request_id=call.request_id)
                wait = wait_before_retry(
                    failure,
                    retries_done=retries_done,
                    retries=self._retries,
                    remaining=_until(deadline),
                    jitter=self._jitter(),
                )
                if wait is None:
                    raise failure from error
                self._sleep(wait)
                retries_done += 1
            else:
                return call.answer(reply)

    def close(self) -> None:
        """Close the connection; calls under way end with Cancelled."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient(
    Surface[
        Coroutine[Any, Any, Explanation],
        Coroutine[Any, Any, PredictResult],
        Coroutine[Any, Any, tuple[Model, ...]],
        Coroutine[Any, Any, Model],
    ]
):
    """The same for asyncio: every method returns a coroutine. Make it inside a running event loop; use it there only.

    Args:
        target: "host:port" of the service.
        credentials: how to connect securely; a plaintext connection if None.
        timeout: seconds for a call and all its retries.
        retries: how often a call that found the service unavailable is made again.
        metadata: gRPC metadata sent with every call, e.g. an authorization.
        sleep: waits between retries; tests pass their own.
        jitter: a random number between 0 and 1; tests pass their own.

    Raises:
        RuntimeError: no event loop is running.
    """

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        retries: int = DEFAULT_RETRIES,
        metadata: Sequence[tuple[str, str | bytes]] = (),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Open the channel; it connects with the first call."""
        super().__init__(timeout=timeout, retries=retries, metadata=metadata)
        asyncio.get_running_loop()
        self._sleep = sleep
        self._jitter = jitter
        self._channel = (
            grpc.aio.insecure_channel(target, options=_CHANNEL_OPTIONS)
            if credentials is None
            else grpc.aio.secure_channel(target, credentials, options=_CHANNEL_OPTIONS)
        )
        self._send = {method.path: _caller(self._channel, method) for method in (*METHODS, *RECORD_METHODS)}
        self._streams: set[Any] = set()

    async def _run(self, call: Call[Answer]) -> Answer:
        send, deadline = self._send[call.method.path], time.monotonic() + call.timeout
        retries_done = 0
        while True:
            try:
                reply = send(call.request, timeout=_until(deadline), metadata=self._metadata)
                reply = await (self._last(reply, call) if call.method.streams else reply)
            except grpc.RpcError as error:
                failure = failure_from(error, request_id=call.request_id)
                wait = wait_before_retry(
                    failure,
                    retries_done=retries_done,
                    retries=self._retries,
                    remaining=_until(deadline),
                    jitter=self._jitter(),
                )
                if wait is None:
                    raise failure from error
                await self._sleep(wait)
                retries_done += 1
            else:
                return call.answer(reply)

    async def _last(self, messages: Any, call: Call[Any]) -> object:  # noqa: ANN401 - a call of grpc.aio
        """The reply at the end of a stream. The call is given up if whoever hears of its progress raises."""
        self._streams.add(messages)
        try:
            headers = [header async for message in messages if (header := call.header(message)) is not None]
        finally:
            messages.cancel()
            self._streams.discard(messages)
        if not headers:
            raise call.no_header()
        return headers[0]

    async def close(self) -> None:
        """Close the connection; calls under way end with Cancelled."""
        for messages in tuple(self._streams):  # grpc.aio finds those of one reply by itself
            messages.cancel()
        await self._channel.close(grace=None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _caller(channel: Any, method: Method[Any]) -> Any:  # noqa: ANN401 - a channel of either colour, and its callable
    make = channel.unary_stream if method.streams else channel.unary_unary
    return make(method.path, _serialize, method.reply.FromString)


def _last(messages: Any, call: Call[Any]) -> object:  # noqa: ANN401 - a call of grpc
    """The reply at the end of a stream. The call is given up if whoever hears of its progress raises."""
    try:
        headers = [header for message in messages if (header := call.header(message)) is not None]
    finally:
        messages.cancel()
    if not headers:
        raise call.no_header()
    return headers[0]


def _serialize(request: Any) -> bytes:  # noqa: ANN401 - any of the requests
    data: bytes = request.SerializeToString()
    return data


def _until(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.0)


def _new_request_id() -> str:
    return uuid.uuid4().hex
