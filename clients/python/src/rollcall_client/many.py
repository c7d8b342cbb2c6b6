"""Explanations of many inputs in one call: what goes in, and what comes out."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc

from rollcall_client import _answers
from rollcall_client._failures import failure_of
from rollcall_client._requests import explain_request, text_input
from rollcall_client.errors import InvalidAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from rollcall_client._v1 import explanation_pb2, explanation_service_pb2
    from rollcall_client.errors import RollcallError
    from rollcall_client.explanation import Explanation
    from rollcall_client.options import ExplainOptions

_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One of many: a text or a pair of texts, with an id of the caller's (made up if empty).

    `word` and `character` name a word as in `Client.explain`.
    """

    text: str = field(repr=False)
    text_pair: str | None = field(default=None, repr=False)
    request_id: str = ""
    word: int | None = None
    character: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one of many: an explanation, or the error that a call of its own would have raised.

    `index` is the question's place among those that were asked, from 0.
    """

    index: int
    request_id: str
    explanation: Explanation | None = None
    error: RollcallError | None = None


@dataclass(slots=True)
class Asking:
    """Questions as requests. What their source raises ends them; it is kept, to be raised where results are read."""

    options: ExplainOptions
    error: BaseException | None = None

    def requests(self, questions: Iterable[str | Question]) -> Iterator[explanation_pb2.ExplainRequest]:
        """Each question's request."""
        try:
            for question in questions:
                yield self._request(question)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to whoever made the questions
            self.error = error

    async def requests_async(
        self, questions: Iterable[str | Question] | AsyncIterable[str | Question]
    ) -> AsyncIterator[explanation_pb2.ExplainRequest]:
        """The same for either kind of source."""
        if not isinstance(questions, AsyncIterable):
            for request in self.requests(questions):
                yield request
            return
        try:
            async for question in questions:
                yield self._request(question)
        except Exception as error:  # noqa: BLE001 - as above
            self.error = error

    def finish(self) -> None:
        """Raise what the source of the questions raised."""
        if self.error is not None:
            raise self.error

    def _request(self, question: str | Question) -> explanation_pb2.ExplainRequest:
        asked = Question(text=question) if isinstance(question, str) else question
        content = text_input(asked.text, asked.text_pair, asked.word, asked.character)
        return explain_request(content, request_id=asked.request_id or uuid.uuid4().hex, **self.options)


def result(message: explanation_service_pb2.ExplainManyResponse) -> Result:
    """What a message of the stream says."""
    index, request_id = message.index, message.request_id
    if message.WhichOneof("result") == "failure":
        failure = message.failure
        code = _CODES.get(failure.code, grpc.StatusCode.UNKNOWN)
        error = failure_of(code, failure.message, failure.details, request_id=request_id)
        return Result(index=index, request_id=request_id, error=error)
    try:
        return Result(index=index, request_id=request_id, explanation=_answers.explanation(message.explanation))
    except ValueError as contradiction:
        text = f"the service's answer contradicts itself: {contradiction}"
        invalid = InvalidAnswer(text, code="OK", request_id=request_id)
        invalid.__cause__ = contradiction
        return Result(index=index, request_id=request_id, error=invalid)
