"""What another server says of a text is understood, compared by numbers, and never written down."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rollcall.bringing.comparing import Compared, Question, Said, ask_of, compare, read
from rollcall.bringing.peers import CallFailed, HttpPeer
from rollcall.bringing.report import SHOWN, Report
from rollcall.bringing.tensors import AnswerError, Port, Values, read_outputs, write_input
from rollcall.domain.decision import Task
from rollcall.domain.errors import ModelRejected
from rollcall.oip import open_inference_pb2 as oip
from rollcall_client import Unavailable
from tests.tiny import TEXT, make_tokenizer

TEXT_PORT = Port(name="text", datatype="BYTES", rank=1)
LABELS = ("bad", "so-so", "good")


def question(**options: Any) -> Question:  # noqa: ANN401 - of a question
    """A model of three classes."""
    said: dict[str, Any] = {"model": "reviews", "task": Task.SINGLE_LABEL, "labels": LABELS, "port": TEXT_PORT}
    return Question(**(said | options))


def numbers(*values: float, shape: tuple[int, ...] = (1, 3)) -> Values:
    """A row of FP32."""
    return np.array(values, dtype=np.float32).reshape(shape)


LOGITS = (2.0, -1.0, 0.5)
SOFTMAX = tuple(float(p) for p in np.exp(LOGITS) / np.exp(LOGITS).sum())
ALL = [{"label": label, "score": p} for label, p in zip(LABELS, SOFTMAX, strict=True)]

UNDERSTOOD: dict[str, tuple[dict[str, Values], dict[str, Any], Said]] = {
    "probabilities": ({"p": numbers(*SOFTMAX)}, {}, Said(probabilities=SOFTMAX)),
    "logits": ({"out": numbers(*LOGITS, shape=(3,))}, {}, Said(probabilities=SOFTMAX)),
    "both": ({"logits": numbers(9, 9, 9), "probabilities": numbers(*SOFTMAX)}, {}, Said(probabilities=SOFTMAX)),
    "among other outputs": (
        {"embedding": numbers(*range(8), shape=(1, 8)), "x": numbers(*LOGITS), "label": [b"good"]},
        {},
        Said(probabilities=SOFTMAX),
    ),
    "a named one": ({"a": numbers(5, 5, 5), "b": numbers(*LOGITS)}, {"output": "b"}, Said(probabilities=SOFTMAX)),
    "logits that look like probabilities": (
        {"x": numbers(0.5, 0.25, 0.25)}, {"logits": True}, Said(probabilities=(0.390991, 0.304504, 0.304504))
    ),
    "several labels": (
        {"logits": numbers(0, 2, -2)}, {"task": Task.MULTI_LABEL}, Said(probabilities=(0.5, 0.880797, 0.119203))
    ),
    "several labels' probabilities": (
        {"p": numbers(0.9, 0.8, 0.1)}, {"task": Task.MULTI_LABEL}, Said(probabilities=(0.9, 0.8, 0.1))
    ),
    "a label": ({"label": [b"good"]}, {}, Said(label="good")),
    "a label that is a number": ({"label": [b"1"]}, {"labels": ("0", "1", "2")}, Said(label="1")),
    "a label that is JSON": ({"label": [b"true"]}, {"labels": ("true", "false", "null")}, Said(label="true")),
    "a pipeline's label": (
        {"output": [b'{"label": "good", "score": 0.75}']}, {}, Said(label="good", score=0.75)
    ),
    "a pipeline's labels": ({"output": [json.dumps(ALL[::-1]).encode()]}, {}, Said(probabilities=SOFTMAX)),
}  # fmt: skip


@pytest.mark.parametrize("case", UNDERSTOOD)
def test_what_servers_say_is_understood(case: str) -> None:
    """Numbers by class in any output, labels, and the JSON of pipelines."""
    outputs, options, expected = UNDERSTOOD[case]
    said = read(outputs, question(**options))
    assert (said.label, said.score) == (expected.label, expected.score)
    assert (said.probabilities is None) == (expected.probabilities is None)
    assert said.probabilities == pytest.approx(expected.probabilities, abs=1e-6)


@pytest.mark.parametrize(
    ("outputs", "options"),
    [
        ({}, {}),
        ({"x": numbers(1, 2, shape=(1, 2))}, {}),
        ({"x": numbers(1, 2, 3, 4, 5, 6, shape=(2, 3))}, {}),
        ({"x": np.array([[1, 2, 3]])}, {}),
        ({"a": numbers(*LOGITS)}, {"output": "b"}),
        ({"label": [b"a text that was sent"]}, {}),
        ({"output": [b'{"generated_text": "a text that was sent"}']}, {}),
        ({"output": [b'[{"label": "good", "score": NaN}]']}, {}),
        ({"output": [b'[{"label": "good", "score": 1' + b"0" * 400 + b"}]"]}, {}),
        ({"output": [b"[" * 100_000]}, {}),
        ({"output": [b"1"]}, {}),
        ({"x": numbers(float("nan"), 0, 0)}, {}),
        ({"x": numbers(float("inf"), 0, 0)}, {}),
    ],
)
def test_what_says_nothing_of_the_classes_is_an_error(outputs: dict[str, Values], options: dict[str, Any]) -> None:
    """And never agreement; the message repeats nothing that was sent or came."""
    with pytest.raises(AnswerError) as error:
        read(outputs, question(**options))
    assert "a text" not in str(error.value)


@dataclass
class FakePeer:
    """Answers in turn with what it is given."""

    answers: list[dict[str, Values] | Exception]
    listed: tuple[Port, ...] = (TEXT_PORT,)
    asked: list[Sequence[tuple[Port, Values]]] = field(default_factory=list)

    def inputs(self, model: str) -> tuple[Port, ...]:
        """What a model takes."""
        del model
        return self.listed

    def infer(self, model: str, tensors: Sequence[tuple[Port, Values]]) -> dict[str, Values]:
        """The next answer."""
        del model
        self.asked.append(tensors)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_differences_are_told_by_line() -> None:
    """The largest, those beyond what is tolerated, those that are decided otherwise, and those without an answer."""
    close = tuple(p + d for p, d in zip(SOFTMAX, (5e-5, -5e-5, 0), strict=True))
    peer = FakePeer(
        [
            {"p": numbers(*SOFTMAX)},
            {"p": numbers(*close)},
            {"p": numbers(0.1, 0.2, 0.7)},
            {"label": [b"bad"]},
            CallFailed("INVALID_ARGUMENT", "the text 'secret' is wrong"),
            {"label": [b"secret"]},
        ]
    )
    lines = [(number, f"secret {number}") for number in (1, 2, 4, 5, 6, 7, 8)]

    def ours(text: str) -> Any:  # noqa: ANN401 - as a prediction
        if text.endswith("8"):
            message = "secret"
            raise Unavailable(message, code="UNAVAILABLE")
        return SimpleNamespace(probabilities=SOFTMAX)

    found = tuple(compare(lines, ours, peer, question()))
    assert [port.name for (port, _) in peer.asked[0]] == ["text"]
    assert [one.error for one in found if one.error] == [
        "theirs: INVALID_ARGUMENT",
        "theirs: its answer has no outputs with 3 numbers or a label",
        "ours: UNAVAILABLE",
    ]
    report = Report(found=found, tolerance=1e-4)
    assert not report.holds
    told = report.to_dict()
    assert told["largest_difference_line"] == 4
    assert told["largest_difference"] == pytest.approx(SOFTMAX[0] - 0.1, abs=1e-6)
    assert [one["line"] for one in told["beyond_tolerance"]] == [4]  # type: ignore[attr-defined]
    assert told["disagreeing"] == [{"line": 4, "ours": "bad", "theirs": "good"}]
    assert "secret" not in str(report) + json.dumps(told)
    assert "line 4: bad here, good there" in str(report)
    assert Report(found=found[:2], tolerance=1e-4).holds
    assert not Report(found=found[:2], tolerance=1e-5).holds
    assert Report(found=found[3:4], tolerance=0).holds
    assert not Report(found=(), tolerance=1).holds
    many = Report(found=(Compared(line=1, error="x"),) * (SHOWN + 2), tolerance=1)
    assert "and 2 more" in str(many)


@pytest.mark.parametrize(
    ("ours", "told", "difference", "chosen"),
    [
        ((0.3, 0.2), ("a", 0.3), 0.0, ("(none)", "(none)")),
        ((0.9, 0.8), ("a", 0.9), 0.0, ("a", "a")),
        ((0.9, 0.2), ("a", 0.4), 0.5, ("a", "(none)")),
        ((0.3, 0.2), ("a", 0.6), 0.3, ("(none)", "a")),
        ((0.3, 0.9), ("a", 0.6), 0.3, ("b", "a")),
        ((0.3, 0.9), ("a", 0.3), 0.6, ("b", "(none)")),
    ],
)
def test_the_first_of_several_labels_is_compared_by_its_score(
    ours: tuple[float, float], told: tuple[str, float], difference: float, chosen: tuple[str, str]
) -> None:
    """A pipeline tells the most probable label alone; where another is above it here, that is a difference, too."""
    said = json.dumps([{"label": told[0], "score": told[1]}]).encode()
    asked = question(task=Task.MULTI_LABEL, labels=("a", "b"))
    peer = FakePeer([{"output": [said]}])
    (found,) = compare([(1, "x")], lambda _: SimpleNamespace(probabilities=ours), peer, asked)  # type: ignore[arg-type, return-value]
    assert found.difference == pytest.approx(difference)
    assert (found.ours, found.theirs) == chosen
    assert found.agrees == (chosen[0] == chosen[1])


def test_a_model_that_takes_ids_is_asked_with_ids(tmp_path: Path) -> None:
    """By whatever names, as many axes, and only what it takes; without a tokenizer that is said."""
    listed = (Port(name="ids", datatype="INT32", rank=2), Port(name="input_mask", datatype="INT64", rank=2))
    peer = FakePeer([], listed=listed)
    with pytest.raises(ModelRejected, match=r"takes ids, input_mask and no texts: say --tokenizer"):
        ask_of(peer, "reviews", named="", tokenizer=None)
    with pytest.raises(ModelRejected, match="holds no tokenizer that can be loaded"):
        ask_of(peer, "reviews", named="", tokenizer=tmp_path)
    tokenizer = make_tokenizer("bert")
    tokenizer.save_pretrained(tmp_path)
    port, reading = ask_of(peer, "reviews", named="", tokenizer=tmp_path)
    assert port is None
    (ids, sent), (mask, ones) = reading(TEXT)
    assert (ids, mask) == listed
    assert sent.tolist() == [tokenizer(TEXT)["input_ids"]]
    assert ones.tolist() == [[1] * sent.shape[1]]
    written = write_input(ids, sent)
    assert (list(written.shape), list(written.contents.int_contents)) == ([1, sent.shape[1]], sent[0].tolist())


def test_an_input_with_our_name_is_it_whatever_else_is_listed(tmp_path: Path) -> None:
    """Positions are ids by their name, and no ids of the text; no order of the list makes them so."""
    make_tokenizer("bert").save_pretrained(tmp_path)
    ids, positions, types = (
        Port(name=name, datatype="INT64", rank=2) for name in ("input_ids", "position_ids", "token_type_ids")
    )
    for listed in ((ids, positions, types), (positions, types, ids)):
        _, reading = ask_of(FakePeer([], listed=listed), "m", named="", tokenizer=tmp_path)
        assert {port.name for port, _ in reading(TEXT)} == {"input_ids", "token_type_ids"}


def test_the_input_for_texts_is_found() -> None:
    """The one called text, else the first of its type, else the one that was named; a server may list none."""
    other = Port(name="args", datatype="BYTES", rank=2)
    assert ask_of(FakePeer([], listed=(other, TEXT_PORT)), "m", named="", tokenizer=None) == (TEXT_PORT, None)
    assert ask_of(FakePeer([], listed=(other,)), "m", named="", tokenizer=None) == (other, None)
    assert ask_of(FakePeer([], listed=()), "m", named="x", tokenizer=None)[0] == Port(
        name="x", datatype="BYTES", rank=1
    )
    assert list(write_input(other, [b"a"]).shape) == [1, 1]


def test_raw_and_typed_answers_are_read_alike() -> None:
    """Triton answers raw, others in typed fields; what is not of its shape is an error."""
    typed = oip.ModelInferResponse()
    raw = oip.ModelInferResponse()
    for reply in (typed, raw):
        reply.outputs.add(name="logits", datatype="FP32", shape=[1, 3])
        reply.outputs.add(name="half", datatype="FP16", shape=[1])
        reply.outputs.add(name="label", datatype="BYTES", shape=[1])
        reply.outputs.add(name="odd", datatype="BF16", shape=[1])
    raw.raw_output_contents.extend(
        [np.array(LOGITS, "<f4").tobytes(), np.array([0.5], "<f2").tobytes(), b"\4\0\0\0good", b"\0\0"]
    )
    found = read_outputs(raw)
    assert np.asarray(found["logits"]).tolist() == [list(LOGITS)]
    assert np.asarray(found["half"]).tolist() == [0.5]
    assert found["label"] == [b"good"]
    assert "odd" not in found
    del typed.outputs[1]
    typed.outputs[0].contents.fp32_contents.extend(LOGITS)
    typed.outputs[1].contents.bytes_contents.append(b"good")
    assert np.asarray(read_outputs(typed)["logits"]).tolist() == [list(LOGITS)]
    assert read_outputs(typed)["label"] == [b"good"]
    for spoilt in (b"", b"\0" * 11):
        raw.raw_output_contents[0] = spoilt
        with pytest.raises(AnswerError, match="'logits' is not of the shape"):
            read_outputs(raw)
    raw.raw_output_contents[0] = bytes(12)
    for spoilt in (b"\xff\xff\xff\xffgood", b"\4\0"):
        raw.raw_output_contents[2] = spoilt
        with pytest.raises(AnswerError, match="'label' is not of the shape"):
            read_outputs(raw)


@contextmanager
def serving(answers: dict[str, tuple[int, object]]) -> Iterator[tuple[str, list[Any]]]:
    """A server of such answers by path, and what it was sent."""
    sent: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            sent.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self._answer()

        def _answer(self) -> None:
            status, body = answers[self.path]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", sent
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_same_protocol_over_http() -> None:
    """Names with odd characters, numbers with their shape, texts; what goes wrong has its code."""
    answers: dict[str, tuple[int, object]] = {
        "/v2/models/a%20b": (200, {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}]}),
        "/v2/models/a%20b/infer": (
            200,
            {
                "outputs": [
                    {"name": "p", "datatype": "FP32", "shape": [1, 3], "data": [0.25, 0.25, 0.5]},
                    {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["good"]},
                    {"name": "odd", "datatype": "BF16", "shape": [1], "data": [1]},
                ]
            },
        ),
        "/v2/models/gone": (404, {}),
        "/v2/models/odd/infer": (200, {"outputs": [{"name": "p"}]}),
        "/v2/models/text/infer": (200, b"<html>"),
    }
    with serving(answers) as (target, sent):
        peer = HttpPeer(target=target, timeout=10)
        assert peer.inputs("a b") == (TEXT_PORT,)
        found = peer.infer("a b", [(TEXT_PORT, ["é".encode()])])
        assert sent == [{"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["é"]}]}]
        assert np.asarray(found["p"]).tolist() == [[0.25, 0.25, 0.5]]
        assert found["label"] == [b"good"]
        with pytest.raises(CallFailed) as failure:
            peer.inputs("gone")
        assert failure.value.code == "HTTP 404"
        with pytest.raises(AnswerError, match="no outputs of the protocol's"):
            peer.infer("odd", [(TEXT_PORT, [b"x"])])
        with pytest.raises(AnswerError, match="no JSON"):
            peer.infer("text", [(TEXT_PORT, [b"x"])])
    with pytest.raises(CallFailed, match="nothing answers"):
        HttpPeer(target=target, timeout=10).inputs("gone")


@pytest.mark.parametrize(
    "told",
    [
        [],
        7,
        {"inputs": 7},
        {"inputs": [7]},
        {"inputs": [{"name": "x"}]},
        {"inputs": [{"name": 7, "datatype": "BYTES", "shape": [1]}]},
        {"inputs": [{"name": "x", "datatype": "BYTES", "shape": None}]},
    ],
)
def test_a_server_of_something_else_is_no_peer(told: object) -> None:
    """Whatever JSON it answers with."""
    with serving({"/v2/models/m": (200, told)}) as (target, _), pytest.raises(AnswerError, match="lists no inputs"):
        HttpPeer(target=target, timeout=10).inputs("m")


@pytest.mark.parametrize(
    "output",
    [
        {"name": 7, "datatype": "FP32", "shape": [1], "data": [0.5]},
        {"name": "x", "datatype": "INT32", "shape": [1], "data": [1 << 70]},
        {"name": "x", "datatype": "FP32", "shape": [2], "data": [0.5]},
    ],
)
def test_outputs_of_something_else_are_none(output: object) -> None:
    """No text for a name, a number beyond its type, another shape than it says."""
    with (
        serving({"/v2/models/m/infer": (200, {"outputs": [output]})}) as (target, _),
        pytest.raises(AnswerError, match="no outputs of the protocol's"),
    ):
        HttpPeer(target=target, timeout=10).infer("m", [(TEXT_PORT, [b"x"])])


def test_json_without_end_is_none() -> None:
    """However deep."""
    with serving({"/v2/models/m": (200, b"[" * 100_000)}) as (target, _), pytest.raises(AnswerError, match="no JSON"):
        HttpPeer(target=target, timeout=10).inputs("m")
