"""BERT classifiers whose weights are written down, so that the truth about their attention is known by construction.

The width is pairs of numbers (x, -x), so that every vector has mean 0; every token's vector has variance 1: the layer
norms leave them alone, up to one factor per position. A quantity that a token carries is the size of one named pair.
There are no positions, no feed-forward part and no biases but the classifier's.

Shapes: E width, V vocabulary, T token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import torch
from transformers import BertConfig, BertForSequenceClassification

from rollcall.training.pieces import CLS_ID, PAD_ID, SEP_ID

Tensor = torch.Tensor
Bert = TypeVar("Bert", bound=BertForSequenceClassification)

EVIDENCE: Final = "evidence"
MARK: Final = "mark"
"""Carried by the classification token alone: what asks with it, asks for that token alone."""
MARK_SIZE: Final = 1.5
LABELS: Final = ("no", "yes")
POSITIONS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Coordinates: one pair of numbers for each name, and one that makes up what a vector lacks of variance 1."""

    names: tuple[str, ...]
    width: int
    """E, a multiple of `heads`; half of it is what the squares of a token's sizes may add up to."""
    heads: int

    @property
    def head_width(self) -> int:
        """Numbers per head."""
        return self.width // self.heads

    def pair(self, name: str, size: float = 1.0) -> Tensor:
        """Vector [E] that is (size, -size) in one pair."""
        vector = torch.zeros(self.width)
        at = 2 * self.names.index(name)
        vector[at], vector[at + 1] = size, -size
        return vector

    def reader(self, name: str) -> Tensor:
        """Vector [E] whose product with a state is the size of one pair in it."""
        return self.pair(name, 0.5)

    def token(self, sizes: Mapping[str, float]) -> Tensor:
        """Embedding [E] of a token that carries these sizes; ValueError where they exceed variance 1."""
        vector = torch.zeros(self.width)
        for name, size in sizes.items():
            vector += self.pair(name, size)
        lacking = self.width / 2 - float(vector.square().sum()) / 2
        if lacking < 0:
            message = "a token carries more than the width holds"
            raise ValueError(message)
        vector[-2], vector[-1] = lacking**0.5, -(lacking**0.5)
        return vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """One head: it asks with `query` for `key`, and moves `value` to `output`; scores are sharpness * query * key.

    Each is named pairs, one for one; without a query attention is uniform, without a value nothing is moved.
    """

    query: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    sharpness: float = 1.0
    value: tuple[str, ...] = ()
    output: tuple[str, ...] = ()
    gain: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Everything about a model: what each token carries [V], the heads of each layer, and how evidence becomes odds."""

    pairs: Pairs
    tokens: Sequence[Mapping[str, float]]
    layers: Sequence[Sequence[Head]]
    gain: float
    """Log-odds of "yes" per unit of collected evidence, roughly; 0 for a classifier that reads nothing."""
    bias: float = 0.0
    """Log-odds of "yes" without evidence."""
    positions: int = POSITIONS
    """Most tokens of a text."""


def write(kind: type[Bert], design: Design) -> Bert:
    """Write down every weight."""
    pairs = design.pairs
    config = BertConfig(
        vocab_size=len(design.tokens),
        hidden_size=pairs.width,
        num_hidden_layers=len(design.layers),
        num_attention_heads=pairs.heads,
        intermediate_size=1,
        max_position_embeddings=design.positions,
        id2label=dict(enumerate(LABELS)),
        label2id={label: number for number, label in enumerate(LABELS)},
        pad_token_id=PAD_ID,
    )
    model = kind(config)
    weights = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            weight.fill_(1.0 if name.endswith("LayerNorm.weight") else 0.0)
        weights["bert.embeddings.word_embeddings.weight"].copy_(torch.stack([pairs.token(t) for t in design.tokens]))
        for layer, heads in enumerate(design.layers):
            for number, head in enumerate(heads):
                _write_head(weights, f"bert.encoder.layer.{layer}.attention", pairs, number, head)
        weights["bert.pooler.dense.weight"][0] = pairs.reader(EVIDENCE)
        weights["classifier.weight"][:, 0] = torch.tensor([-design.gain / 2, design.gain / 2])
        weights["classifier.bias"].copy_(torch.tensor([-design.bias / 2, design.bias / 2]))
    return model


def _write_head(weights: Mapping[str, Tensor], attention: str, pairs: Pairs, number: int, head: Head) -> None:
    first = number * pairs.head_width
    for row, (query, key) in enumerate(zip(head.query, head.key, strict=True), start=first):
        weights[f"{attention}.self.query.weight"][row] = head.sharpness * pairs.head_width**0.5 * pairs.reader(query)
        weights[f"{attention}.self.key.weight"][row] = pairs.reader(key)
    for row, (value, output) in enumerate(zip(head.value, head.output, strict=True), start=first):
        weights[f"{attention}.self.value.weight"][row] = pairs.reader(value)
        weights[f"{attention}.output.dense.weight"][:, row] = pairs.pair(output, head.gain)


def special(number: int) -> bool:
    """Whether an id is that of the classification or separator token, which collect attention."""
    return number in {CLS_ID, SEP_ID}
