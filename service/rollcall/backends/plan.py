"""What one forward call does to attention: a plan travels as a keyword argument of the call and is gone with it.

Operators never build Q x K where algebra avoids it: a bias per key goes into the mask, a permutation of the keys is a
gather on the values, a blend with another map is a correction after the fused kernel. Explicit probabilities are
computed only for rows whose attention is observed or replaced by itself.

Shapes: B batch, H head, Q query, K key, D width of a head, R selected rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

Tensor = torch.Tensor


class MapSource(Enum):
    """A map that a blend computes for itself."""

    OWN = "own"
    """The row's own probabilities: identity replay."""
    UNIFORM = "uniform"
    """Equal weight on every visible key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """Mix another map into some rows: (1 - gate) * own + gate * map.

    `gate` [R, H or 1, 1, 1]; a given map [R, H or 1, Q or 1, K].
    """

    rows: Tensor
    gate: Tensor | float
    source: MapSource | Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Permutation:
    """Permute the keys of some rows: P'[..., j] = P[..., order[..., j]]. `order` [R, H, K]."""

    rows: Tensor
    order: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerEdit:
    """Edits of one layer.

    `key_bias` [B, H or 1, Q or 1, K] is added to the logits; finfo.min knocks a key out, renormalised.
    """

    key_bias: Tensor | None = None
    permutation: Permutation | None = None
    blends: tuple[Blend, ...] = ()


class Observer(Protocol):
    """Sees the explicit probabilities of `rows` in each layer, after permutation."""

    @property
    def rows(self) -> Tensor:
        """Rows that are observed, ascending."""
        ...

    def observe(self, probabilities: Tensor, value: Tensor) -> None:
        """Take one layer's `probabilities` [R, H, Q, K] and `value` [R, H, K, D], in the order of the calls."""
        ...


@dataclass(slots=True, kw_only=True)
class BatchPlan:
    """The plan of one call. Layers are numbered by the order of the attention calls within the forward.

    `explicit`: all rows go through explicit probabilities, so that gradients can be taken at them; then edits are not
    allowed.
    """

    edits: Mapping[int, LayerEdit] = field(default_factory=dict)
    observer: Observer | None = None
    explicit: bool = False
    calls: int = 0

    def attend(
        self,
        module: torch.nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        *,
        dropout: float,
        scaling: float | None,
        extra: Mapping[str, Any],
    ) -> tuple[Tensor, None]:
        """Attention of one layer: context [B, Q, H, D]."""
        edit = self.edits.get(self.calls, _NO_EDIT)
        self.calls += 1
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        if self.explicit:
            probabilities = attention_probabilities(query, key, attention_mask, scale)
            if self.observer is not None:
                probabilities = probabilities.requires_grad_() if torch.is_grad_enabled() else probabilities
                self.observer.observe(probabilities, value)
            return (probabilities @ value).transpose(1, 2).contiguous(), None
        mask = biased_mask(attention_mask, edit.key_bias, query.dtype)
        values = value if edit.permutation is None else permuted_values(value, edit.permutation)
        context, _ = sdpa_attention_forward(module, query, key, values, mask, dropout=dropout, scaling=scaling, **extra)
        for blend in edit.blends:
            source = blend_map(blend.source, query[blend.rows], key[blend.rows], _rows_of(mask, blend.rows), scale)
            mixed = (source @ value[blend.rows]).expand(-1, -1, query.shape[2], -1).transpose(1, 2)
            gate = blend.gate.transpose(1, 2) if isinstance(blend.gate, Tensor) else blend.gate
            context[blend.rows] = (1 - gate) * context[blend.rows] + gate * mixed
        if self.observer is not None:
            rows = self.observer.rows
            probabilities = attention_probabilities(query[rows], key[rows], _rows_of(mask, rows), scale)
            if edit.permutation is not None:
                probabilities = permuted_probabilities(probabilities, rows, edit.permutation)
            self.observer.observe(probabilities, value[rows])
        return context, None


_NO_EDIT = LayerEdit()


def attention_probabilities(query: Tensor, key: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Explicit softmax [B, H, Q, K]; masked keys get exactly 0; if all are masked, uniform, never NaN."""
    scores = query @ key.transpose(2, 3) * scale
    if mask is not None:
        scores = scores + additive(mask, scores.dtype)
    return scores.softmax(dim=-1)


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask as logits to add: finfo.min where a boolean mask is False."""
    if mask.dtype is not torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)


def biased_mask(mask: Tensor | None, bias: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Add a bias per key to the mask; without a bias the mask stays the very same object."""
    if bias is None:
        return mask
    return bias if mask is None else (additive(mask, dtype) + bias).clamp(min=torch.finfo(dtype).min)


def permuted_values(value: Tensor, permutation: Permutation) -> Tensor:
    """Gather the values of the permuted rows so that the fused kernel computes permuted attention."""
    inverse = permutation.order.argsort(dim=-1)
    rows = value[permutation.rows]
    values = value.clone()
    values[permutation.rows] = rows.gather(2, inverse.unsqueeze(-1).expand_as(rows))
    return values


def permuted_probabilities(probabilities: Tensor, rows: Tensor, permutation: Permutation) -> Tensor:
    """Permute the probabilities of the observed rows; every permuted row is expected among them, in order."""
    index = torch.searchsorted(rows, permutation.rows)
    order = permutation.order.unsqueeze(2).expand(-1, -1, probabilities.shape[2], -1)
    permuted = probabilities.clone()
    permuted[index] = probabilities[index].gather(3, order)
    return permuted


def blend_map(source: MapSource | Tensor, query: Tensor, key: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """The map of a blend [R, H or 1, Q or 1, K]."""
    if isinstance(source, Tensor):
        return source
    if source is MapSource.OWN:
        return attention_probabilities(query, key, mask, scale)
    if mask is None:
        return query.new_full((1, 1, 1, key.shape[2]), 1 / key.shape[2])
    visible = (additive(mask, query.dtype) > torch.finfo(query.dtype).min / 2).to(query.dtype)
    return visible / visible.sum(dim=-1, keepdim=True).clamp(min=1)


def _rows_of(mask: Tensor | None, rows: Tensor) -> Tensor | None:
    return mask if mask is None or mask.shape[0] == 1 else mask[rows]
