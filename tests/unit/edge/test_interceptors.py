"""Every call is named, counted and logged whichever way it ends, and no inner text leaves with an error."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from google.rpc import error_details_pb2
from grpc import aio

from rollcall.domain import errors
from rollcall.settings import GrpcSettings
from rollcall.telemetry import logs
from rollcall.v1 import common_pb2, explanation_pb2, explanation_service_pb2
from tests.unit.edge import samples
from tests.unit.edge.fakes import FakeHouse, failure_of, open_door

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

CANARY = "canaryword"
TEXT = common_pb2.TextInput(text=f"a {CANARY} film")
EXPLAIN = "/rollcall.v1.ExplanationService/Explain"


@contextmanager
def captured_log() -> Iterator[list[dict[str, Any]]]:
    """Collect the process's log lines."""
    stream, root = io.StringIO(), logging.getLogger()
    handlers, level, lines = root.handlers[:], root.level, list[dict[str, Any]]()
    root.handlers.clear()
    logs.configure(stream, level="debug", layout="json")
    try:
        yield lines
    finally:
        lines.extend(json.loads(line) for line in stream.getvalue().splitlines())
        root.handlers[:] = handlers
        root.setLevel(level)


def raw_explain(channel: aio.Channel) -> Callable[[bytes], Awaitable[object]]:
    """Make a caller that sends bytes as they are."""
    caller: Callable[[bytes], Awaitable[object]] = channel.unary_unary(
        EXPLAIN, request_serializer=bytes, response_deserializer=explanation_pb2.ExplainResponse.FromString
    )
    return caller


# --- ids -----------------------------------------------------------------------------------------------------------


async def test_the_callers_id_is_echoed() -> None:
    """A caller finds its own id in the reply and in the initial metadata."""
    async with open_door(FakeHouse()) as door:
        call = door.stub.Explain(explanation_pb2.ExplainRequest(text=TEXT, request_id="mine 1"))
        assert dict(await call.initial_metadata())["x-request-id"] == "mine 1"
        assert (await call).request_id == "mine 1"


async def test_an_id_in_the_metadata_is_used() -> None:
    """An id that a proxy has set is used where the request has none."""
    async with open_door(FakeHouse()) as door:
        request = explanation_pb2.ExplainRequest(text=TEXT)
        reply = await door.stub.Explain(request, metadata=(("x-request-id", "from-proxy"),))
        assert reply.request_id == "from-proxy"
        again = explanation_pb2.ExplainRequest(text=TEXT, request_id="mine")
        assert (await door.stub.Explain(again, metadata=(("x-request-id", "from-proxy"),))).request_id == "mine"


async def test_an_id_is_made_up() -> None:
    """A call without an id gets one, also where its message has no room for it."""
    async with open_door(FakeHouse()) as door:
        call = door.stub.ListModels(explanation_service_pb2.ListModelsRequest())
        assert len(dict(await call.initial_metadata())["x-request-id"]) == 32
        await call
        reply = await door.stub.Explain(explanation_pb2.ExplainRequest(text=TEXT), metadata=(("x-request-id", ""),))
        assert len(reply.request_id) == 32


async def test_a_failure_carries_the_id() -> None:
    """A caller whose call failed has an id to report; an invalid one is not echoed."""
    async with open_door(FakeHouse(error=errors.Overloaded("full"))) as door:
        kept = await failure_of(door.stub.Explain(explanation_pb2.ExplainRequest(text=TEXT, request_id="mine")))
        assert kept.request_id == "mine"
        replaced = await failure_of(door.stub.Explain(explanation_pb2.ExplainRequest(text=TEXT, request_id="ü")))
        assert len(replaced.request_id) == 32


# --- counting ------------------------------------------------------------------------------------------------------


async def test_success_is_counted_once() -> None:
    """A good call is started, received, handled with OK, sent, and no longer in flight."""
    async with open_door(FakeHouse()) as door:
        await door.stub.Explain(explanation_pb2.ExplainRequest(text=TEXT))
        labels = {"grpc_type": "unary", "grpc_service": "rollcall.v1.ExplanationService", "grpc_method": "Explain"}
        for name in ("started_total", "msg_received_total", "msg_sent_total", "handling_seconds_count"):
            assert door.sample(f"grpc_server_{name}", **labels) == 1
        assert door.handled("Explain", "OK") == 1
        assert door.sample("rollcall_requests_total", method="Explain", model=samples.MODEL, code="OK") == 1
        assert door.sample("rollcall_requests_in_flight", method="Explain") == 0


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (errors.InvalidInput.of("target.label", "unknown label"), "INVALID_ARGUMENT", None),
        (errors.ModelNotFound("m", "no such model"), "NOT_FOUND", None),
        (errors.Unsupported("THOROUGH", "not yet"), "FAILED_PRECONDITION", None),
        (errors.Overloaded("full"), "UNAVAILABLE", "queue_full"),
        (errors.Draining("stopping"), "UNAVAILABLE", "draining"),
        (errors.ModelNotReady("loading"), "UNAVAILABLE", "not_ready"),
        (errors.DeadlineTooShort("too short"), "DEADLINE_EXCEEDED", "deadline"),
        (errors.DeviceMemory("too large"), "RESOURCE_EXHAUSTED", "memory"),
        (errors.BackendError("it broke"), "INTERNAL", None),
        (KeyError(CANARY), "INTERNAL", None),
    ],
)
async def test_failures_are_counted_with_their_code(error: Exception, code: str, reason: str | None) -> None:
    """A failed call counts as handled exactly once, and as a rejection if capacity was short."""
    async with open_door(FakeHouse(error=error)) as door:
        failure = await failure_of(door.stub.Predict(explanation_service_pb2.PredictRequest(text=TEXT)))
        assert failure.code == code
        pascal = code.title().replace("_", "")
        assert door.handled("Predict", pascal) == 1
        assert door.handled("Predict", "OK") == 0
        assert door.sample("rollcall_requests_total", method="Predict", model=samples.MODEL, code=code) == 1
        assert door.sample("rollcall_requests_in_flight", method="Predict") == 0
        if reason:
            assert door.sample("rollcall_admission_rejected_total", model=samples.MODEL, reason=reason) == 1


async def test_unknown_models_share_a_label() -> None:
    """A caller cannot make label values: a name that is not configured counts as "other"."""
    async with open_door(FakeHouse()) as door:
        await door.stub.Explain(explanation_pb2.ExplainRequest(text=TEXT, model="made-up"))
        assert door.sample("rollcall_requests_total", method="Explain", model="other", code="OK") == 1
        assert door.sample("rollcall_requests_total", method="Explain", model="made-up", code="OK") == 0


async def test_cancellation_reaches_the_house_and_is_counted() -> None:
    """When the caller gives up, the work behind is cancelled and the call counts as cancelled."""
    async with open_door(FakeHouse(hangs=True)) as door:
        call = door.stub.Explain(explanation_pb2.ExplainRequest(text=TEXT))
        task = asyncio.ensure_future(failure_of(call))
        await door.house.entered.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(door.house.cancelled.wait(), timeout=5)
        await settled(door.house)
        assert door.handled("Explain", "Canceled") == 1
        assert door.sample("rollcall_requests_in_flight", method="Explain") == 0


async def test_a_passed_deadline_reaches_the_house_and_is_counted() -> None:
    """When the deadline passes, the work behind is cancelled and the call counts as past its deadline."""
    async with open_door(FakeHouse(hangs=True)) as door:
        failure = await failure_of(door.stub.Explain(explanation_pb2.ExplainRequest(text=TEXT), timeout=0.2))
        assert failure.code == "DEADLINE_EXCEEDED"
        await asyncio.wait_for(door.house.cancelled.wait(), timeout=5)
        await settled(door.house)
        assert door.handled("Explain", "DeadlineExceeded") == 1
        assert door.sample("rollcall_requests_in_flight", method="Explain") == 0


async def settled(house: FakeHouse) -> None:
    """Let the interceptor run to its end after the house was cancelled."""
    assert house.cancelled.is_set()
    for _ in range(10):
        await asyncio.sleep(0)


async def test_an_expired_deadline_harms_nobody() -> None:
    """A call whose deadline has already passed fails as such, and the next call is answered."""
    async with open_door(FakeHouse()) as door:
        failure = await failure_of(door.stub.Explain(explanation_pb2.ExplainRequest(text=TEXT), timeout=-1))
        assert failure.code == "DEADLINE_EXCEEDED"
        assert (await door.stub.Explain(explanation_pb2.ExplainRequest(text=TEXT))).rows == 70


# --- what may not leave --------------------------------------------------------------------------------------------


async def test_internal_errors_leak_nothing() -> None:
    """An unexpected error leaves as fixed text with an id; the log has the id, the type and the place, not the text."""
    error = RuntimeError(f"tokenising failed for {CANARY}")
    error.__cause__ = OSError(f"cannot read {CANARY}")
    with captured_log() as lines:
        async with open_door(FakeHouse(error=error)) as door:
            failure = await failure_of(door.stub.Explain(explanation_pb2.ExplainRequest(text=TEXT)))
    assert failure.code == "INTERNAL"
    assert CANARY not in failure.message
    assert CANARY.encode() not in failure.status.SerializeToString()
    error_id = failure.detail(error_details_pb2.ErrorInfo).metadata["error_id"]
    (line,) = (line for line in lines if line["event"] == "request")
    assert (line["level"], line["error_id"], line["code"]) == ("error", error_id, "INTERNAL")
    assert "builtins.RuntimeError" in line["trace"]
    assert "builtins.OSError" in line["trace"]
    assert any("FakeHouse._serve" in place for place in line["trace"])
    assert CANARY not in json.dumps(lines)


async def test_inputs_are_not_logged_counted_or_quoted() -> None:
    """A text appears in no log line, no metric and no error, however the call ends."""
    house = FakeHouse()
    with captured_log() as lines:
        async with open_door(house) as door:
            await door.stub.Explain(explanation_pb2.ExplainRequest(text=TEXT))
            house.error = errors.InvalidInput.of("text.text", "has no words")
            failure = await failure_of(door.stub.Explain(explanation_pb2.ExplainRequest(text=TEXT)))
            label = common_pb2.Target(label=CANARY * 200)
            too_long = await failure_of(door.stub.Explain(explanation_pb2.ExplainRequest(text=TEXT, target=label)))
            named = explanation_pb2.ExplainRequest(text=TEXT, model=CANARY)
            await failure_of(door.stub.Explain(named))
            exposed = [sample for family in door.registry.collect() for sample in family.samples]
    assert [line["code"] for line in lines if line["event"] == "request"] == ["OK"] + ["INVALID_ARGUMENT"] * 3
    assert all(CANARY not in str(shown) for shown in (lines, exposed, failure, too_long))


async def test_a_call_is_one_log_line() -> None:
    """A call leaves one line with its id, method, code, model, time, and what was decided."""
    with captured_log() as lines:
        async with open_door(FakeHouse()) as door:
            await door.stub.Explain(explanation_pb2.ExplainRequest(text=TEXT, request_id="mine"))
    (line,) = (line for line in lines if line["event"] == "request")
    assert line["seconds"] >= 0
    wanted = {
        "method": "Explain",
        "code": "OK",
        "model": samples.MODEL,
        "request_id": "mine",
        "flag": "inconclusive",
        "reason": "low_power",
        "rows": 70,
    }
    assert {name: line[name] for name in wanted} == wanted


# --- bad input at the wire -----------------------------------------------------------------------------------------


async def test_field_violations_reach_the_caller() -> None:
    """A request with several mistakes is refused with all of them, by field, and the house is not troubled."""
    request = explanation_pb2.ExplainRequest(text=common_pb2.TextInput(text="  "), max_rows=0)
    async with open_door(FakeHouse()) as door:
        failure = await failure_of(door.stub.Explain(request))
        assert failure.code == "INVALID_ARGUMENT"
        assert set(failure.fields) == {"text.text", "max_rows"}
        assert not door.house.asked


async def test_a_million_characters_are_refused() -> None:
    """A text of 10^6 characters is refused with the limit; the server goes on."""
    async with open_door(FakeHouse()) as door:
        request = explanation_pb2.ExplainRequest(text=common_pb2.TextInput(text="x" * 1_000_000))
        failure = await failure_of(door.stub.Explain(request))
        assert failure.fields == {"text.text": "must have at most 100000 characters, has 1000000"}
        assert (await door.stub.Explain(explanation_pb2.ExplainRequest(text=TEXT))).rows == 70


async def test_invalid_utf8_is_the_callers_fault() -> None:
    """Bytes that are not UTF-8 give INVALID_ARGUMENT with the field, counted like any other call."""
    broken = explanation_pb2.ExplainRequest(text=TEXT).SerializeToString().replace(b"film", b"\xff\xfe\xfd\xfc")
    async with open_door(FakeHouse()) as door:
        failure = await failure_of(raw_explain(door.channel)(broken))
        assert failure.code == "INVALID_ARGUMENT"
        assert failure.fields == {"text.text": "must be valid UTF-8"}
        assert door.handled("Explain", "InvalidArgument") == 1


async def test_both_inputs_are_the_callers_fault() -> None:
    """Two inputs on the wire are refused instead of one being ignored."""
    tokens = explanation_pb2.ExplainRequest(tokens=common_pb2.TokensInput(input_ids=[1]))
    both = explanation_pb2.ExplainRequest(text=TEXT).SerializeToString() + tokens.SerializeToString()
    async with open_door(FakeHouse()) as door:
        assert set((await failure_of(raw_explain(door.channel)(both))).fields) == {"input"}


async def test_nul_and_bidi_characters_are_served() -> None:
    """Control characters in a text harm nobody."""
    odd = common_pb2.TextInput(text="a\0b \u202efilm\u202c \u2066x\u2069")
    async with open_door(FakeHouse()) as door:
        assert (await door.stub.Explain(explanation_pb2.ExplainRequest(text=odd))).rows == 70


async def test_an_oversize_request_is_refused() -> None:
    """A request above the inbound limit is refused before it is read; the server goes on."""
    settings = GrpcSettings(port=0, drain_seconds=0.2, max_inbound_bytes=10_000)
    async with open_door(FakeHouse(), settings) as door:
        large = explanation_pb2.ExplainRequest(text=common_pb2.TextInput(text="x" * 20_000))
        assert (await failure_of(door.stub.Explain(large))).code == "RESOURCE_EXHAUSTED"
        assert (await door.stub.Explain(explanation_pb2.ExplainRequest(text=TEXT))).rows == 70


async def test_large_statuses_arrive_every_time() -> None:
    """Details of the largest size are not dropped on the way, as they would be near the limit of the metadata."""
    violations = (errors.FieldViolation(field="text.text", description="é字" * 200) for _ in range(40))
    async with open_door(FakeHouse(error=errors.InvalidInput(*violations))) as door:
        request = explanation_pb2.ExplainRequest(text=TEXT)
        failures = [await failure_of(door.stub.Explain(request)) for _ in range(100)]
    assert {failure.code for failure in failures} == {"INVALID_ARGUMENT"}
    assert min(failure.size for failure in failures) > 3_000


async def test_noise_never_looks_like_our_fault() -> None:
    """2,000 random and mutilated requests give answers or the caller's own errors, and the server goes on."""
    chance = random.Random(7)  # noqa: S311 - noise, not a secret
    valid = explanation_pb2.ExplainRequest(
        text=TEXT, target=common_pb2.Target(label="x"), check_level=explanation_pb2.CHECK_LEVEL_NONE, max_rows=5, seed=3
    ).SerializeToString()

    def noise() -> bytes:
        if chance.random() < 0.4:
            return chance.randbytes(chance.randrange(40))
        data = bytearray(valid)
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        return bytes(data[: chance.randrange(1, len(data) + 1)])

    async with open_door(FakeHouse()) as door:
        call = raw_explain(door.channel)

        async def outcome(data: bytes) -> str:
            try:
                await call(data)
            except aio.AioRpcError as error:
                return error.code().name
            return "OK"

        seen: set[str] = set()
        for _ in range(20):
            seen.update(await asyncio.gather(*(outcome(noise()) for _ in range(100))))
        assert seen == {"OK", "INVALID_ARGUMENT"}
        assert (await door.stub.Explain(explanation_pb2.ExplainRequest(text=TEXT))).rows == 70
