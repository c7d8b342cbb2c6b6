"""The calls of the service, as values: where each goes, what comes back, and how that is read.

The generated grpc stubs are not used: they refuse to load on a grpcio older than the one that made them, and all that
they add is these rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rollcall_client import _answers
from rollcall_client._streams import Streamed
from rollcall_client._v1 import explanation_pb2, explanation_service_pb2
from rollcall_client.errors import InvalidAnswer
from rollcall_client.explanation import Explanation

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from rollcall_client.types import Model, PredictResult, Progress

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Method(Generic[Answer]):
    """One method of the service: `read` turns its reply into a value, or raises ValueError.

    `streams`: the reply is what a `Streamed` gathered from many messages. `each`: it is a stream of answers, and `read`
    reads one.
    """

    path: str
    reply: type[Message]
    read: Callable[[Any], Answer]
    streams: bool = False
    each: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[Answer]):
    """One call to be made. `timeout` is in seconds and covers every retry."""

    method: Method[Answer]
    request: Message
    request_id: str
    timeout: float
    progress: Callable[[Progress], None] | None = None
    image: bytes = field(default=b"", repr=False)
    """A file that was sent, to be kept beside its explanation."""

    def take(self, gathered: Streamed, message: explanation_service_pb2.ExplainStreamResponse) -> None:
        """Tell of progress, and gather the rest.

        Raises:
            InvalidAnswer: the message does not fit those before it.
        """
        if message.WhichOneof("content") == "progress":
            if self.progress is not None:
                self.progress(_answers.progress(message.progress))
            return
        try:
            gathered.take(message)
        except ValueError as error:
            raise self.contradiction(error) from error

    def answer(self, reply: object) -> Answer:
        """The reply as a value.

        Raises:
            InvalidAnswer: the reply contradicts itself.
        """
        try:
            answer = self.method.read(reply)
        except ValueError as error:
            raise self.contradiction(error) from error
        return replace(answer, image=self.image) if self.image and isinstance(answer, Explanation) else answer

    def contradiction(self, error: ValueError) -> InvalidAnswer:
        """What is wrong with a reply, or with a message of a stream."""
        message = f"the service's answer contradicts itself: {error}"
        return InvalidAnswer(message, code="OK", request_id=self.request_id)


_SERVICE = "/rollcall.v1.ExplanationService"
EXPLAIN: Method[Explanation] = Method(
    path=f"{_SERVICE}/Explain", reply=explanation_pb2.ExplainResponse, read=_answers.explanation
)
EXPLAIN_STREAM: Method[Explanation] = Method(
    path=f"{_SERVICE}/ExplainStream",
    reply=explanation_service_pb2.ExplainStreamResponse,
    read=Streamed.explanation,
    streams=True,
)
PREDICT: Method[PredictResult] = Method(
    path=f"{_SERVICE}/Predict", reply=explanation_service_pb2.PredictResponse, read=_answers.prediction
)
LIST_MODELS: Method[tuple[Model, ...]] = Method(
    path=f"{_SERVICE}/ListModels", reply=explanation_service_pb2.ListModelsResponse, read=_answers.models
)
GET_MODEL: Method[Model] = Method(
    path=f"{_SERVICE}/GetModel", reply=explanation_service_pb2.GetModelResponse, read=_answers.model
)
EXPLAIN_MANY = f"{_SERVICE}/ExplainMany"
METHODS: tuple[Method[Any], ...] = (EXPLAIN, EXPLAIN_STREAM, PREDICT, LIST_MODELS, GET_MODEL)
