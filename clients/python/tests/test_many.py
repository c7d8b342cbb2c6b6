"""What callers see of many explanations in one call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc import error_details_pb2

import canned
from fake_service import Failure, FakeService
from rollcall_client import (
    AsyncClient,
    CheckLevel,
    Client,
    Flag,
    Internal,
    InvalidAnswer,
    InvalidArgument,
    Question,
    Result,
    Unavailable,
)
from rollcall_client._v1 import explanation_service_pb2
from test_client import rich

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

ManyResponse = explanation_service_pb2.ExplainManyResponse
Many = "Callable[..., list[Result]]"


def good(index: int = 0) -> ManyResponse:
    """An explanation at its place."""
    return ManyResponse(index=index, explanation=canned.explain_reply())


def bad(code: int, message: str = "refused", details: bytes = b"") -> ManyResponse:
    """A failure."""
    failure = explanation_service_pb2.Failure(code=code, message=message, details=details)
    return ManyResponse(index=1, failure=failure)


def sync_many(target: str, questions: Iterable[str | Question], **options: Any) -> list[Result]:  # noqa: ANN401
    """Ask with the one client."""
    with Client(target) as client:
        return list(client.explain_many(questions, **options))


def async_many(target: str, questions: Iterable[str | Question], **options: Any) -> list[Result]:  # noqa: ANN401
    """Ask with the other, from an asynchronous source."""

    async def source() -> AsyncIterator[str | Question]:
        for question in questions:
            yield question

    async def ask() -> list[Result]:
        async with AsyncClient(target) as client:
            return [result async for result in client.explain_many(source(), **options)]

    return asyncio.run(ask())


BOTH = pytest.mark.parametrize("many", [sync_many, async_many])


@BOTH
def test_results_carry_place_id_and_explanation(many: Callable[..., list[Result]]) -> None:
    """Texts and questions go in with the call's options; a text gets an id of its own."""
    with FakeService.serving(good(0), good(1)) as service:
        questions = [Question(text="a", text_pair="b", request_id="mine"), "c"]
        first, second = many(service.target, questions, level=CheckLevel.NONE, model="m")
    assert (first.index, first.request_id, second.index) == (0, "mine", 1)
    assert first.explanation is not None
    assert (first.explanation.flag, first.error) == (Flag.FAITHFUL, None)
    assert len(second.request_id) == 32
    asked = service.requests
    assert [(one.text.text, one.text.text_pair, one.check_level, one.model) for one in asked] == [
        ("a", "b", 1, "m"),
        ("c", "", 1, "m"),
    ]


@BOTH
def test_a_failure_is_the_error_of_its_status(many: Callable[..., list[Result]]) -> None:
    """One fails with code, message, details and id as a call of its own; those around it have explanations."""
    violation = error_details_pb2.BadRequest.FieldViolation(field="text.text", description="is empty")
    details = rich(error_details_pb2.BadRequest(field_violations=[violation]))
    turns = (good(), bad(3, "text.text: is empty", details), bad(13), bad(99), good())
    with FakeService.serving(*turns) as service:
        found = many(service.target, [Question(text="x", request_id=f"r-{i}") for i in range(5)])
    assert [result.error is None for result in found] == [True, False, False, False, True]
    error = found[1].error
    assert isinstance(error, InvalidArgument)
    assert (error.violations, error.request_id) == ((("text.text", "is empty"),), "r-1")
    assert isinstance(found[2].error, Internal)
    assert "UNKNOWN" in str(found[3].error)


@BOTH
def test_an_answer_that_contradicts_itself_fails_alone(many: Callable[..., list[Result]]) -> None:
    """An explanation that cannot be read is no explanation, and stops nobody else."""
    crooked = good()
    crooked.explanation.attention.tensor.data = b"x"
    with FakeService.serving(crooked, good()) as service:
        first, second = many(service.target, ["a", "b"])
    assert isinstance(first.error, InvalidAnswer)
    assert second.explanation is not None


@BOTH
def test_the_calls_own_failure_is_raised(many: Callable[..., list[Result]]) -> None:
    """Where the whole call fails nothing is made again: the results so far have been given."""
    with FakeService.serving(Failure(code=grpc.StatusCode.UNAVAILABLE)) as service, pytest.raises(Unavailable):
        many(service.target, ["a"])
    assert len(service.requests) == 1


@BOTH
def test_what_the_questions_raise_is_raised_behind_the_results(many: Callable[..., list[Result]]) -> None:
    """A source that breaks is not hidden, nor are the results of what it gave."""

    def source() -> Iterator[str]:
        yield "a"
        raise KeyError

    with FakeService.serving(good()) as service, pytest.raises(KeyError):
        many(service.target, source())
    assert len(service.requests) == 1


def test_results_can_be_left_early() -> None:
    """Whoever stops reading ends the call."""
    with FakeService.serving(good()) as service, Client(service.target) as client:
        results = client.explain_many(f"text {i}" for i in range(10**9))
        assert next(results).explanation is not None
        results.close()  # type: ignore[attr-defined]  # it is a generator
        assert client.explain_many(["a"]) is not None
