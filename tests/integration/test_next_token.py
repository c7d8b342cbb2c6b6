"""Next-token decisions through the real client: a small Llama that has learnt from real sentences which verb fits."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rollcall.demo.server import ServerProcess, server_process
from rollcall_client import (
    CheckKind,
    CheckLevel,
    CheckOutcome,
    Client,
    Explanation,
    Flag,
    InvalidArgument,
    RemovalOperator,
    Task,
)
from rollcall_client.html import render_page
from tests.decoders import VERBS, Sentence, agreement, make_agreement_model

ROOT = Path(__file__).resolve().parents[2]
FILE = Path(os.environ.get("SHARED", ROOT / ".." / "shared")) / "data" / "agreement" / "linzen_test.tsv"
ASKED = 60
CALL_SECONDS = 120.0

pytestmark = pytest.mark.skipif(
    not FILE.is_file(),
    reason=f"NO LANGUAGE MODEL IS TRIED: {FILE} is not there; SHARED names the directory above data/",
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A server with the model, and sentences that it has never seen."""

    process: ServerProcess
    sentences: list[Sentence]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """Train on all sentences but a few, and serve the model with its two verbs."""
    sentences = agreement(FILE)
    random.Random(0).shuffle(sentences)  # noqa: S311 - which are held back
    directory = make_agreement_model(sentences[ASKED:], tmp_path_factory.mktemp("agreement"))
    settings = {"ROLLCALL_MODELS_VERBS_TOKENS": ",".join(VERBS)}
    with server_process("--model", f"verbs={directory}", environment=settings) as process:
        yield Asked(process=process, sentences=sentences[:ASKED])


@pytest.fixture
def client(asked: Asked) -> Iterator[Client]:
    """Talk to the server."""
    with Client(asked.process.target, timeout=CALL_SECONDS) as opened:
        yield opened


@pytest.fixture(scope="module")
def explained(asked: Asked) -> list[Explanation]:
    """An explanation of each sentence, with the maps that are made of removals beside the usual ones."""
    with Client(asked.process.target, timeout=CALL_SECONDS) as client:
        maps = client.model().maps
        return [client.explain(each.prompt, maps=maps) for each in asked.sentences]


def test_the_model_says_what_it_decides(client: Client) -> None:
    """Its labels are the tokens that the operator named, and all others together."""
    model = client.model("verbs")
    assert model.task is Task.NEXT_TOKEN
    assert model.labels == (*VERBS, "(another token)")
    assert (model.text_pairs, model.experimental) == (False, True)
    ways = (RemovalOperator.MASK_TOKEN, RemovalOperator.HIDDEN_KEYS, RemovalOperator.DELETION)
    assert model.operators == ways


def test_the_decision_is_one_verb_against_the_other(explained: list[Explanation], asked: Asked) -> None:
    """It fits the subject more often than the commoner verb alone would."""
    right = [e.prediction.target == s.verb for e, s in zip(explained, asked.sentences, strict=True)]
    assert sum(right) > max(sum(s.verb == verb for s in asked.sentences) for verb in VERBS)
    for answer in explained:
        chances = dict(zip(answer.prediction.labels, answer.prediction.probabilities, strict=True))
        assert sum(chances.values()) == pytest.approx(1)
        (foil,) = set(VERBS) - {answer.prediction.target}
        assert chances[answer.prediction.target] >= chances[foil]


def test_maps_get_flags_and_the_instrument_is_live(explained: list[Explanation]) -> None:
    """Flags of both kinds are given; rewiring permutes what each position sees, and is asked of maps of attention."""
    flags = {each.verdict.flag for answer in explained for each in answer.attributions}
    assert {Flag.FAITHFUL, Flag.UNFAITHFUL} <= flags
    kinds: dict[CheckKind, set[CheckOutcome]] = {CheckKind.INSTRUMENT: set(), CheckKind.REWIRING: set()}
    for check in (check for e in explained for each in e.attributions for check in each.verdict.checks):
        if check.kind in kinds:
            kinds[check.kind].add(check.outcome)
    assert kinds[CheckKind.INSTRUMENT] == {CheckOutcome.SUPPORTS}
    assert CheckOutcome.ERRORED not in kinds[CheckKind.REWIRING]


def test_words_carry_the_decision(explained: list[Explanation], asked: Asked) -> None:
    """Units are the prompt's words, whatever pieces they fall into, and a page shows them."""
    for answer, sentence in zip(explained, asked.sentences, strict=True):
        assert "".join(unit.text for unit in answer.units) == sentence.prompt.replace(" ", "")
    assert "<mark" in render_page(explained) or not any(e.shown.verdict.flag is Flag.FAITHFUL for e in explained)


def test_a_prompt_is_looked_at_closely(client: Client, asked: Asked) -> None:
    """Thorough checks take words out, silence heads and search an adversary: none of them crashes."""
    answer = client.explain(asked.sentences[0].prompt, level=CheckLevel.THOROUGH)
    assert not [check for check in answer.verdict.checks if check.outcome is CheckOutcome.ERRORED]


def test_a_pair_is_no_prompt(client: Client) -> None:
    """A language model goes on with one text."""
    with pytest.raises(InvalidArgument) as refused:
        client.explain("the dogs", text_pair="the cat")
    assert "text.text_pair" in dict(refused.value.violations)
