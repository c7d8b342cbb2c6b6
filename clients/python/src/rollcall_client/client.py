"""The two clients. What they say is written once, in `Surface`; only the loop that calls and sleeps has two colours."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, Self, TypeAlias, TypeVar, Unpack

import grpc
import grpc.aio

from rollcall_client._balancing import Balancing, balanced
from rollcall_client._calls import (
    EXPLAIN,
    EXPLAIN_MANY,
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
from rollcall_client._requests import (
    explain_request,
    image_input,
    pixels_input,
    predict_request,
    text_input,
    tokens_input,
)
from rollcall_client._retry import wait_before_retry
from rollcall_client._security import authorization, channel_credentials
from rollcall_client._streams import Streamed
from rollcall_client._v1 import common_pb2, explanation_service_pb2
from rollcall_client.explanation import Explanation
from rollcall_client.many import Asking, result
from rollcall_client.types import Model, PredictResult

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Buffer

    from rollcall_client._requests import Content
    from rollcall_client.many import Question, Result
    from rollcall_client.options import ExplainOptions, PredictOptions
    from rollcall_client.types import Progress

    Interceptor: TypeAlias = (
        grpc.UnaryUnaryClientInterceptor[Any, Any]
        | grpc.UnaryStreamClientInterceptor[Any, Any]
        | grpc.StreamStreamClientInterceptor[Any, Any]
    )

DEFAULT_TIMEOUT_SECONDS = 30.0
DEFAULT_RETRIES = 3
# The service keeps its replies below gRPC's default of 4 MiB and streams what is larger; one that does not is believed.
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

    def __init__(
        self,
        *,
        timeout: float,
        retries: int,
        metadata: Sequence[tuple[str, str | bytes]],
        token: str | Callable[[], str] | None,
    ) -> None:
        """Keep what applies to every call."""
        self._token = token
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
        word: int | None = None,
        character: int | None = None,
        request_id: str = "",
        timeout: float | None = None,
        **options: Unpack[ExplainOptions],
    ) -> _Explained:
        """The prediction for a text, its maps, and a flag with evidence for each map.

        A model that labels words is asked about one: `word` is its number, from 0, `character` one of its characters.
        """
        return self._explain(text_input(text, text_pair, word, character), request_id, timeout, options)

    def explain_stream(
        self,
        text: str,
        *,
        progress: Callable[[Progress], None] | None = None,
        text_pair: str | None = None,
        word: int | None = None,
        character: int | None = None,
        request_id: str = "",
        timeout: float | None = None,
        **options: Unpack[ExplainOptions],
    ) -> _Explained:
        """The same as `explain`, for much attention or long work: nothing in it has to fit into one reply of 4 MiB.

        Attention comes in chunks, which are checked and put together. `progress` is called while the service works,
        e.g. with the level THOROUGH, between messages of the stream, so that it should return soon. A call that is
        tried again begins anew, and so does what it is told. What it raises ends the call and is raised here.
        """
        call = self._explaining(
            EXPLAIN_STREAM, text_input(text, text_pair, word, character), request_id, timeout, options
        )
        explained: _Explained = self._run(replace(call, progress=progress))
        return explained

    def explain_tokens(
        self,
        input_ids: Sequence[int],
        *,
        word: int | None = None,
        request_id: str = "",
        timeout: float | None = None,
        **options: Unpack[ExplainOptions],
    ) -> _Explained:
        """The same for vocabulary ids exactly as the model's tokenizer makes them, special tokens included."""
        return self._explain(tokens_input(input_ids, word), request_id, timeout, options)

    def explain_image(
        self,
        image: bytes | PathLike[str],
        *,
        request_id: str = "",
        timeout: float | None = None,
        **options: Unpack[ExplainOptions],
    ) -> _Explained:
        """The same for a picture: the bytes of a PNG or JPEG file, or its path. The service prepares it for the model.

        Raises OSError where a file cannot be read.
        """
        return self._explain(image_input(image), request_id, timeout, options)

    def explain_pixels(
        self,
        pixels: Buffer | NDArray[np.float32],
        *,
        request_id: str = "",
        timeout: float | None = None,
        **options: Unpack[ExplainOptions],
    ) -> _Explained:
        """The same for a picture exactly as the model reads it: an array of float32 [3, height, width], normalised."""
        return self._explain(pixels_input(pixels), request_id, timeout, options)

    def predict(
        self,
        text: str,
        *,
        text_pair: str | None = None,
        word: int | None = None,
        character: int | None = None,
        request_id: str = "",
        timeout: float | None = None,
        **options: Unpack[PredictOptions],
    ) -> _Predicted:
        """The prediction for a text alone: same input, same weights."""
        return self._predict(text_input(text, text_pair, word, character), request_id, timeout, options)

    def predict_tokens(
        self,
        input_ids: Sequence[int],
        *,
        word: int | None = None,
        request_id: str = "",
        timeout: float | None = None,
        **options: Unpack[PredictOptions],
    ) -> _Predicted:
        """The prediction for vocabulary ids alone."""
        return self._predict(tokens_input(input_ids, word), request_id, timeout, options)

    def predict_image(
        self,
        image: bytes | PathLike[str],
        *,
        request_id: str = "",
        timeout: float | None = None,
        **options: Unpack[PredictOptions],
    ) -> _Predicted:
        """The prediction for a picture alone: the bytes of a PNG or JPEG file, or its path."""
        return self._predict(image_input(image), request_id, timeout, options)

    def predict_pixels(
        self,
        pixels: Buffer | NDArray[np.float32],
        *,
        request_id: str = "",
        timeout: float | None = None,
        **options: Unpack[PredictOptions],
    ) -> _Predicted:
        """The prediction for a picture exactly as the model reads it: an array of float32 [3, height, width]."""
        return self._predict(pixels_input(pixels), request_id, timeout, options)

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
        content: Content,
        request_id: str,
        timeout: float | None,
        options: ExplainOptions,
    ) -> _Explained:
        explained: _Explained = self._run(self._explaining(EXPLAIN, content, request_id, timeout, options))
        return explained

    def _explaining(
        self,
        method: Method[Explanation],
        content: Content,
        request_id: str,
        timeout: float | None,
        options: ExplainOptions,
    ) -> Call[Explanation]:
        request_id = request_id or _new_request_id()
        request = explain_request(content, request_id=request_id, **options)
        image = content.data if isinstance(content, common_pb2.ImageInput) else b""
        return Call(method=method, request=request, request_id=request_id, timeout=self._seconds(timeout), image=image)

    def _predict(
        self,
        content: Content,
        request_id: str,
        timeout: float | None,
        options: PredictOptions,
    ) -> _Predicted:
        request_id = request_id or _new_request_id()
        request = predict_request(content, request_id=request_id, **options)
        call = Call(method=PREDICT, request=request, request_id=request_id, timeout=self._seconds(timeout))
        predicted: _Predicted = self._run(call)
        return predicted

    def _say_who(self) -> _Metadata:
        """What goes with a call: the metadata, and the token as it is now."""
        return (*self._metadata, *authorization(self._token))

    def _seconds(self, timeout: float | None) -> float:
        return self._timeout if timeout is None else timeout


class Client(Surface[Explanation, PredictResult, tuple[Model, ...], Model]):
    """A connection to a Rollcall service, safe to share between threads. Close it, or use it in a `with` block.

    Args:
        target: "host:port" of the service.
        ca: file of the certificates (PEM) that the service's must lead to; a plaintext connection if None.
        cert: file of this client's certificate (PEM), where the service asks for one, with its `key`. Needs `ca`.
        key: file of its private key (PEM).
        token: who this is, sent with every call as a bearer token; a function is asked for it before each call.
        credentials: another way to connect securely, in place of `ca`.
        timeout: seconds for a call and all its retries.
        retries: how often a call that found the service unavailable is made again.
        metadata: further gRPC metadata sent with every call.
        balancing: "round_robin" spreads calls over all addresses that the target has, e.g. those of a headless service
            of Kubernetes ("dns:///NAME:8001"); "pick_first" stays with one of them.
        interceptors: gRPC client interceptors, the outermost first; each try of a call passes through them.
        channel_options: further options of the gRPC channel, by gRPC's own names.
        sleep: waits between retries; tests pass their own.
        jitter: a random number between 0 and 1; tests pass their own.
    """

    def __init__(
        self,
        target: str,
        *,
        ca: str | PathLike[str] | None = None,
        cert: str | PathLike[str] | None = None,
        key: str | PathLike[str] | None = None,
        token: str | Callable[[], str] | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        retries: int = DEFAULT_RETRIES,
        metadata: Sequence[tuple[str, str | bytes]] = (),
        balancing: Balancing = "pick_first",
        interceptors: Sequence[Interceptor] = (),
        channel_options: Sequence[tuple[str, str | int]] = (),
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Open the channel; it connects with the first call."""
        super().__init__(timeout=timeout, retries=retries, metadata=metadata, token=token)
        credentials = channel_credentials(credentials, ca, cert, key)
        self._sleep = sleep
        self._jitter = jitter
        options = (*_CHANNEL_OPTIONS, *balanced(balancing), *channel_options)
        channel = (
            grpc.insecure_channel(target, options=options)
            if credentials is None
            else grpc.secure_channel(target, credentials, options=options)
        )
        self._channel = grpc.intercept_channel(channel, *interceptors)
        self._send = {method.path: _caller(self._channel, method) for method in (*METHODS, *RECORD_METHODS)}
        self._many = _many_caller(self._channel)

    def _run(self, call: Call[Answer]) -> Answer:
        send, deadline = self._send[call.method.path], time.monotonic() + call.timeout
        retries_done = 0
        while True:
            try:
                reply = send(call.request, timeout=_until(deadline), metadata=self._say_who())
                if call.method.streams:
                    reply = _gather(reply, call)
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

    def explain_many(
        self, questions: Iterable[str | Question], *, timeout: float | None = None, **options: Unpack[ExplainOptions]
    ) -> Iterator[Result]:
        """Explanations of many texts, for backfills: results as they finish, each with its place and its question's id.

        Questions are read as the service takes them, a few ahead of the results. One that is bad fails alone, as
        `Result.error`; a busy service has them wait. The call begins with the first result that is asked for, is never
        made again by itself, and ends when the iterator is closed. `timeout` (seconds) is of the whole; none if None.
        `questions` are read by a thread of their own. What they raise is raised behind the results of those before.
        """
        asking = Asking(options)
        call = self._many(asking.requests(questions), timeout=timeout, metadata=self._say_who())
        try:
            for message in call:
                yield result(message)
        except grpc.RpcError as error:
            raise failure_from(error, request_id="") from error
        finally:
            call.cancel()
        asking.finish()

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
        ca: file of the certificates (PEM) that the service's must lead to; a plaintext connection if None.
        cert: file of this client's certificate (PEM), where the service asks for one, with its `key`. Needs `ca`.
        key: file of its private key (PEM).
        token: who this is, sent with every call as a bearer token; a function is asked for it before each call.
        credentials: another way to connect securely, in place of `ca`.
        timeout: seconds for a call and all its retries.
        retries: how often a call that found the service unavailable is made again.
        metadata: further gRPC metadata sent with every call.
        balancing: "round_robin" spreads calls over all addresses that the target has, e.g. those of a headless service
            of Kubernetes ("dns:///NAME:8001"); "pick_first" stays with one of them.
        interceptors: the same for grpc.aio.
        channel_options: further options of the gRPC channel, by gRPC's own names.
        sleep: waits between retries; tests pass their own.
        jitter: a random number between 0 and 1; tests pass their own.

    Raises:
        RuntimeError: no event loop is running.
    """

    def __init__(
        self,
        target: str,
        *,
        ca: str | PathLike[str] | None = None,
        cert: str | PathLike[str] | None = None,
        key: str | PathLike[str] | None = None,
        token: str | Callable[[], str] | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        retries: int = DEFAULT_RETRIES,
        metadata: Sequence[tuple[str, str | bytes]] = (),
        balancing: Balancing = "pick_first",
        interceptors: Sequence[Any] = (),
        channel_options: Sequence[tuple[str, str | int]] = (),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Open the channel; it connects with the first call."""
        super().__init__(timeout=timeout, retries=retries, metadata=metadata, token=token)
        credentials = channel_credentials(credentials, ca, cert, key)
        asyncio.get_running_loop()
        self._sleep = sleep
        self._jitter = jitter
        options = (*_CHANNEL_OPTIONS, *balanced(balancing), *channel_options)
        self._channel = (
            grpc.aio.insecure_channel(target, options=options, interceptors=interceptors)
            if credentials is None
            else grpc.aio.secure_channel(target, credentials, options=options, interceptors=interceptors)
        )
        self._send = {method.path: _caller(self._channel, method) for method in (*METHODS, *RECORD_METHODS)}
        self._many = _many_caller(self._channel)
        self._streams: set[Any] = set()

    async def _run(self, call: Call[Answer]) -> Answer:
        send, deadline = self._send[call.method.path], time.monotonic() + call.timeout
        retries_done = 0
        while True:
            try:
                reply = send(call.request, timeout=_until(deadline), metadata=self._say_who())
                reply = await (self._gather(reply, call) if call.method.streams else reply)
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

    async def _gather(self, messages: Any, call: Call[Any]) -> object:  # noqa: ANN401 - a call of grpc.aio
        """Everything that a stream brings. The call is given up where that is damaged, or a listener raises."""
        self._streams.add(messages)
        gathered = Streamed()
        try:
            async for message in messages:
                call.take(gathered, message)
        finally:
            messages.cancel()
            self._streams.discard(messages)
        return gathered

    async def explain_many(
        self,
        questions: Iterable[str | Question] | AsyncIterable[str | Question],
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the call's own deadline, which the service hears of
        **options: Unpack[ExplainOptions],
    ) -> AsyncIterator[Result]:
        """Explanations of many texts, for backfills: results as they finish, each with its place and its question's id.

        Questions are read as the service takes them, a few ahead of the results. One that is bad fails alone, as
        `Result.error`; a busy service has them wait. The call begins with the first result that is asked for, is never
        made again by itself, and ends when the iterator is closed. `timeout` (seconds) is of the whole; none if None.
        What `questions` raises is raised behind the results of those before.
        """
        asking = Asking(options)
        call = self._many(asking.requests_async(questions), timeout=timeout, metadata=self._say_who())
        self._streams.add(call)
        try:
            async for message in call:
                yield result(message)
        except grpc.RpcError as error:
            raise failure_from(error, request_id="") from error
        finally:
            call.cancel()
            self._streams.discard(call)
        asking.finish()

    async def close(self) -> None:
        """Close the connection; calls under way end with Cancelled."""
        for messages in tuple(self._streams):  # grpc.aio finds those of one reply by itself
            messages.cancel()
        await self._channel.close(grace=None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _many_caller(channel: Any) -> Any:  # noqa: ANN401 - as below
    return channel.stream_stream(EXPLAIN_MANY, _serialize, explanation_service_pb2.ExplainManyResponse.FromString)


def _caller(channel: Any, method: Method[Any]) -> Any:  # noqa: ANN401 - a channel of either colour, and its callable
    make = channel.unary_stream if method.streams or method.each else channel.unary_unary
    return make(method.path, _serialize, method.reply.FromString)


def _gather(messages: Any, call: Call[Any]) -> object:  # noqa: ANN401 - a call of grpc
    """Everything that a stream brings. The call is given up where that is damaged, or a listener raises."""
    gathered = Streamed()
    try:
        for message in messages:
            call.take(gathered, message)
    finally:
        messages.cancel()
    return gathered


def _serialize(request: Any) -> bytes:  # noqa: ANN401 - any of the requests
    data: bytes = request.SerializeToString()
    return data


def _until(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.0)


def _new_request_id() -> str:
    return uuid.uuid4().hex
