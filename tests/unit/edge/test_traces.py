"""A call is a span of its caller's trace, whichever way it ends, and tells what its log line tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from rollcall.domain import errors
from rollcall.v1 import common_pb2, explanation_pb2, explanation_service_pb2
from tests.spans import NOT_SAMPLED, PARENT, SAMPLED, TRACE, kept
from tests.unit.edge import samples
from tests.unit.edge.fakes import FakeHouse, failure_of, open_door
from tests.unit.edge.test_interceptors import CANARY, captured_log

REQUEST = explanation_pb2.ExplainRequest(text=common_pb2.TextInput(text=f"a {CANARY} film"), request_id="mine")
EXPLAIN = "rollcall.v1.ExplanationService/Explain"


async def test_a_call_goes_on_its_callers_trace() -> None:
    """The span has the caller's as its parent, and what the log line has; both name the trace."""
    traced = kept()
    with captured_log() as lines:
        async with open_door(FakeHouse(), spans=traced.spans) as door:
            await door.stub.Explain(REQUEST, metadata=(SAMPLED,))
    (span,) = traced.ended
    assert (span.name, span.kind) == (EXPLAIN, SpanKind.SERVER)
    assert f"{span.context.trace_id:032x}" == TRACE
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == PARENT
    (line,) = (line for line in lines if line["event"] == "request")
    told = ("explanation_id", "tokens", "units", "rows", "map", "flag", "reason", "model", "request_id")
    assert dict(span.attributes or {}) == {
        "rpc.system": "grpc",
        "rpc.service": "rollcall.v1.ExplanationService",
        "rpc.method": "Explain",
        "rpc.grpc.status_code": 0,
        **{f"rollcall.{name}": line[name] for name in told},
    }
    assert line["trace_id"] == TRACE
    assert CANARY not in span.to_json()


async def test_who_does_not_trace_is_not_traced() -> None:
    """A caller's decision against it is followed, and where callers do not say, chance decides."""
    for share, metadata, spans in ((1.0, (NOT_SAMPLED,), 0), (0.0, (), 0), (0.0, (SAMPLED,), 1), (1.0, (), 1)):
        traced = kept(share)
        with captured_log() as lines:
            async with open_door(FakeHouse(), spans=traced.spans) as door:
                await door.stub.Explain(REQUEST, metadata=metadata)
        assert len(traced.ended) == spans
        assert ["trace_id" in line for line in lines if line["event"] == "request"] == [bool(spans)]


async def test_a_traceparent_that_is_none_begins_a_trace() -> None:
    """Rubbish in the metadata is nobody's trace, and no error."""
    traced = kept()
    async with open_door(FakeHouse(), spans=traced.spans) as door:
        for rubbish in ("", "00-zz", f"00-{'0' * 32}-{PARENT}-01", "ff" * 4000):
            await door.stub.Explain(REQUEST, metadata=(("traceparent", rubbish),))
    assert [span.parent for span in traced.ended] == [None] * 4
    assert len({span.context.trace_id for span in traced.ended}) == 4


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (errors.InvalidInput.of("target.label", "unknown label"), 3, StatusCode.UNSET),
        (errors.Overloaded("full"), 14, StatusCode.ERROR),
        (ValueError(f"cannot read {CANARY}"), 13, StatusCode.ERROR),
    ],
)
async def test_a_failure_has_its_code_and_no_text(error: Exception, code: int, status: StatusCode) -> None:
    """Only our faults are errors of the span; messages, which may quote an input, are in none."""
    traced = kept()
    async with open_door(FakeHouse(error=error), spans=traced.spans) as door:
        await failure_of(door.stub.Explain(REQUEST))
    (span,) = traced.ended
    assert span.attributes is not None
    assert (span.attributes["rpc.grpc.status_code"], span.status.status_code) == (code, status)
    assert span.events == ()
    assert CANARY not in span.to_json()


async def test_a_call_that_is_given_up_ends_its_span() -> None:
    """Cancelled calls do not leave spans open."""
    traced, house = kept(), FakeHouse(hangs=True)
    async with open_door(house, spans=traced.spans) as door:
        call = door.stub.Explain(REQUEST)
        await asyncio.wait_for(house.entered.wait(), 20)
        call.cancel()
        await asyncio.wait_for(house.cancelled.wait(), 20)
    (span,) = traced.ended
    assert span.attributes is not None
    assert span.attributes["rpc.grpc.status_code"] == 1


async def test_each_request_of_many_is_a_span_below_the_call() -> None:
    """A call with two requests has two spans below it, each with its own code and id."""
    traced = kept()
    async with open_door(FakeHouse(), spans=traced.spans) as door:
        bad = explanation_pb2.ExplainRequest(text=common_pb2.TextInput(text=""), request_id="bad")
        await _all(door.stub.ExplainMany(iter([REQUEST, bad]), metadata=(SAMPLED,)))
    (call,) = (span for span in traced.ended if span.kind is SpanKind.SERVER)
    requests = {span.attributes["rollcall.request_id"]: span for span in traced.below(call) if span.attributes}
    codes = {name: span.attributes["rpc.grpc.status_code"] for name, span in requests.items() if span.attributes}
    assert codes == {"mine": 0, "bad": 3}


async def test_a_stream_is_one_span() -> None:
    """ExplainStream ends its span with the answer's numbers."""
    traced = kept()
    async with open_door(FakeHouse(), spans=traced.spans) as door:
        await _all(door.stub.ExplainStream(REQUEST))
    (span,) = traced.ended
    assert span.attributes is not None
    assert span.attributes["rollcall.flag"] == samples.explanation("").attributions[0].verdict.flag.value


async def test_latencies_have_exemplars() -> None:
    """The bucket that a traced call fell into names its trace, in the format that has room for it."""
    traced = kept()
    async with open_door(FakeHouse(), spans=traced.spans) as door:
        await door.stub.ListModels(explanation_service_pb2.ListModelsRequest(), metadata=(SAMPLED,))
        await door.stub.Explain(REQUEST, metadata=(SAMPLED,))
        families = {family.name: family for family in door.registry.collect()}
    buckets = families["rollcall_request_duration_seconds"].samples
    assert [sample.exemplar.labels for sample in buckets if sample.exemplar] == [{"trace_id": TRACE}]


async def _all(messages: AsyncIterable[object]) -> None:
    async for _ in messages:
        pass
