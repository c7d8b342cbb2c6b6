"""Bad input through the real client: a precise error, an unharmed server, and no input anywhere it does not belong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import grpc
import pytest

from rollcall.demo.server import ServerProcess
from rollcall_client import (
    AsyncClient,
    CallerError,
    Client,
    DeadlineExceeded,
    InvalidArgument,
    MapKind,
    NotFound,
    QuerySelection,
)
from rollcall_client._v1 import explanation_pb2
from rollcall_client.options import AttentionSelection, RawAttentionOptions, RolloutOptions, Threshold

GOOD = "A wonderful film."
EXPLAIN = "/rollcall.v1.ExplanationService/Explain"
CANARY = "xyzzyplugh"
"""A word that must never leave the request."""


@pytest.fixture(autouse=True)
def _unharmed(server: ServerProcess, client: Client) -> Iterator[None]:
    """After each case the server still answers, and neither log nor metrics hold the canary."""
    yield
    assert client.predict(GOOD).prediction.predicted == "positive"
    assert CANARY not in server.log.read_text()
    assert CANARY not in server.metrics()


CASES: dict[str, tuple[Callable[[Client], object], str]] = {
    "empty text": (lambda c: c.explain(""), "text.text"),
    "white space only": (lambda c: c.explain(" \t\n\u2003"), "text.text"),
    "a million characters": (lambda c: c.explain(f"{CANARY} " * 90_910), "text.text"),
    "nothing readable": (lambda c: c.explain("\u200d\u200d"), "text.text"),
    "empty second text": (lambda c: c.explain(GOOD, text_pair="  "), "text.text_pair"),
    "unknown label": (lambda c: c.explain(GOOD, target=CANARY), "target.label"),
    "class index too large": (lambda c: c.explain(GOOD, target=2), "target.class_index"),
    "class index negative": (lambda c: c.explain(GOOD, target=-1), "target.class_index"),
    "foil equals target": (lambda c: c.explain(GOOD, target=0, foil=0), "target.foil"),
    "threshold label": (
        lambda c: c.explain(GOOD, threshold=Threshold(label=CANARY, probability=0.5)),
        "threshold.label",
    ),
    "no rows": (lambda c: c.explain(GOOD, max_rows=0), "max_rows"),
    "too many rows": (lambda c: c.explain(GOOD, max_rows=10**6), "max_rows"),
    "unknown policy": (lambda c: c.explain(GOOD, policy=CANARY), "policy"),
    "layer out of range": (
        lambda c: c.explain(GOOD, raw_attention=RawAttentionOptions(layers=(3,))),
        "raw_attention.layers",
    ),
    "head out of range": (
        lambda c: c.explain(GOOD, raw_attention=RawAttentionOptions(heads=(9,))),
        "raw_attention.heads",
    ),
    "start layer": (lambda c: c.explain(GOOD, rollout=RolloutOptions(start_layer=7)), "rollout.start_layer"),
    "attention layer": (lambda c: c.explain(GOOD, attention=AttentionSelection(layers=(5,))), "attention.layers"),
    "id out of vocabulary": (lambda c: c.explain_tokens([2, 10**6, 3]), "tokens.input_ids[1]"),
    "negative id": (lambda c: c.explain_tokens([2, -5, 3]), "tokens.input_ids[1]"),
    "no ids": (lambda c: c.explain_tokens([]), "tokens.input_ids"),
    "no classification token": (lambda c: c.explain_tokens([100, 200]), "tokens.input_ids"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_field_is_named(client: Client, case: str) -> None:
    """The caller learns which field is wrong, and nothing of the input is repeated."""
    call, field = CASES[case]
    with pytest.raises(InvalidArgument) as caught:
        call(client)
    assert [name for name, _ in caught.value.violations] == [field]
    assert CANARY not in str(caught.value)


def test_a_selection_that_is_too_large_is_refused_with_advice(client: Client) -> None:
    """A tensor that would not fit into a reply is refused before it is computed."""
    long = "a good film " * 200
    with pytest.raises(InvalidArgument, match="fewer layers") as caught:
        client.explain(long, model="roberta", attention=AttentionSelection(queries=QuerySelection.ALL))
    assert [name for name, _ in caught.value.violations] == ["attention"]


def test_an_unknown_model_is_not_found(client: Client) -> None:
    """A model that is not served is NOT_FOUND, with the names of those that are."""
    with pytest.raises(NotFound, match="demo"):
        client.explain(GOOD, model="nothing-like-it")


def test_an_unknown_revision_is_not_found(client: Client) -> None:
    """A revision that is not served is NOT_FOUND."""
    with pytest.raises(NotFound):
        client.explain(GOOD, revision="r2")


@pytest.mark.parametrize(
    "text", ["film\x00good", "a \u202egood\u202c film", "one", "🎬👍🏽", "我喜欢这部电影。", "ok " * 300]
)
def test_odd_texts_are_answered(client: Client, text: str) -> None:
    """NUL, bidi controls, emoji, scripts without spaces, one word and long texts are ordinary input."""
    explanation = client.explain(text)
    assert explanation.units
    assert all(text[unit.char_start : unit.char_end] == unit.text for unit in explanation.units)


def raw_call(server: ServerProcess, body: bytes) -> grpc.RpcError:
    """Send bytes as an ExplainRequest; return the error."""
    with grpc.insecure_channel(server.target) as channel:
        call = channel.unary_unary(EXPLAIN, request_serializer=None, response_deserializer=None)
        with pytest.raises(grpc.RpcError) as caught:
            call(body, timeout=60)
        return caught.value


@pytest.mark.parametrize(
    "body",
    [
        b"\x22\x06\x0a\x04\xff\xfe\xfd\xfc",
        b"\xff\xff\xff",
        b"\x22\x7f",
    ],
    ids=["invalid UTF-8", "not a message", "truncated"],
)
def test_bytes_that_are_no_request_are_the_callers_fault(server: ServerProcess, body: bytes) -> None:
    """Undecodable bytes are INVALID_ARGUMENT, not INTERNAL."""
    assert raw_call(server, body).code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("field", ["maps", "primary_map", "check_level"])
def test_enum_values_from_the_future_are_refused(server: ServerProcess, field: str) -> None:
    """A value that this server does not know is named, not ignored."""
    request = explanation_pb2.ExplainRequest()
    request.text.text = GOOD
    if field == "maps":
        request.maps.append(99)  # type: ignore[arg-type]
    else:
        setattr(request, field, 99)
    error = raw_call(server, request.SerializeToString())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field in str(error.details())


def test_no_input_and_both_inputs_are_refused(server: ServerProcess) -> None:
    """Exactly one kind of input is needed."""
    assert raw_call(server, b"").code() is grpc.StatusCode.INVALID_ARGUMENT


def test_an_expired_deadline_is_deadline_exceeded(client: Client) -> None:
    """A call without time left fails at once with its own code."""
    with pytest.raises(DeadlineExceeded):
        client.explain(GOOD, timeout=0.001)


def test_a_cancelled_call_touches_nobody_else(server: ServerProcess) -> None:
    """One caller of many goes away; the others get their answers."""

    async def scenario() -> list[str]:
        async with AsyncClient(server.target, timeout=120) as client:
            calls = [asyncio.create_task(client.explain(f"Film {i} is great.")) for i in range(8)]
            await asyncio.sleep(0)
            for leaving in calls[::3]:
                leaving.cancel()
            answers = await asyncio.gather(*calls, return_exceptions=True)
            return [type(answer).__name__ for answer in answers]

    names = asyncio.run(scenario())
    assert [name for i, name in enumerate(names) if i % 3] == ["Explanation"] * 5
    assert "Explanation" not in [name for i, name in enumerate(names) if not i % 3]


def test_a_request_larger_than_the_limit_is_refused(server: ServerProcess) -> None:
    """More than 4 MiB does not get in."""
    with grpc.insecure_channel(server.target) as channel:
        call = channel.unary_unary(EXPLAIN, request_serializer=None, response_deserializer=None)
        with pytest.raises(grpc.RpcError) as caught:
            call(b"x" * (5 << 20), timeout=60)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_unknown_map_names_do_not_exist_in_the_client() -> None:
    """The client cannot ask for a map that the wire does not have."""
    assert {kind.name for kind in MapKind} >= {"RAW_ATTENTION", "ATTENTION_ROLLOUT", "NORM_ROLLOUT", "GRADIENT_ROLLOUT"}
    assert issubclass(InvalidArgument, CallerError)
