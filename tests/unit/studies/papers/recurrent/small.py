"""A recurrent model small enough for its formulas to be written beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

from rollcall.backends.encoding import Encoder
from rollcall.domain.decision import Decision, Task
from rollcall.domain.inputs import TextInput
from rollcall.domain.maps import Floats
from rollcall.models.loading import LoadedModel
from rollcall.studies.papers.recurrent.backend import RecurrentBackend
from rollcall.studies.papers.recurrent.network import EncoderKind, Network, NetworkShape
from rollcall.training.pieces import SPECIAL_PIECES, piece_tokenizer

WORDS = ("good", "bad", "film", "plot", "very", "not")
TEXT = TextInput(text="very good film not bad")
DECISION = Decision(task=Task.SINGLE_LABEL, target=1)


def backend(kind: EncoderKind = EncoderKind.PROJECTION, *, uniform: bool = False) -> RecurrentBackend:
    """One with random weights, in double precision, whose attention is far from uniform."""
    tokenizer = piece_tokenizer([*SPECIAL_PIECES, *WORDS], positions=16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = Network(NetworkShape(words=len(tokenizer), classes=2, encoder=kind, embedding=6, width=8)).double()
        with torch.no_grad():
            network.outer.weight.mul_(20)
    encoder = Encoder(tokenizer=tokenizer, max_tokens=16, max_units=64, vocabulary=len(tokenizer))
    return RecurrentBackend(network=network, encoder=encoder, uniform=uniform)


def written(words: Mapping[str, tuple[float, float]], *, bias: float = 0.0) -> RecurrentBackend:
    """One whose every word has a value in (-1, 1) and an attention logit in (-7, 7), both 0 where none are given.

    The margin of the second class is `bias` and 10 times the mean value under the attention.
    """
    found = backend()
    network = found.network
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for word, (value, logit) in words.items():
            states = torch.tensor([value, math.atanh(logit / 10)], dtype=torch.float64)
            network.embedding.weight[len(SPECIAL_PIECES) + WORDS.index(word), :2] = states.atanh()
        network.get_parameter("encoder.linear.weight")[:2, :2] = torch.eye(2)
        network.inner.weight[0, 1] = 1.0
        network.outer.weight[0, 0] = network.classifier.weight[1, 0] = 10.0
        network.classifier.bias[1] = bias
    return found


def parts(found: RecurrentBackend, ids: list[int]) -> tuple[Floats, Floats]:
    """States [n, S] and attention logits [n] of words, by the formula; for PROJECTION, whose states know one word."""
    weights = {name: value.numpy() for name, value in found.network.state_dict().items()}
    embedded = weights["embedding.weight"][ids]
    states = np.tanh(embedded @ weights["encoder.linear.weight"].T + weights["encoder.linear.bias"])
    inner = np.tanh(states @ weights["inner.weight"].T + weights["inner.bias"])
    return states, (inner @ weights["outer.weight"].T)[:, 0]


def softmax(scores: Floats) -> Floats:
    """Of a vector."""
    raised = np.exp(scores - scores.max())
    return np.asarray(raised / raised.sum())


def answer(found: RecurrentBackend, weights: Floats, states: Floats) -> Floats:
    """Logits by the formula."""
    classifier = found.network.classifier
    return np.asarray(classifier.weight.detach().numpy() @ (weights @ states) + classifier.bias.detach().numpy())


def loaded(found: RecurrentBackend) -> LoadedModel:
    """As the engine has it."""
    return LoadedModel(
        backend=found, family="recurrent", labels=("no", "yes"), digest="", self_tests=(), maps=found.maps
    )
