"""ExplainStream over a real port: progress, then the explanation; counted, logged and ended as Explain is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from grpc import aio

from rollcall.domain import errors
from rollcall.domain.explanation import Progress
from rollcall.v1 import common_pb2, explanation_pb2
from tests.unit.edge import samples
from tests.unit.edge.fakes import FakeHouse, failure_of, open_door
from tests.unit.edge.test_interceptors import captured_log

TEXT = common_pb2.TextInput(text="a canaryword film")
STEPS = [Progress(stage="look", rows=10 * i, planned_rows=90) for i in range(1, 4)]
REQUEST = explanation_pb2.ExplainRequest(text=TEXT, request_id="mine")
PATIENCE = 20.0


async def rest(call: Any) -> list[Any]:  # noqa: ANN401 - an aio call
    """Read a stream to its end."""
    return [message async for message in call]


async def test_progress_comes_before_the_header() -> None:
    """Any number of progress messages, in order, then exactly one explanation."""
    async with open_door(FakeHouse(progress=STEPS)) as door:
        *progress, last = await rest(door.stub.ExplainStream(REQUEST))
    assert {message.WhichOneof("content") for message in progress} <= {"progress"}
    rows = [message.progress.rows for message in progress]
    assert rows == sorted(rows)
    assert set(rows) <= {step.rows for step in STEPS}
    assert last.WhichOneof("content") == "header"
    assert last.header.request_id == "mine"
    assert last.header.verdict == last.header.attributions[0].verdict


async def test_progress_is_told_while_the_work_goes_on() -> None:
    """A caller hears of a step long before the answer is there."""
    house = FakeHouse(progress=STEPS[:1], hangs=True)
    async with open_door(house) as door:
        messages: Any = aiter(door.stub.ExplainStream(REQUEST))
        first = await asyncio.wait_for(anext(messages), PATIENCE)
        assert (first.progress.stage, first.progress.rows, first.progress.planned_rows) == ("look", 10, 90)
        house.release.set()
        assert [message.WhichOneof("content") for message in await rest(messages)] == ["header"]


async def test_a_stream_is_counted_as_one_call() -> None:
    """Started, received, handled once, every message sent, nothing in flight; logged with flag and rows, no input."""
    with captured_log() as lines:
        async with open_door(FakeHouse(progress=STEPS)) as door:
            messages = await rest(door.stub.ExplainStream(REQUEST))
            labels = {
                "grpc_type": "server_stream",
                "grpc_service": "rollcall.v1.ExplanationService",
                "grpc_method": "ExplainStream",
            }
            for name in ("started_total", "msg_received_total", "handling_seconds_count"):
                assert door.sample(f"grpc_server_{name}", **labels) == 1
            assert door.sample("grpc_server_msg_sent_total", **labels) == len(messages)
            assert door.handled("ExplainStream", "OK") == 1
            assert door.sample("rollcall_requests_in_flight", method="ExplainStream") == 0
            assert door.sample("rollcall_requests_total", method="ExplainStream", model=samples.MODEL, code="OK") == 1
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["method"], line["code"], line["request_id"]) == ("ExplainStream", "OK", "mine")
    assert {"flag", "rows", "explanation_id"} <= set(line)
    assert not any("canaryword" in str(each) for each in lines)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Overloaded("full"), "UNAVAILABLE"),
        (errors.InvalidInput.of("policy", "unknown"), "INVALID_ARGUMENT"),
        (ArithmeticError("a canaryword inside"), "INTERNAL"),
    ],
)
async def test_errors_leave_as_those_of_explain(error: Exception, code: str) -> None:
    """The same code, message, details and id, also after progress has been sent."""
    async with open_door(FakeHouse(error=error, progress=STEPS)) as door:
        streamed = await failure_of(rest(door.stub.ExplainStream(REQUEST)))
        plain = await failure_of(door.stub.Explain(REQUEST))
        assert streamed.code == plain.code == code
        assert streamed.request_id == "mine"
        assert "canaryword" not in streamed.message
        assert [each.type_url for each in streamed.status.details] == [each.type_url for each in plain.status.details]
        assert (
            door.handled("ExplainStream", {"UNAVAILABLE": "Unavailable"}.get(code, code.title().replace("_", ""))) == 1
        )


async def test_bytes_that_are_no_request_are_refused() -> None:
    """A stream that cannot begin says why, as any call does."""
    async with open_door(FakeHouse()) as door:
        call: Any = door.channel.unary_stream(
            "/rollcall.v1.ExplanationService/ExplainStream", request_serializer=bytes, response_deserializer=bytes
        )
        failure = await failure_of(rest(call(b"\xff\xff\xff")))
        assert failure.code == "INVALID_ARGUMENT"


async def test_leaving_stops_the_work() -> None:
    """A caller who cancels takes the work along, and is counted as one who left."""
    house = FakeHouse(progress=STEPS, hangs=True)
    async with open_door(house) as door:
        call = door.stub.ExplainStream(REQUEST)
        await asyncio.wait_for(house.entered.wait(), PATIENCE)
        call.cancel()
        await asyncio.wait_for(house.cancelled.wait(), PATIENCE)
        async with asyncio.timeout(PATIENCE):
            while door.handled("ExplainStream", "Canceled") == 0:  # noqa: ASYNC110 - nobody announces it
                await asyncio.sleep(0.01)
        assert door.sample("rollcall_requests_in_flight", method="ExplainStream") == 0


async def test_a_deadline_stops_the_work() -> None:
    """What nobody waits for any more is not worked out."""
    house = FakeHouse(hangs=True)
    async with open_door(house) as door:
        with pytest.raises(aio.AioRpcError) as failure:
            await rest(door.stub.ExplainStream(REQUEST, timeout=0.3))
        assert failure.value.code().name == "DEADLINE_EXCEEDED"
        await asyncio.wait_for(house.cancelled.wait(), PATIENCE)


async def test_a_slow_reader_holds_back_one_step_at_most() -> None:
    """However much happens while a caller does not read, only the newest state waits for it, and the answer comes."""
    many = [Progress(stage="thorough" + "x" * 1000, rows=i, planned_rows=50_000) for i in range(50_000)]
    async with open_door(FakeHouse(progress=many)) as door:
        call = door.stub.ExplainStream(REQUEST)
        await asyncio.wait_for(door.house.entered.wait(), PATIENCE)
        *progress, last = await asyncio.wait_for(rest(call), PATIENCE)
    assert last.WhichOneof("content") == "header"
    assert len(progress) < len(many)
