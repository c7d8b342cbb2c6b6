"""ExplainMany over a real port: results as they finish, bad requests fail alone, few at a time, gone with the call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc import status_pb2

from rollcall.domain import errors
from rollcall.domain.inputs import TextInput
from rollcall.edge.bounded import IN_FLIGHT, as_finished
from rollcall.v1 import common_pb2, explanation_pb2
from tests.unit.edge import samples
from tests.unit.edge.fakes import Door, FakeHouse, failure_of, open_door
from tests.unit.edge.test_interceptors import captured_log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rollcall.domain.explanation import ExplainRequest, Explanation

PATIENCE = 20.0
LABELS = {
    "grpc_type": "bidi_stream",
    "grpc_service": "rollcall.v1.ExplanationService",
    "grpc_method": "ExplainMany",
}


def request(text: str, request_id: str = "") -> explanation_pb2.ExplainRequest:
    """Ask about a text."""
    return explanation_pb2.ExplainRequest(text=common_pb2.TextInput(text=text), request_id=request_id)


class GatedHouse(FakeHouse):
    """Answers each text when it is let through, and counts how many it works on."""

    def __init__(self) -> None:
        super().__init__()
        self.gates: dict[str, asyncio.Event] = {}
        self.working = self.most = self.left = 0
        self.busy = 0
        """How often to say first that there is too much to do."""

    def gate(self, text: str) -> asyncio.Event:
        """Find the gate of a text."""
        return self.gates.setdefault(text, asyncio.Event())

    async def explain(self, request: ExplainRequest, tell: Any = None) -> Explanation:  # noqa: ANN401
        """Wait at the text's gate."""
        assert isinstance(request.input, TextInput)
        if self.busy:
            self.busy -= 1
            if self.busy % 2:
                raise errors.QuotaExceeded("reviews", "at most 1 request at a time", 0.01)
            error = errors.Overloaded("full")
            error.retry_after = 0.01
            raise error
        self.working += 1
        self.most = max(self.most, self.working)
        try:
            await self.gate(request.input.text).wait()
            return await super().explain(request, tell)
        except asyncio.CancelledError:
            self.left += 1
            raise
        finally:
            self.working -= 1


async def eventually(check: Any) -> None:  # noqa: ANN401 - a condition
    """Wait until a condition holds."""
    async with asyncio.timeout(PATIENCE):
        while not check():  # noqa: ASYNC110 - nobody announces it
            await asyncio.sleep(0.01)


def begun(door: Door, *requests: explanation_pb2.ExplainRequest) -> Any:  # noqa: ANN401 - an aio call
    """Send these requests and no more."""
    return door.stub.ExplainMany(iter(requests))


async def read(call: Any) -> Any:  # noqa: ANN401 - an aio call and its message
    """Take the next result."""
    return await asyncio.wait_for(call.read(), PATIENCE)


async def test_results_come_as_they_finish() -> None:
    """Who is done first comes first, with its place and its request's id; a missing id is made up."""
    house = GatedHouse()
    async with open_door(house) as door:
        call = begun(door, request("slow", "a"), request("fast", "b"), request("faster"))
        house.gate("faster").set()
        first = await read(call)
        house.gate("fast").set()
        second = await read(call)
        house.gate("slow").set()
        third = await read(call)
        assert not await read(call)
    assert [message.index for message in (first, second, third)] == [2, 1, 0]
    assert [message.request_id for message in (second, third)] == ["b", "a"]
    assert len(first.request_id) == 32
    assert first.explanation.request_id == first.request_id
    assert all(message.explanation.verdict.flag for message in (first, second, third))


async def test_a_bad_request_fails_alone() -> None:
    """What is wrong with one request is its result, as a call of its own would end; the others are answered."""
    async with open_door(FakeHouse()) as door:
        call = begun(door, request("a film", "a"), request(" ", "b"), request("a film", "c\n"), request("a film", "d"))
        found = {message.index: message async for message in call}
        plain = await failure_of(door.stub.Explain(request(" ", "b")))
    assert [found[i].WhichOneof("result") for i in range(4)] == ["explanation", "failure", "failure", "explanation"]
    failure = found[1].failure
    assert (failure.code, failure.message) == (grpc.StatusCode.INVALID_ARGUMENT.value[0], plain.message)
    assert status_pb2.Status.FromString(failure.details) == plain.status
    assert "request_id" in found[2].failure.message


async def test_a_crash_fails_alone_and_says_nothing() -> None:
    """Our fault in one request is INTERNAL with an error id, and no inner text."""
    async with open_door(FakeHouse(error=ArithmeticError("a canaryword inside"))) as door:
        (message,) = [message async for message in begun(door, request("a film"))]
    assert message.failure.code == grpc.StatusCode.INTERNAL.value[0]
    assert "canaryword" not in str(message)


async def test_bytes_that_are_no_request_fail_alone() -> None:
    """A message that cannot be decoded is refused by itself."""
    async with open_door(FakeHouse()) as door:
        call: Any = door.channel.stream_stream(
            "/rollcall.v1.ExplanationService/ExplainMany", request_serializer=bytes, response_deserializer=bytes
        )
        messages = [message async for message in call(iter([b"\xff\xff", request("a film").SerializeToString()]))]
        assert len(messages) == 2
        assert door.handled("ExplainMany", "OK") == 1


async def test_few_are_worked_on_at_a_time() -> None:
    """However many are sent, no more than a few are read before one is done."""
    house = GatedHouse()
    texts = [f"text {i}" for i in range(50)]
    async with open_door(house) as door:
        call = begun(door, *(request(text) for text in texts))
        await eventually(lambda: house.working == IN_FLIGHT)
        await asyncio.sleep(0.2)
        assert house.working == IN_FLIGHT
        assert door.sample("grpc_server_msg_received_total", **LABELS) <= IN_FLIGHT + 1
        for text in texts:
            house.gate(text).set()
        assert len([message async for message in call]) == len(texts)
        assert house.most == IN_FLIGHT


async def test_a_busy_server_has_them_wait() -> None:
    """Overload and quotas hold a backfill back and lose none of it."""
    house = GatedHouse()
    house.busy = 5
    house.gate("a film").set()
    async with open_door(house) as door:
        found = [message async for message in begun(door, *(request("a film") for _ in range(4)))]
        assert [message.WhichOneof("result") for message in found] == ["explanation"] * 4
        assert door.sample("rollcall_admission_rejected_total", model=samples.MODEL, reason="queue_full") == 0


async def test_draining_is_told() -> None:
    """A server that stops does not keep a backfill waiting: what it does not take fails, and says so."""
    async with open_door(FakeHouse(error=errors.Draining("the server is stopping"))) as door:
        (message,) = [message async for message in begun(door, request("a film"))]
    assert message.failure.code == grpc.StatusCode.UNAVAILABLE.value[0]


async def test_every_request_is_counted_and_logged() -> None:
    """Requests count each with its own code, the call once; a line for each, without the input."""
    with captured_log() as lines:
        async with open_door(FakeHouse()) as door:
            assert len([m async for m in begun(door, request("a canaryword", "a"), request("", "b"))]) == 2
            for name in ("started_total", "msg_received_total", "msg_sent_total"):
                assert door.sample(f"grpc_server_{name}", **LABELS) == (1 if name == "started_total" else 2)
            assert door.handled("ExplainMany", "OK") == 1
            for code in ("OK", "INVALID_ARGUMENT"):
                labels = {"method": "ExplainMany", "model": samples.MODEL, "code": code}
                assert door.sample("rollcall_requests_total", **labels) == 1
            assert door.sample("rollcall_requests_in_flight", method="ExplainMany") == 0
    by_id = {line["request_id"]: line for line in lines if line["event"] == "request"}
    assert (by_id["a"]["code"], by_id["b"]["code"]) == ("OK", "INVALID_ARGUMENT")
    assert {"flag", "rows"} <= set(by_id["a"])
    assert not any("canaryword" in str(each) for each in lines)


async def test_what_reads_results_slowly_is_not_read_ahead_of() -> None:
    """While a result waits to be taken nothing further is begun."""
    begun_items: list[int] = []

    async def items() -> AsyncIterator[int]:
        for i in range(100):
            yield i

    async def work(index: int, item: int) -> int:
        begun_items.append(index)
        await asyncio.sleep(0)
        return item

    results = as_finished(items(), work, most=3)
    assert await anext(results) in range(3)
    await asyncio.sleep(0.05)
    assert len(begun_items) <= 3
    await results.aclose()


async def test_what_the_sender_raises_ends_it_all() -> None:
    """Nothing goes on behind a source that failed."""
    left = asyncio.Event()

    async def items() -> AsyncIterator[int]:
        yield 0
        message = "the source failed"
        raise ConnectionError(message)

    async def work(index: int, item: int) -> int:  # noqa: ARG001 - the contract
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        return item

    with pytest.raises(ConnectionError):
        await anext(as_finished(items(), work, most=3))
    assert left.is_set()
