"""What callers of either client see."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any, assert_type

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

import canned
from fake_service import Failure, FakeService, Silence, Stream
from rollcall_client import (
    AsyncClient,
    AttentionSelection,
    CallerError,
    Cancelled,
    CheckLevel,
    Client,
    DeadlineExceeded,
    Explanation,
    FailedPrecondition,
    Flag,
    Internal,
    InvalidAnswer,
    InvalidArgument,
    MapKind,
    Model,
    NotFound,
    PredictResult,
    Progress,
    Reason,
    RollcallError,
    Threshold,
    Unavailable,
)
from rollcall_client._v1 import common_pb2, explanation_pb2, explanation_service_pb2

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Ask

BUSY = Failure(code=grpc.StatusCode.UNAVAILABLE, message="loading")


def rich(*details: Any) -> bytes:  # noqa: ANN401 - the published details have no types
    """The trailer of a failure with these details."""
    status = status_pb2.Status(code=3, message="refused")
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return bytes(status.SerializeToString())


def retry_after(seconds: float) -> bytes:
    """The trailer of a failure that says when to come back."""
    delay = duration_pb2.Duration()
    delay.FromMilliseconds(round(1000 * seconds))
    return rich(error_details_pb2.RetryInfo(retry_delay=delay))


def test_explains_a_text(ask: Ask) -> None:
    """A caller gets the answer's flag, reason, words and maps as plain Python values."""
    with FakeService.serving(canned.explain_reply()) as service:
        explanation = ask(service.target, lambda client: client.explain("The plot was thin"))
    assert isinstance(explanation, Explanation)
    assert (explanation.flag, explanation.reason) == (Flag.FAITHFUL, Reason.UNSPECIFIED)
    assert [word.unit.text for word in explanation.words] == list(canned.WORDS)
    assert explanation.shown.map is MapKind.GRADIENT_ROLLOUT


def message(stage: str = "", rows: int = 0) -> explanation_service_pb2.ExplainStreamResponse:
    """Progress, or the explanation where no stage is named."""
    if not stage:
        return explanation_service_pb2.ExplainStreamResponse(header=canned.explain_reply())
    progress = explanation_service_pb2.Progress(stage=stage, rows=rows, planned_rows=90)
    return explanation_service_pb2.ExplainStreamResponse(progress=progress)


def test_hears_of_progress_and_gets_the_answer(ask: Ask) -> None:
    """Progress is told in order as it comes; the answer is that of explain. What is unknown is passed over."""
    heard: list[Progress] = []
    unknown = explanation_service_pb2.ExplainStreamResponse()
    turn = Stream(messages=(message("look", 10), unknown, message("thorough", 60), message()))
    with FakeService.serving(turn) as service:
        explanation = ask(
            service.target,
            lambda client: client.explain_stream(
                "a text", progress=heard.append, level=CheckLevel.THOROUGH, request_id="order-7"
            ),
        )
    assert isinstance(explanation, Explanation)
    assert explanation.flag is Flag.FAITHFUL
    assert heard == [
        Progress(stage="look", rows=10, planned_rows=90),
        Progress(stage="thorough", rows=60, planned_rows=90),
    ]
    assert (service.requests[0].check_level, service.requests[0].request_id) == (3, "order-7")


def test_a_stream_without_an_answer_is_invalid(ask: Ask) -> None:
    """Progress alone is no answer."""
    with FakeService.serving(Stream(messages=(message("look", 10),))) as service, pytest.raises(InvalidAnswer):
        ask(service.target, lambda client: client.explain_stream("a text", progress=lambda _: None))


def attention_in(*chunks: tuple[int, bytes, int]) -> tuple[explanation_service_pb2.ExplainStreamResponse, ...]:
    """A stream whose attention of eight bytes, one layer and head over two tokens, comes in these chunks."""
    response = explanation_service_pb2.ExplainStreamResponse
    described = explanation_pb2.AttentionTensor(
        layers=[3], heads=[1], tensor=common_pb2.Tensor(data_type=common_pb2.DATA_TYPE_FLOAT16, shape=[1, 1, 2, 2])
    )
    chunk = explanation_service_pb2.TensorChunk
    parts = (chunk(offset=offset, data=data, crc32c=crc) for offset, data, crc in chunks)
    return (message(), response(attention=described), *(response(chunk=part) for part in parts))


# Halves, quarters and three quarters in binary16; the checksums are those of another implementation (crc32c 2.9).
FIRST, SECOND = (0, b"\x00\x38\x00\x38", 0x5BEAE2E2), (4, b"\x00\x34\x00\x3a", 0x1C5E08CA)


def test_attention_in_chunks_is_put_together(ask: Ask) -> None:
    """Attention that no reply could hold arrives as an array of its shape, beside the flags of its map."""
    with FakeService.serving(Stream(messages=attention_in(FIRST, SECOND))) as service:
        explanation = ask(service.target, lambda client: client.explain_stream("a text"))
    assert explanation.attention.numpy().tolist() == [[[[0.5, 0.5], [0.25, 0.75]]]]
    assert explanation.attention.layers == (3,)
    assert explanation.flag is Flag.FAITHFUL


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        (attention_in(FIRST, (4, b"\x00\x34\x00\x3b", SECOND[2])), "damaged on the way"),
        (attention_in(FIRST), "cannot have 4 bytes"),
        (attention_in(SECOND), "not for byte 0"),
        (attention_in(FIRST, FIRST), "not for byte 4"),
        (attention_in(FIRST, SECOND, (8, bytes(9), 0)), "damaged on the way"),
        (attention_in(*((4 * i, FIRST[1], FIRST[2]) for i in range(9))), "more attention than it announced"),
        (attention_in(FIRST, SECOND)[2:], "not for byte 0"),
        (attention_in(FIRST, SECOND)[1:], "without an answer"),
    ],
)
def test_attention_that_is_not_whole_is_refused(
    ask: Ask, messages: tuple[explanation_service_pb2.ExplainStreamResponse, ...], says: str
) -> None:
    """A caller never sees attention with damaged, missing or additional bytes."""
    with FakeService.serving(Stream(messages=messages)) as service, pytest.raises(InvalidAnswer, match=says):
        ask(service.target, lambda client: client.explain_stream("a text"))


def test_a_stream_is_tried_again_where_the_service_is_unavailable(ask: Ask) -> None:
    """Also after it has begun: nothing but progress has been told."""
    busy = Stream(messages=(message("look", 10),), failure=BUSY)
    heard: list[Progress] = []
    with FakeService.serving(busy, Stream(messages=(message("look", 20), message()))) as service:
        answer = ask(service.target, lambda client: client.explain_stream("a text", progress=heard.append))
    assert answer.flag is Flag.FAITHFUL
    assert [each.rows for each in heard] == [10, 20]
    assert len(ask.waits) == 1


def test_a_stream_fails_as_any_call(ask: Ask) -> None:
    """A failure in the middle of a stream is the typed error of its status."""
    broken = Stream(messages=(message("look", 10),), failure=Failure(code=grpc.StatusCode.INTERNAL))
    with FakeService.serving(broken) as service, pytest.raises(Internal):
        ask(service.target, lambda client: client.explain_stream("a text", progress=lambda _: None))


def test_whoever_hears_of_progress_may_end_the_call(ask: Ask) -> None:
    """What a listener raises ends the stream and is raised to the caller."""

    def enough(_: Progress) -> None:
        raise KeyError

    with FakeService.serving(Stream(messages=(message("look", 10), message()))) as service, pytest.raises(KeyError):
        ask(service.target, lambda client: client.explain_stream("a text", progress=enough))


def test_sends_what_was_asked_for(ask: Ask) -> None:
    """Every option that a caller names reaches the service, and none that was left out."""
    with FakeService.serving(canned.explain_reply()) as service:
        ask(
            service.target,
            lambda client: client.explain(
                "a text",
                text_pair="another",
                request_id="order-7",
                model="reviews",
                target="positive",
                foil=0,
                threshold=Threshold(label="positive", probability=0.93),
                maps=(MapKind.NORM_ROLLOUT,),
                level=CheckLevel.STANDARD,
                max_rows=40,
                seed=2**64 - 1,
                attention=AttentionSelection(layers=(3,)),
            ),
            metadata=(("authorization", "Bearer of news"),),
        )
    request = service.requests[0]
    assert (request.text.text, request.text.text_pair, request.model) == ("a text", "another", "reviews")
    assert (request.target.label, request.target.foil_class_index) == ("positive", 0)
    assert (request.maps[0], request.max_rows, request.seed) == (MapKind.NORM_ROLLOUT.value, 40, 2**64 - 1)
    assert request.request_id == "order-7"
    assert not request.HasField("reported_label")
    assert service.metadata[0]["authorization"] == "Bearer of news"


def test_explains_token_ids(ask: Ask) -> None:
    """Ids go out as they are, and the request gets an id of its own."""
    with FakeService.serving(canned.explain_reply()) as service:
        ask(service.target, lambda client: client.explain_tokens([101, 7592, 102]))
    assert list(service.requests[0].tokens.input_ids) == [101, 7592, 102]
    assert len(service.requests[0].request_id) == 32


def test_predicts(ask: Ask) -> None:
    """A prediction alone has no maps and the same prediction."""
    with FakeService.serving(canned.predict_reply()) as service:
        result = ask(service.target, lambda client: client.predict("a text", model="reviews"))
        ask(service.target, lambda client: client.predict_tokens([101, 102]))
    assert isinstance(result, PredictResult)
    assert (result.prediction.predicted, round(result.prediction.probability, 3)) == ("positive", 0.873)
    assert list(service.requests[1].tokens.input_ids) == [101, 102]


def test_lists_and_describes_models(ask: Ask) -> None:
    """A caller can learn each model's labels, limits and calibration."""
    listed = explanation_service_pb2.ListModelsResponse(models=[canned.model()])
    described = explanation_service_pb2.GetModelResponse(model=canned.model())
    with FakeService.serving(listed, described) as service:
        models = ask(service.target, lambda client: client.models())
        model = ask(service.target, lambda client: client.model("reviews"))
    assert models == (model,)
    assert isinstance(model, Model)
    assert (model.labels, model.max_rows, model.threshold) == (
        ("negative", "positive"),
        512,
        Threshold(label="positive", probability=0.93),
    )


def test_asks_again_when_the_service_is_unavailable(ask: Ask) -> None:
    """Two refusals cost two growing waits, and then the answer comes."""
    with FakeService.serving(BUSY, BUSY, canned.explain_reply()) as service:
        explanation = ask(service.target, lambda client: client.explain("a text"), jitter=lambda: 1.0)
    assert explanation.flag is Flag.FAITHFUL
    assert ask.waits == [0.1, 0.2]


def test_waits_as_long_as_the_service_asks(ask: Ask) -> None:
    """The service's advice is the least wait."""
    busy = Failure(code=grpc.StatusCode.UNAVAILABLE, details=retry_after(1.5))
    with FakeService.serving(busy, canned.explain_reply()) as service:
        ask(service.target, lambda client: client.explain("a text"), jitter=lambda: 1.0)
    assert ask.waits == [1.5]


def test_gives_up_after_the_last_retry(ask: Ask) -> None:
    """The caller is told how long to wait before asking again by itself."""
    busy = Failure(code=grpc.StatusCode.UNAVAILABLE, message="queue full", details=retry_after(0.25))
    with FakeService.serving(busy) as service, pytest.raises(Unavailable, match="queue full") as caught:
        ask(service.target, lambda client: client.explain("a text", request_id="r-1"), retries=2)
    assert (len(service.requests), caught.value.retry_after) == (3, 0.25)
    assert (caught.value.code, caught.value.request_id) == ("UNAVAILABLE", "r-1")
    assert isinstance(caught.value.__cause__, grpc.RpcError)


def test_never_waits_past_the_deadline(ask: Ask) -> None:
    """A wait that would end too late is not begun."""
    busy = Failure(code=grpc.StatusCode.UNAVAILABLE, details=retry_after(60))
    with FakeService.serving(busy) as service, pytest.raises(Unavailable):
        ask(service.target, lambda client: client.explain("a text", timeout=2.0))
    assert (ask.waits, len(service.requests)) == ([], 1)
    assert service.remaining[0] <= 2.1


def test_a_late_answer_is_a_missed_deadline(ask: Ask) -> None:
    """The time given covers the call; then the caller is told so."""
    with FakeService.serving(Silence()) as service, pytest.raises(DeadlineExceeded) as caught:
        ask(service.target, lambda client: client.explain("a text"), timeout=0.2)
    assert caught.value.code == "DEADLINE_EXCEEDED"


def test_an_unreachable_service_is_unavailable(ask: Ask) -> None:
    """Nobody listening is the same to the caller as too busy."""
    with pytest.raises(Unavailable):
        ask("127.0.0.1:1", lambda client: client.models(), retries=0)


@pytest.mark.parametrize(
    "code", [code for code in grpc.StatusCode if code not in {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}]
)
def test_nothing_else_is_asked_again(code: grpc.StatusCode) -> None:
    """Every other failure is raised at once, with its status by name."""
    with FakeService.serving(Failure(code=code)) as service, Client(service.target) as client:
        with pytest.raises(RollcallError) as caught:
            client.explain("a text")
        assert (caught.value.code, len(service.requests)) == (code.name, 1)


def test_names_the_field_at_fault(ask: Ask) -> None:
    """A refused request says which field was wrong and why."""
    violations = [
        error_details_pb2.BadRequest.FieldViolation(field="text.text", description="has no words"),
        error_details_pb2.BadRequest.FieldViolation(field="max_rows", description="must be at least 1"),
    ]
    failure = Failure(
        code=grpc.StatusCode.INVALID_ARGUMENT,
        message="2 fields are wrong",
        details=rich(error_details_pb2.BadRequest(field_violations=violations)),
        request_id="made-by-the-service",
    )
    with FakeService.serving(failure) as service, pytest.raises(InvalidArgument) as caught:
        ask(service.target, lambda client: client.explain(""))
    assert caught.value.violations == (("text.text", "has no words"), ("max_rows", "must be at least 1"))
    assert str(caught.value) == "INVALID_ARGUMENT: 2 fields are wrong (request made-by-the-service)"
    assert isinstance(caught.value, CallerError)


def test_names_what_was_not_found(ask: Ask) -> None:
    """An unknown model is named."""
    details = rich(error_details_pb2.ResourceInfo(resource_type="model", resource_name="reviews-2"))
    with (
        FakeService.serving(Failure(code=grpc.StatusCode.NOT_FOUND, details=details)) as service,
        pytest.raises(NotFound) as caught,
    ):
        ask(service.target, lambda client: client.model("reviews-2"))
    assert (caught.value.resource, caught.value.request_id) == ("reviews-2", "")


def test_says_what_is_missing(ask: Ask) -> None:
    """What a model cannot do is a fault of the request."""
    violation = error_details_pb2.PreconditionFailure.Violation(subject="check_level", description="not available")
    details = rich(error_details_pb2.PreconditionFailure(violations=[violation]))
    with (
        FakeService.serving(Failure(code=grpc.StatusCode.FAILED_PRECONDITION, details=details)) as service,
        pytest.raises(FailedPrecondition) as caught,
    ):
        ask(service.target, lambda client: client.explain("a text", level=CheckLevel.THOROUGH))
    assert caught.value.violations == (("check_level", "not available"),)


def test_gives_the_id_of_a_bug(ask: Ask) -> None:
    """A bug can be found in the service's log."""
    details = rich(error_details_pb2.ErrorInfo(reason="INTERNAL", metadata={"error_id": "e-99"}))
    with (
        FakeService.serving(Failure(code=grpc.StatusCode.INTERNAL, details=details)) as service,
        pytest.raises(Internal) as caught,
    ):
        ask(service.target, lambda client: client.explain("a text"))
    assert caught.value.error_id == "e-99"


def test_an_answer_that_contradicts_itself_is_refused(ask: Ask) -> None:
    """A map with too few weights is never shown to anybody."""
    reply = canned.explain_reply()
    del reply.attributions[0].scores[-1]
    with FakeService.serving(reply) as service, pytest.raises(InvalidAnswer, match="weight") as caught:
        ask(service.target, lambda client: client.explain("a text", request_id="r-2"))
    assert caught.value.request_id == "r-2"


def test_large_answers_fit(ask: Ask) -> None:
    """Attention of more than gRPC's default 4 MiB arrives."""
    reply = canned.explain_reply()
    reply.attention.CopyFrom(canned.attention(layers=12, heads=12, keys=8192))
    assert reply.ByteSize() > 4 * 2**20
    with FakeService.serving(reply) as service:
        explanation = ask(service.target, lambda client: client.explain("a text"))
    assert explanation.attention.shape == (12, 12, 1, 8192)


def test_an_argument_that_does_not_fit_is_refused_before_sending(ask: Ask) -> None:
    """What the wire cannot carry is a ValueError, what does not exist a TypeError."""
    with FakeService.serving(canned.explain_reply()) as service:
        with pytest.raises(ValueError, match="out of range"):
            ask(service.target, lambda client: client.explain("a text", target=2**40))
        with pytest.raises(TypeError, match="polcy"):
            ask(service.target, lambda client: client.explain("a text", polcy="strict"))  # type: ignore[call-arg]  # a slip
    assert service.requests == []


def test_closing_ends_calls_under_way() -> None:
    """A caller that waits in another thread is told that the call was cancelled."""
    caught: list[RollcallError] = []

    def wait(client: Client) -> None:
        with pytest.raises(RollcallError) as failure:
            client.explain("a text", timeout=20.0)
        caught.append(failure.value)

    with FakeService.serving(Silence()) as service:
        client = Client(service.target)
        thread = threading.Thread(target=wait, args=(client,))
        thread.start()
        _until_asked(service)
        client.close()
        thread.join(timeout=10)
    assert [type(error) for error in caught] == [Cancelled]


def test_an_abandoned_call_raises_cancelled_error() -> None:
    """Cancelling a task cancels the call, and asyncio's own exception is left alone."""

    async def abandon(target: str, service: FakeService) -> None:
        async with AsyncClient(target) as client:
            task = asyncio.create_task(client.explain("a text"))
            await asyncio.to_thread(_until_asked, service)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with FakeService.serving(Silence()) as service:
        asyncio.run(abandon(service.target, service))


def test_many_calls_at_once() -> None:
    """One asynchronous client serves many callers at a time."""

    async def ask_all(target: str) -> list[Explanation]:
        async with AsyncClient(target) as client:
            return await asyncio.gather(*(client.explain(f"text {number}") for number in range(8)))

    with FakeService.serving(canned.explain_reply()) as service:
        explanations = asyncio.run(ask_all(service.target))
    assert len(explanations) == len(service.requests) == 8


def test_an_asynchronous_client_needs_a_loop() -> None:
    """Making one outside of a loop fails at once, not later and elsewhere."""
    with pytest.raises(RuntimeError, match="no running event loop"):
        AsyncClient("127.0.0.1:1")


def test_a_secure_channel_is_used_with_credentials(ask: Ask) -> None:
    """With credentials, nothing is said to a service that does not speak TLS."""
    with FakeService.serving(canned.explain_reply()) as service, pytest.raises(Unavailable):
        ask(
            service.target,
            lambda client: client.explain("a text"),
            credentials=grpc.ssl_channel_credentials(),
            retries=0,
        )
    assert service.requests == []


def test_a_token_goes_with_every_call(ask: Ask) -> None:
    """The service hears who asks; a token that changes is asked for anew."""
    tokens = iter(["first", "second"])
    with FakeService.serving(canned.explain_reply(), canned.explain_reply()) as service:
        for _ in range(2):
            ask(service.target, lambda client: client.explain("a text"), token=lambda: next(tokens))
    assert [sent["authorization"] for sent in service.metadata] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("token", ["", "two words", "secret\n", "sécret"])
def test_what_cannot_be_a_token_is_not_sent_nor_quoted(ask: Ask, token: str) -> None:
    """A file's line feed is a common mistake; the message does not spread the secret."""
    with (
        FakeService.serving(canned.explain_reply()) as service,
        pytest.raises(ValueError, match=r"^token must") as raised,
    ):
        ask(service.target, lambda client: client.explain("a text"), token=token)
    assert service.requests == []
    assert not token or token not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"cert": "a.pem"}, "belong together"),
        ({"ca": "ca.pem", "key": "a.key"}, "belong together"),
        ({"cert": "a.pem", "key": "a.key"}, "need ca"),
        ({"ca": "ca.pem", "credentials": grpc.ssl_channel_credentials()}, "either credentials or ca"),
    ],
)
def test_half_a_trust_is_refused(options: dict[str, Any], problem: str) -> None:
    """A connection that is less secure than it looks is not opened."""
    with pytest.raises(ValueError, match=problem):
        Client("127.0.0.1:1", **options)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The caller learns which file is missing."""
    with pytest.raises(FileNotFoundError, match=r"ca\.pem"):
        Client("127.0.0.1:1", ca=tmp_path / "ca.pem")


def test_types_are_exact() -> None:
    """A type checker knows what each client returns."""

    async def explain(target: str) -> None:
        async with AsyncClient(target) as client:
            assert_type(await client.explain("a text"), Explanation)

    with FakeService.serving(canned.explain_reply()) as service, Client(service.target) as client:
        assert_type(client.explain("a text"), Explanation)
        asyncio.run(explain(service.target))


def _until_asked(service: FakeService) -> None:
    end = time.monotonic() + 10
    while not service.requests:
        assert time.monotonic() < end, "the call never arrived"
        threading.Event().wait(0.001)
