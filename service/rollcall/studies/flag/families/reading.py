"""What a model says about texts, and the maps that its attention makes: for the facts that prove a member.

Shapes: N texts, B batch, C class, L layer, H head, T token; maps are over content tokens and sum to 1 over them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, TypeAlias

import torch
from transformers import BertForSequenceClassification

from rollcall.attribution.raw_attention import raw_attention
from rollcall.attribution.rollout import attention_rollout
from rollcall.training.batches import padded
from rollcall.training.pieces import MASK_ID, PAD_ID

Tensor = torch.Tensor
BATCH: Final = 64

TokenMap: TypeAlias = Callable[[Sequence[Tensor]], Tensor]
"""From attention [B, H, T, T] per layer to weights per token [B, T]."""


def last_layer(attentions: Sequence[Tensor]) -> Tensor:
    """The read-out token's attention in the last layer, mean over heads [B, T]."""
    return raw_attention(attentions[-1][:, :, 0].unsqueeze(1))


def rollout(attentions: Sequence[Tensor]) -> Tensor:
    """Rollout of the heads' mean to the read-out token [B, T]."""
    return attention_rollout([attention.mean(dim=1) for attention in attentions], readout=0)


TOKEN_MAPS: Final[Mapping[str, TokenMap]] = MappingProxyType({"last_layer": last_layer, "rollout": rollout})
"""By name."""


def attention_modules(model: BertForSequenceClassification) -> list[torch.nn.Module]:
    """Every layer's self-attention, which holds `query`, `key` and `value`."""
    return [layer.get_submodule("attention.self") for layer in model.bert.encoder.layer]


def over_content(weights: Tensor, words: Tensor) -> Tensor:
    """Weights [B, T] with those of special tokens (word 0) dropped and the rest renormalised, as maps are served."""
    kept = weights * (words > 0)
    return kept / kept.sum(dim=1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Texts as the model reads them, one entry a text: token ids, and each token's word from 1, 0 where special.

    `secret` marks the tokens that decide.
    """

    ids: list[list[int]]
    words: list[list[int]]
    labels: list[int]
    secret: list[list[bool]]
    types: list[list[int]] | None = None
    """Of pairs: which of the two texts each token is of."""

    def __len__(self) -> int:
        """N."""
        return len(self.ids)

    def types_of(self, batch: Sequence[int]) -> Tensor | None:
        """Which text the tokens [B, T] of some rows are of; None where all are of one."""
        return None if self.types is None else padded([self.types[i] for i in batch], fill=0)

    def masked(self) -> Rows:
        """The same texts with every secret token masked."""
        ids = [
            [MASK_ID if hidden else token for token, hidden in zip(row, secret, strict=True)]
            for row, secret in zip(self.ids, self.secret, strict=True)
        ]
        return replace(self, ids=ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a model said: `logits` [N, C], and per text its maps over tokens, cut to the text's length."""

    logits: Tensor
    attention: list[Tensor]
    rollout: list[Tensor]

    def accuracy(self, rows: Rows) -> float:
        """Share of texts given their label."""
        return float((self.logits.argmax(dim=1) == torch.tensor(rows.labels)).float().mean())


@torch.no_grad()
def read(model: BertForSequenceClassification, rows: Rows) -> Reading:
    """Read every text, in evaluation mode with attention that can be seen; the model is left so."""
    model.train(mode=False)
    model.set_attn_implementation("eager")
    logits: list[Tensor] = []
    attention: list[Tensor] = []
    rolled: list[Tensor] = []
    for start in range(0, len(rows), BATCH):
        batch = slice(start, start + BATCH)
        ids, words = padded(rows.ids[batch], fill=PAD_ID), padded(rows.words[batch], fill=0)
        output = model(
            input_ids=ids,
            attention_mask=(ids != PAD_ID).long(),
            token_type_ids=rows.types_of(range(len(rows))[batch]),
            output_attentions=True,
        )
        logits.append(output.logits)
        lengths = [len(row) for row in rows.ids[batch]]
        for kept, token_map in ((attention, last_layer), (rolled, rollout)):
            weights = over_content(token_map(output.attentions), words)
            kept += [row[:length] for row, length in zip(weights, lengths, strict=True)]
    return Reading(logits=torch.cat(logits), attention=attention, rollout=rolled)


def secret_mass(maps: Sequence[Tensor], rows: Rows) -> float:
    """Mean share of the maps' weight on secret tokens."""
    shares = [weights[torch.tensor(secret)].sum() for weights, secret in zip(maps, rows.secret, strict=True)]
    return float(torch.stack(shares).mean())


def evidence_facts(model: BertForSequenceClassification, rows: Rows, reading: Reading) -> dict[str, float]:
    """Where the maps lie on the secret tokens, and what accuracy is left when these are masked."""
    return {
        "attention_on_decisive_words": secret_mass(reading.attention, rows),
        "rollout_on_decisive_words": secret_mass(reading.rollout, rows),
        "accuracy_without_decisive_words": read(model, rows.masked()).accuracy(rows),
    }
