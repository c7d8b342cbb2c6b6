"""Labels of words through the real client: a small BERT that has learnt from real sentences which number a verb has."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

from rollcall.__main__ import main
from rollcall.console.app import console
from rollcall.console.commands import connecting
from rollcall.console.options import ConsoleOptions
from rollcall.demo.server import ServerProcess, server_process
from rollcall.oip import open_inference_pb2 as oip
from rollcall.oip import open_inference_pb2_grpc
from rollcall_client import (
    AttentionSelection,
    AuditClient,
    CheckKind,
    CheckLevel,
    CheckOutcome,
    Client,
    Explanation,
    Flag,
    InvalidArgument,
    QuerySelection,
    Question,
    ReplayOutcome,
    Task,
    recorded,
)
from rollcall_client.html import render_page
from rollcall_client.terminal import render
from tests.console import Somebody
from tests.taggers import LABELS, Tagged, make_tagger, sentences
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
FILE = Path(os.environ.get("SHARED", ROOT / ".." / "shared")) / "data" / "agreement" / "linzen_test.tsv"
ASKED = 40
CALL_SECONDS = 120.0

pytestmark = pytest.mark.skipif(
    not FILE.is_file(),
    reason=f"NO MODEL OF WORDS IS TRIED: {FILE} is not there; SHARED names the directory above data/",
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A server with the model, the model's directory, and sentences that it has never seen."""

    process: ServerProcess
    directory: Path
    sentences: list[Tagged]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """Train on all sentences but a few, and serve the model."""
    found = sentences(FILE)
    random.Random(0).shuffle(found)  # noqa: S311 - which are held back
    directory = make_tagger(found[ASKED:], tmp_path_factory.mktemp("numbers"))
    with server_process("--model", f"numbers={directory}", environment={}) as process:
        yield Asked(process=process, directory=directory, sentences=found[:ASKED])


@pytest.fixture
def client(asked: Asked) -> Iterator[Client]:
    """Talk to the server."""
    with Client(asked.process.target, timeout=CALL_SECONDS) as opened:
        yield opened


@pytest.fixture(scope="module")
def explained(asked: Asked) -> list[Explanation]:
    """An explanation of each sentence's verb, with every map that the model has."""
    with Client(asked.process.target, timeout=CALL_SECONDS) as client:
        maps = client.model().maps
        return [client.explain(each.text, character=each.character, maps=maps) for each in asked.sentences]


def test_the_model_says_what_it_decides(client: Client) -> None:
    """It labels words, reads one text, has every map, and its flags are experimental until somebody calibrates it."""
    model = client.model("numbers")
    assert model.task is Task.TOKEN_LABEL
    assert model.labels == LABELS
    assert (model.text_pairs, model.experimental, model.explainable) == (False, True, True)
    assert model.missing_maps == ()


def test_answers_are_the_stock_models(asked: Asked, client: Client, explained: list[Explanation]) -> None:
    """What is predicted, and explained, is what the library's own model says of the verb's first piece."""
    tokenizer = AutoTokenizer.from_pretrained(asked.directory)
    stock = AutoModelForTokenClassification.from_pretrained(asked.directory)
    for sentence, answer in zip(asked.sentences, explained, strict=True):
        batch = tokenizer(sentence.text, return_tensors="pt")
        place = batch.char_to_token(sentence.character)
        with torch.no_grad():
            chances = stock(**batch).logits[0, place].softmax(dim=-1).numpy()
        np.testing.assert_allclose(answer.prediction.probabilities, chances, atol=1e-5)
        alone = client.predict(sentence.text, character=sentence.character)
        np.testing.assert_allclose(alone.prediction.probabilities, chances, atol=1e-5)
        assert answer.word is not None
        assert (answer.word, answer.word.char_start) == (alone.word, sentence.character)
        assert answer.word.token_start == place
        assert answer.asked is not None
        assert answer.units[answer.asked] == answer.word


def test_the_label_fits_the_subject(explained: list[Explanation], asked: Asked) -> None:
    """It is right more often than the commoner number alone would be."""
    right = [e.prediction.predicted == s.label for e, s in zip(explained, asked.sentences, strict=True)]
    assert sum(right) > max(sum(s.label == label for s in asked.sentences) for label in LABELS)


def test_every_map_has_its_flag(explained: list[Explanation]) -> None:
    """Each map comes with a verdict, some are decided, and the instrument is live in every answer."""
    flags = [each.verdict.flag for answer in explained for each in answer.attributions]
    assert {Flag.FAITHFUL, Flag.UNFAITHFUL} <= set(flags)
    assert Flag.NOT_CHECKED not in flags
    kinds: dict[CheckKind, set[CheckOutcome]] = {CheckKind.INSTRUMENT: set(), CheckKind.REWIRING: set()}
    for check in (check for e in explained for each in e.attributions for check in each.verdict.checks):
        if check.kind in kinds:
            kinds[check.kind].add(check.outcome)
    assert kinds[CheckKind.INSTRUMENT] == {CheckOutcome.SUPPORTS}
    assert CheckOutcome.ERRORED not in kinds[CheckKind.REWIRING]


def test_two_words_of_a_text_are_two_questions(client: Client, asked: Asked) -> None:
    """Asked together, as a batch of one text's words, each has the answer that it has alone."""
    text = asked.sentences[0].text
    questions = [Question(text=text, word=number) for number in range(4)]
    together = {each.index: each.explanation for each in client.explain_many(questions)}
    seeds = set()
    for number in range(4):
        alone, found = client.explain(text, word=number), together[number]
        assert found
        assert found.word == alone.word
        assert (found.prediction, found.verdict) == (alone.prediction, alone.verdict)
        assert found.attributions == alone.attributions
        seeds.add(found.seed)
    assert len(seeds) == len(questions)


def test_views_show_which_word_is_asked_about(explained: list[Explanation]) -> None:
    """At a terminal and in a browser the word is named, and marked in its text."""
    answer = explained[0]
    assert answer.word is not None
    lines = render(answer, color=False, width=100)
    assert f"Label of the word \N{LEFT DOUBLE QUOTATION MARK}{answer.word.text}" in lines
    assert f"\N{RIGHTWARDS ARROW}{answer.word.text}" in lines
    page = render_page([answer])
    assert 'title="the word whose label is asked for"' in page
    assert "underlined below" in page


def test_records_are_about_the_same_word(asked: Asked, tmp_path: Path) -> None:
    """What is replayed, and explained afterwards, is the label of the word that was asked about, not of another one."""
    settings = {
        "ROLLCALL_AUDIT_DIRECTORY": str(tmp_path / "log"),
        "ROLLCALL_AUDIT_MODE": "full",
        "ROLLCALL_AUDIT_CHECKPOINT_SECONDS": "0.2",
        "ROLLCALL_AUTH_DANGEROUSLY_TRUST_ANYONE": "true",
    }
    sentence = asked.sentences[1]
    with (
        server_process("--model", f"numbers={asked.directory}", environment=settings) as process,
        AuditClient(process.target, timeout=CALL_SECONDS) as client,
    ):
        answer = client.explain(sentence.text, character=sentence.character)
        decided = client.predict(sentence.text, character=sentence.character, decision_ref="a decision")
        ids = [each.audit.record_id for each in (answer, decided) if each.audit]
        wait_until(lambda: len(client.search().records) == len(ids))
        for record_id in ids:
            assert client.replay(record_id, "a check").outcome is ReplayOutcome.EXACT
        assert client.replay(ids[0], "a check", text=sentence.text).outcome is ReplayOutcome.EXACT
        afterwards = client.explain_record(ids[1], "an objection")
        assert (afterwards.word, afterwards.prediction) == (answer.word, answer.prediction)
        assert afterwards.attributions == answer.attributions
        record = client.record(ids[0], parts=("input", "scores"), reason="a check")
        shown = recorded.explanation(record)
        assert (shown.word, shown.asked) == (answer.word, answer.asked)
        assert 'title="the word whose label is asked for"' in render_page([shown])


def test_answers_about_words_are_not_compared(asked: Asked, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What compares servers sends whole texts: it says so before it asks anything."""
    (tmp_path / "texts.txt").write_text("a text\n")
    where = ["--ours", asked.process.target, "--target", "127.0.0.1:1", "--data", str(tmp_path / "texts.txt")]
    assert main(["models", "compare", "numbers", *where]) == 2
    assert "numbers labels words" in capsys.readouterr().err


def test_the_console_asks_about_a_word(asked: Asked, tmp_path: Path) -> None:
    """Whoever tries a text names its word by number; without one the service's refusal is shown."""
    token, text = "a-token-of-ada", asked.sentences[0].text
    callers = tmp_path / "callers.toml"
    callers.write_text(
        f'[ada]\nroles = ["caller", "reviewer"]\ntoken_sha256 = "{sha256(token.encode()).hexdigest()}"\n'
    )
    settings = {"ROLLCALL_AUTH_CALLERS": str(callers), "ROLLCALL_AUDIT_DIRECTORY": str(tmp_path / "log")}
    with server_process("--model", f"numbers={asked.directory}", environment=settings) as process:
        ada = Somebody(console(ConsoleOptions(target=process.target), connecting(process.target)), token)
        page = ada.look("/try")
        tried = ada.send(page, "/try", text=text, word="2")
        assert f"Label of the word \N{LEFT DOUBLE QUOTATION MARK}{text.split()[2]}" in tried.text
        refused = ada.send(page, "/try", text=text, word="")
        assert "text.word" in refused.text


def test_the_open_inference_protocol_asks_about_words(asked: Asked, client: Client) -> None:
    """A tensor of numbers beside the texts names each one's word; without it the request is refused by that name."""
    texts = [each.text for each in asked.sentences[:3]]
    request = oip.ModelInferRequest(model_name="numbers")
    text = request.inputs.add(name="text", datatype="BYTES", shape=[len(texts)])
    text.contents.bytes_contents.extend(one.encode() for one in texts)
    with grpc.insecure_channel(asked.process.target) as channel:
        stub: Any = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            stub.ModelInfer(request, timeout=CALL_SECONDS)
        assert "word[0]: required" in str(refused.value.details())
        word = request.inputs.add(name="word", datatype="INT32", shape=[len(texts)])
        word.contents.int_contents.extend(range(len(texts)))
        request.outputs.add(name="probabilities")
        request.outputs.add(name="rollcall.report")
        reply = stub.ModelInfer(request, timeout=CALL_SECONDS)
    chances, reports = (one.contents for one in reply.outputs[:2])
    for number, one in enumerate(texts):
        native = client.explain(one, word=number)
        found = chances.fp32_contents[len(LABELS) * number : len(LABELS) * (number + 1)]
        np.testing.assert_allclose(found, native.prediction.probabilities, atol=1e-6)
        report = json.loads(reports.bytes_contents[number])
        assert native.word is not None
        assert report["word"]["text"] == native.word.text
        scores = {each["map"]: each["scores"] for each in report["attributions"]}
        assert scores == {f"MAP_KIND_{each.map.name}": list(each.scores) for each in native.attributions}


def test_a_word_is_looked_at_closely(client: Client, asked: Asked) -> None:
    """Thorough checks take words out, silence heads and search an adversary, in a stream: none of them crashes."""
    first = asked.sentences[0]
    selection = AttentionSelection(queries=QuerySelection.READOUT)
    answer = client.explain_stream(
        first.text, character=first.character, level=CheckLevel.THOROUGH, attention=selection, progress=lambda _: None
    )
    assert answer.word is not None
    assert answer.attention is not None
    assert answer.attention.readout == answer.word.token_start
    assert not [check for check in answer.verdict.checks if check.outcome is CheckOutcome.ERRORED]


@pytest.mark.parametrize(
    ("question", "field"),
    [
        ({}, "text.word"),
        ({"word": 400}, "text.word.index"),
        ({"word": -1}, "text.word.index"),
        ({"character": 3}, "text.word.character"),
        ({"word": 0, "text_pair": "another"}, "text.text_pair"),
    ],
)
def test_what_names_no_word_is_refused(client: Client, question: dict[str, Any], field: str) -> None:
    """The field is named, in predictions and explanations alike."""
    for call in (client.explain, client.predict):
        with pytest.raises(InvalidArgument) as refused:
            call("the dogs be here", **question)
        assert field in dict(refused.value.violations)
