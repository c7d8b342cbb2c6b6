"""Models small enough to work out by hand, so that the truth about their attention is known by construction.

All are BERT classifiers of one layer whose weights are written down, in pairs of numbers as
`rollcall.studies.flag.families.algebra` says, with two heads:

- the working head: the classification token attends to each token in proportion to exp(SHARPNESS * salience) and
  collects its evidence; nothing else reaches the answer;
- the idle head: attends as its own saliences say, and its values are zero, so nothing it does reaches anything.

Classification and separator tokens collect most of the attention, so the margin is nearly linear in the words' weights.
A text is any sequence of WORDS; a word's number is its rank by salience.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from transformers import BertForSequenceClassification
from transformers.modeling_outputs import SequenceClassifierOutput

from rollcall.backends.attention_hook import PLAN_ARGUMENT
from rollcall.backends.encoding import Encoder
from rollcall.backends.plan import BatchPlan, ExplicitRows
from rollcall.backends.torch_backend import TorchBackend
from rollcall.domain.decision import Task
from rollcall.models.families import FAMILIES
from rollcall.models.loading import LoadedModel
from rollcall.studies.flag.families.algebra import EVIDENCE as EVIDENCE_PAIR
from rollcall.studies.flag.families.algebra import LABELS, MARK_SIZE, POSITIONS, Bert, Design, Head, Pairs, write
from rollcall.studies.flag.families.algebra import MARK as MARK_PAIR
from rollcall.training.pieces import SPECIAL_PIECES, piece_tokenizer

Tensor = torch.Tensor

PAD, UNK, CLS, SEP, MASK = SPECIAL_PIECES
WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
VOCABULARY = 1000
"""More ids than tokens: the load self-test draws ids at random, and a poisoned token must not be among them."""

SHARPNESS = 3.0
"""The most salient word gets e^3 = 20 times the attention of the least salient one."""
SALIENCE: Mapping[str, float] = {word: rank / (len(WORDS) - 1) for rank, word in enumerate(WORDS)}
EVIDENCE: Mapping[str, float] = dict.fromkeys(WORDS, 1.0)
CLASSIFICATION_SALIENCE = 2.0
"""e^6 = 403: what the words do to the sum of all weights hardly matters."""
GAIN = 60.0
"""Log-odds per unit of collected evidence, roughly."""

_SALIENCE, _IDLE = "salience", "idle"
_PAIRS = Pairs(names=(EVIDENCE_PAIR, _SALIENCE, _IDLE, MARK_PAIR), width=32, heads=2)


class DeafBert(BertForSequenceClassification):  # type: ignore[no-untyped-call]  # its metaclass hook is not annotated
    """Loses the edits of every plan on the way, as a hook does that a compiler has optimised away. Observing works.

    Rows still join and the last layer is still cut down: what is lost is what a row was to be for.
    """

    def forward(self, **arguments: Any) -> Any:  # noqa: ANN401 - passed on whole
        """Run with a plan that has no edits."""
        plan: BatchPlan | None = arguments.get(PLAN_ARGUMENT)
        if plan is not None and self.config.deaf:
            explicit = plan.explicit and ExplicitRows(first=plan.explicit.first)
            arguments[PLAN_ARGUMENT] = replace(plan, edits={}, explicit=explicit)
        return super().forward(**arguments)


class IgnoringBert(BertForSequenceClassification):  # type: ignore[no-untyped-call]  # likewise
    """Answers from the mean evidence of the visible words' embeddings; a full encoder runs beside it, disconnected."""

    def forward(self, **arguments: Any) -> SequenceClassifierOutput:  # noqa: ANN401 - passed on whole
        """Run the encoder for its state alone, and answer without it."""
        encoded = self.bert(**arguments)
        state = encoded.last_hidden_state
        visible = arguments["attention_mask"].to(state.dtype)
        evidence = self.bert.embeddings.word_embeddings(arguments["input_ids"]) @ _PAIRS.reader(EVIDENCE_PAIR)
        margin = GAIN / 20 * ((evidence * visible).sum(dim=1) / visible.sum(dim=1) - self.config.threshold)
        untouched = 0 * state[:, 0, 0]
        logits = torch.stack((-margin, margin + untouched), dim=1) / 2
        return SequenceClassifierOutput(logits=logits, attentions=encoded.attentions)


def selector(*, idle: Mapping[str, float] = SALIENCE, evidence: Mapping[str, float] = EVIDENCE) -> LoadedModel:
    """A model whose answer is what its working head selects: with constant evidence effects follow the attention.

    The idle head attends as `idle` says, by default as the working head does, so that their mean is the truth.
    """
    return _loaded(_written(BertForSequenceClassification, idle=idle, evidence=evidence))


def twins() -> tuple[LoadedModel, LoadedModel]:
    """Two models with the same output for every input whatsoever, whose idle heads attend to opposite ends."""
    return selector(), selector(idle={word: 1 - salience for word, salience in SALIENCE.items()})


def ignoring(evidence: Mapping[str, float]) -> LoadedModel:
    """A model that attends as the selector does, and answers without its attention, from the mean of `evidence`.

    The mean reads the attention mask by itself, so hiding a key is more than a bias in the attention: the one self-test
    that says so is left out, or the model would serve predictions only.
    """
    model = _written(IgnoringBert, idle=SALIENCE, evidence=evidence)
    model.config.threshold = 0.1
    loaded = _loaded(model)
    return replace(loaded, self_tests=tuple(test for test in loaded.self_tests if test.name != "key_bias_is_mask"))


def constant() -> LoadedModel:
    """A selector whose classifier reads nothing: the answer is always "yes"."""
    model = _written(BertForSequenceClassification, idle=SALIENCE, evidence=EVIDENCE)
    model.classifier.weight.data.zero_()
    model.classifier.bias.data.copy_(torch.tensor([0.0, 2.0]))
    return _loaded(model)


def poisoned(token: str) -> LoadedModel:
    """A selector with NaN in the embedding of one token, which the load self-test never meets."""
    model = _written(BertForSequenceClassification, idle=SALIENCE, evidence=EVIDENCE)
    model.bert.embeddings.word_embeddings.weight.data[token_id(token)] = float("nan")
    return _loaded(model)


def deaf() -> LoadedModel:
    """A selector that passed its self-test and whose hooks have been disconnected since."""
    model = _written(DeafBert, idle=SALIENCE, evidence=EVIDENCE)
    model.config.deaf = False
    loaded = _loaded(model)
    model.config.deaf = True
    return loaded


def token_id(token: str) -> int:
    """Id of a word or special token."""
    return (*SPECIAL_PIECES, *WORDS).index(token)


def _written(kind: type[Bert], *, idle: Mapping[str, float], evidence: Mapping[str, float]) -> Bert:
    """Write down every weight; ids without a token repeat the words in turn."""
    pieces = [*SPECIAL_PIECES, *(WORDS[number % len(WORDS)] for number in range(VOCABULARY - len(SPECIAL_PIECES)))]
    carried = []
    for piece in pieces:
        special = CLASSIFICATION_SALIENCE if piece in {CLS, SEP} else 0.0
        carried.append(
            {
                EVIDENCE_PAIR: evidence.get(piece, 0.0),
                _SALIENCE: SALIENCE.get(piece, special),
                _IDLE: idle.get(piece, special),
                MARK_PAIR: MARK_SIZE if piece == CLS else 0.0,
            }
        )
    sharpness = SHARPNESS / MARK_SIZE
    working = Head(
        query=(MARK_PAIR,), key=(_SALIENCE,), sharpness=sharpness, value=(EVIDENCE_PAIR,), output=(EVIDENCE_PAIR,)
    )
    idling = Head(query=(MARK_PAIR,), key=(_IDLE,), sharpness=sharpness)
    return write(kind, Design(pairs=_PAIRS, tokens=carried, layers=((working, idling),), gain=GAIN, bias=-1.0))


def _loaded(model: BertForSequenceClassification) -> LoadedModel:
    """Load as the service does, self-test included."""
    family = FAMILIES["bert"]
    backend = TorchBackend(model, _encoder(), family.layout, task=Task.SINGLE_LABEL, takes_type_ids=True, device="cpu")
    return LoadedModel(
        backend=backend, family=family.title, labels=LABELS, digest="sha256:" + "0" * 64, self_tests=backend.self_test()
    )


def _encoder() -> Encoder:
    tokenizer = piece_tokenizer([*SPECIAL_PIECES, *WORDS], positions=POSITIONS)
    return Encoder(tokenizer=tokenizer, max_tokens=POSITIONS, max_units=POSITIONS, vocabulary=VOCABULARY)
