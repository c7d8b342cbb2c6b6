"""One attention layer between an encoder of words and a linear classifier: the model of the papers of 2019.

Additive attention (Bahdanau et al. 2015) without a query: a = softmax(v . tanh(W h + b)) over the words of the text;
the answer is linear in the sum of a_i h_i (Jain and Wallace 2019, section 2.2). Special tokens have no weight.

Shapes: B batch, T token, E width of the embeddings, S width of the states, C class.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rollcall.training.pieces import CLS_ID, PAD_ID, SEP_ID

Tensor = torch.Tensor


class EncoderKind(Enum):
    """What turns embeddings into states."""

    LSTM = "lstm"
    """Both directions: a state knows of the whole text."""
    CONVOLUTION = "convolution"
    """Windows of three and five words."""
    PROJECTION = "projection"
    """A tanh of each word by itself: a state knows of one word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkShape:
    """Size of a network; `width` is that of a state."""

    words: int
    classes: int
    encoder: EncoderKind = EncoderKind.LSTM
    embedding: int = 128
    width: int = 256


class Network(nn.Module):
    """Parts in the order in which they run: `embed`, `states`, `scores`, `weights`, `answer`."""

    def __init__(self, shape: NetworkShape) -> None:
        """Begin with random weights, drawn from torch's generator."""
        super().__init__()
        self.shape = shape
        half, width = shape.width // 2, shape.width
        self.embedding = nn.Embedding(shape.words, shape.embedding, padding_idx=PAD_ID)
        self.encoder: nn.ModuleDict = nn.ModuleDict()
        match shape.encoder:
            case EncoderKind.LSTM:
                self.encoder["lstm"] = nn.LSTM(shape.embedding, half, batch_first=True, bidirectional=True)
            case EncoderKind.CONVOLUTION:
                self.encoder["three"] = nn.Conv1d(shape.embedding, half, 3, padding=1)
                self.encoder["five"] = nn.Conv1d(shape.embedding, half, 5, padding=2)
            case EncoderKind.PROJECTION:
                self.encoder["linear"] = nn.Linear(shape.embedding, width)
        self.inner = nn.Linear(width, half)
        self.outer = nn.Linear(half, 1, bias=False)
        self.classifier = nn.Linear(width, shape.classes)

    def attention_parameters(self) -> list[nn.Parameter]:
        """Those of the attention layer alone."""
        return [*self.inner.parameters(), *self.outer.parameters()]

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings [B, T, E] of `ids` [B, T]."""
        found: Tensor = self.embedding(ids)
        return found

    def states(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """States [B, T, S] of embeddings [B, T, E] of texts of `lengths` [B] tokens, each at least 1."""
        match self.shape.encoder:
            case EncoderKind.LSTM:
                packed = pack_padded_sequence(embedded, lengths.cpu(), batch_first=True, enforce_sorted=False)
                states: Tensor
                states, _ = pad_packed_sequence(
                    self.encoder["lstm"](packed)[0], batch_first=True, total_length=embedded.shape[1]
                )
                return states
            case EncoderKind.CONVOLUTION:
                inside = torch.arange(embedded.shape[1], device=embedded.device) < lengths[:, None]
                turned = (embedded * inside.unsqueeze(-1)).transpose(1, 2)
                return (
                    torch.cat([self.encoder[name](turned) for name in ("three", "five")], dim=1).transpose(1, 2).relu()
                )
            case EncoderKind.PROJECTION:
                projected: Tensor = self.encoder["linear"](embedded)
                return projected.tanh()

    def scores(self, states: Tensor) -> Tensor:
        """Attention logits [B, T]."""
        found: Tensor = self.outer(self.inner(states).tanh())
        return found.squeeze(-1)

    def answer(self, weights: Tensor, states: Tensor) -> Tensor:
        """Logits [B, C] from weights [B, T] and states [B, T, S]."""
        found: Tensor = self.classifier(context(weights, states))
        return found


def context(weights: Tensor, states: Tensor) -> Tensor:
    """The weighted sum [B, S] of states [B, T, S]."""
    return (weights.unsqueeze(1) @ states).squeeze(1)


def words_of(ids: Tensor) -> Tensor:
    """Which of `ids` [B, T] are words, masked and unknown ones among them: what attention is over."""
    return (ids != PAD_ID) & (ids != CLS_ID) & (ids != SEP_ID)


def lengths_of(ids: Tensor) -> Tensor:
    """Tokens [B] of each text, special ones included."""
    return (ids != PAD_ID).sum(dim=1)


def weights_over(scores: Tensor, words: Tensor) -> Tensor:
    """Softmax [B, T] of scores [B, T] over `words` [B, T]; all 0 where a text has none."""
    hidden = scores.masked_fill(~words, torch.finfo(scores.dtype).min)
    return hidden.softmax(dim=1) * words


def uniform_over(words: Tensor) -> Tensor:
    """Equal weight [B, T] on each of `words` [B, T]."""
    return words / words.sum(dim=1, keepdim=True).clamp(min=1)
