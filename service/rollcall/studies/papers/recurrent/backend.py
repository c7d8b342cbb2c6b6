"""A recurrent classifier as a backend of the engine: its checks, searches and operators run on it as on a transformer.

To the engine it is a model of one layer with one head, whose read-out query is the only one. Edits of attention are
exact: the states do not depend on it, so that rows that read the same tokens share them.

Shapes: B batch, P point, T token, K key, E width of the embeddings, S width of the states, C class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch

from rollcall.backends.base import (
    AttentionReductions,
    BatchOutput,
    BatchRow,
    BiasedAttention,
    Capture,
    CaptureRequest,
    Decomposition,
    PathGradients,
    Shape,
    variants,
)
from rollcall.backends.encoding import Encoder
from rollcall.backends.sharing import synthetic_input
from rollcall.backends.staging import stage_rows
from rollcall.domain.decision import Decision, Task
from rollcall.domain.errors import BackendError
from rollcall.domain.inputs import Encoding, ModelInput
from rollcall.domain.maps import MapKind
from rollcall.domain.model import SelfTest
from rollcall.domain.rows import AttentionEdit, Row
from rollcall.domain.seeds import random_permutations
from rollcall.studies.papers.recurrent.network import (
    Network,
    context,
    lengths_of,
    uniform_over,
    weights_over,
    words_of,
)

Tensor = torch.Tensor
OBSERVED: Final = frozenset({AttentionEdit.PERMUTED, AttentionEdit.BIASED})
"""Edits whose rows have their maps recomputed."""
UNIFORM_UP_TO: Final = 1e-6


@dataclass(slots=True, kw_only=True)
class RecurrentBackend:
    """Implements `rollcall.backends.base.Differentiable`, but for decompositions. `uniform`: attention is frozen so."""

    network: Network = field(repr=False)
    encoder: Encoder = field(repr=False)
    uniform: bool = False
    shape: Shape = field(init=False)
    """One layer with one head."""
    name: str = "recurrent"
    device: str = "cpu"
    dtype: str = "float32"
    task: Task = Task.SINGLE_LABEL
    readout: int = 0
    noise: float = 1e-6
    maps: tuple[MapKind, ...] = (
        MapKind.RAW_ATTENTION,
        MapKind.INPUT_X_GRADIENT,
        MapKind.INTEGRATED_GRADIENTS,
        MapKind.LEAVE_ONE_OUT,
        MapKind.EFFECT,
    )
    is_counted: bool = False
    batch_is_neutral: bool = False
    _searched: tuple[Encoding, Tensor, Tensor] | None = field(default=None, repr=False)
    """The input that was last run under biases, with its states and words: a search runs one input many times."""

    def __post_init__(self) -> None:
        """Freeze the network."""
        self.network.train(mode=False).requires_grad_(requires_grad=False)
        own = self.network.shape
        self.shape = Shape(layers=1, heads=1, width=own.width, classes=own.classes, max_tokens=self.encoder.max_tokens)

    def encode(self, model_input: ModelInput) -> Encoding:
        """Tokenise and find the units; raises InvalidInput."""
        return self.encoder.encode(model_input)

    def predict(self, rows: Sequence[BatchRow]) -> Tensor:
        """Logits [B, C] of untouched inputs."""
        return self.run(rows).logits

    @torch.no_grad()
    def run(self, rows: Sequence[BatchRow]) -> BatchOutput:
        """Run rows as one batch."""
        ids, visible = self._staged(rows)
        states = self._states(ids)
        words = words_of(ids) & visible
        weights = self._weights(states, words, rows)
        observed = tuple(i for i, each in enumerate(rows) if each.row.edit in OBSERVED)
        return BatchOutput(
            logits=self.network.answer(weights, states),
            readouts=context(weights, states) if any(each.row.readout for each in rows) else None,
            permuted=_reductions(weights[list(observed)]) if observed else None,
            permuted_rows=observed,
        )

    @torch.no_grad()
    def capture(self, encoding: Encoding, request: CaptureRequest) -> Capture:
        """Run the untouched input once."""
        rows = variants(encoding, [Row()], request.options)
        ids, visible = self._staged(rows)
        states, words = self._states(ids), words_of(ids) & visible
        weights = self._weights(states, words, rows)
        logits = self.network.answer(weights, states)[0]
        return Capture(
            logits=logits,
            state=context(weights, states)[0],
            decision=request.decide(logits.double().numpy()),
            attention=_reductions(weights),
            norms=None,
            gradients=None,
            selected=None,
            uniform=bool((weights - uniform_over(words)).abs().max() <= UNIFORM_UP_TO),
        )

    def path_gradients(self, encoding: Encoding, decision: Decision, points: Sequence[float]) -> PathGradients:
        """Differentiate at the embeddings, through states and attention alike."""
        return self._gradients(encoding, decision, points, through_attention=True)

    def detached_gradients(self, encoding: Encoding, decision: Decision) -> Tensor:
        """Signed gradient times embedding [T] with the attention weights held fast (Jain and Wallace 2019, alg. 1)."""
        return self._gradients(encoding, decision, (1.0,), through_attention=False).at[0]

    def biased(self, encoding: Encoding, bias: Tensor) -> BiasedAttention:
        """Run the input under biases [B, 1, 1, K] of the attention logits, to be differentiated by them."""
        if self._searched is None or self._searched[0] is not encoding:
            ids, visible = self._staged(variants(encoding, [Row()]))
            self._searched = (encoding, self._states(ids), words_of(ids) & visible)
        _, states, words = self._searched
        with torch.enable_grad():
            weights = weights_over(self._scores(states, words) + bias[:, 0, 0], words)[:, None, None]
            logits = self.network.answer(weights[:, 0, 0], states.expand(len(bias), -1, -1))
        return BiasedAttention(logits=logits, probabilities=(weights,))

    def decompose(self, encoding: Encoding, decision: Decision) -> Decomposition:
        """Not offered by `maps`; raises BackendError."""
        del encoding, decision
        message = "a recurrent model is not decomposed"
        raise BackendError(message)

    def synthetic(self, length: int, seed: int = 0) -> Encoding:
        """An input of random ids."""
        return synthetic_input(length, self.network.shape.words, self.encoder.special, seed)

    def self_test(self) -> tuple[SelfTest, ...]:
        """None: the edits are no hooks, and unit tests hold them against plain formulas."""
        return ()

    def _staged(self, rows: Sequence[BatchRow]) -> tuple[Tensor, Tensor]:
        """Ids [B, T], and which of them attention may see."""
        ids, visible, _ = torch.from_numpy(stage_rows(rows, max(each.encoding.length for each in rows), self.encoder))
        return ids, visible.bool()

    def _states(self, ids: Tensor) -> Tensor:
        """States [B, T, S], computed once for rows of the same ids."""
        distinct, places = torch.unique(ids, dim=0, return_inverse=True)
        return self.network.states(self.network.embed(distinct), lengths_of(distinct))[places]

    def _scores(self, states: Tensor, words: Tensor) -> Tensor:
        return torch.zeros_like(words, dtype=states.dtype) if self.uniform else self.network.scores(states)

    def _weights(self, states: Tensor, words: Tensor, rows: Sequence[BatchRow]) -> Tensor:
        """Weights [B, T] under each row's edit."""
        weights = weights_over(self._scores(states, words), words)
        for i, each in enumerate(rows):
            if each.row.layers is None or 0 in each.row.layers:
                weights[i] = edited(weights[i], words[i], each.encoding, each.row)
        return weights

    def _gradients(
        self, encoding: Encoding, decision: Decision, points: Sequence[float], *, through_attention: bool
    ) -> PathGradients:
        everything = np.ones(len(encoding.units), dtype=np.bool_)
        ids, visible = self._staged(variants(encoding, [Row()]))
        masked, _ = self._staged(variants(encoding, [Row(removed=everything)]))
        own, baseline = self.network.embed(ids[0]), self.network.embed(masked[0])
        fractions = torch.tensor(points, dtype=own.dtype)[:, None, None]
        embedded = (baseline + fractions * (own - baseline)).requires_grad_()
        words = (words_of(ids) & visible).expand(len(points), -1)
        with torch.enable_grad():
            states = self.network.states(embedded, lengths_of(ids).expand(len(points)))
            weights = weights_over(self._scores(states, words), words)
            logits = self.network.answer(weights if through_attention else weights.detach(), states)
        directions = np.stack([decision.gradient(row) for row in logits.detach().double().numpy()])
        (gradients,) = torch.autograd.grad(logits, embedded, torch.from_numpy(directions).to(logits))
        return PathGradients(
            along=(gradients * (own - baseline)).sum(dim=-1), at=(gradients * embedded.detach()).sum(dim=-1)
        )


def edited(weights: Tensor, words: Tensor, encoding: Encoding, row: Row) -> Tensor:
    """One row's weights [T] over `words` [T] after its edit; permutations are among the words."""
    match row.edit:
        case AttentionEdit.UNIFORM:
            return uniform_over(words[None])[0]
        case AttentionEdit.PERMUTED:
            places = words.nonzero()[:, 0]
            order = random_permutations(row.seed, "keys", (len(places),))
            moved = weights.clone()
            moved[places] = weights[places[torch.from_numpy(order)]]
            return moved
        case AttentionEdit.BIASED if row.bias is not None:
            bias = torch.zeros_like(weights, dtype=torch.float64)
            bias[: encoding.length] = torch.from_numpy(row.bias[0, 0])
            return _renormalised(weights.double().log() + bias, words).to(weights)
        case AttentionEdit.KNOCKED_OUT | AttentionEdit.CUT if row.units is not None:
            cut = torch.zeros_like(words)
            cut[: encoding.length] = torch.from_numpy(encoding.tokens_of(row.units))
            left = weights.masked_fill(cut, 0.0)
            renormalise = row.edit is AttentionEdit.KNOCKED_OUT and bool(left.sum() > 0)
            return left / left.sum() if renormalise else left
        case AttentionEdit.SILENCED:
            return weights * 0
        case _:
            return weights


def _renormalised(logits: Tensor, words: Tensor) -> Tensor:
    return weights_over(logits[None], words[None])[0]


def _reductions(weights: Tensor) -> AttentionReductions:
    """Of weights [B, K]: one layer, one head, one query."""
    return AttentionReductions(fused=(weights[:, None],), readout=weights[:, None, None])
