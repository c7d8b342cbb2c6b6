"""What one forward call does to attention: a plan travels as a keyword argument of the call and is gone with it.

Operators never build Q x K where algebra avoids it: a bias per key goes into the mask, a permutation of the keys is a
gather on the values, a blend with another map is a correction after the fused kernel. Explicit probabilities are
computed only for rows whose maps somebody wants to see or put back; those are the last rows of the batch.

Work is shared by where a row starts to differ: a row whose first edited layer is l > 0 joins the batch at layer l as a
copy of its untouched row, and in the last layer only the query that the head reads is computed, if the head reads one.

Shapes: B batch, H head, Q query, K key, D width of a head, R selected rows, E explicit rows, L layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

import torch
from torch import nn

from rollcall.backends.arrangement import LEAST_ROWS
from rollcall.backends.readout import Readout, of_rows, read, written
from rollcall.backends.stock_attention import (
    additive,
    among_visible,
    causal_mask,
    is_causal,
    library_attention,
    sees_its_own,
)

Tensor = torch.Tensor


class MapSource(Enum):
    """A map that a blend computes for itself."""

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
    """Edits of one layer by the fused kernel.

    `key_bias` [B, H or 1, Q or 1, K] is added to the logits; finfo.min knocks a key out, renormalised.
    """

    key_bias: Tensor | None = None
    permutation: Permutation | None = None
    blends: tuple[Blend, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplicitRows:
    """The rows from number `first` on: their probabilities are computed explicitly in every layer.

    `orders`, by layer [E, H, K], permutes their keys, P'[..., j] = P[..., order[..., j]], and moves visible keys only
    among themselves, in a causal model those that each query sees; `readout_orders` do the same to the query at
    `readout` (positions [E]) alone. `uniform` [E, L] replaces their maps by equal weight on every visible key. `bias`
    [E, L, H, K] is added to their logits. `edges` [E, Q, K] are cut in the layers `edge_layers` [E, L]: before the
    softmax in `renormalised` [E] rows, after it in the others. `silenced` [E, L, H] heads pass nothing on.
    """

    first: int
    readout: Readout = 0
    orders: Mapping[int, Tensor] = field(default_factory=dict)
    readout_orders: Mapping[int, Tensor] = field(default_factory=dict)
    uniform: Tensor | None = None
    bias: Tensor | None = None
    edges: Tensor | None = None
    edge_layers: Tensor | None = None
    renormalised: Tensor | None = None
    silenced: Tensor | None = None

    def logit_bias(self, layer: int, query: Tensor) -> Tensor | None:
        """What is added to the logits of the first rows [E, H, Q, D] in a layer: [E, H or 1, Q or 1, K]."""
        wide = torch.promote_types(query.dtype, torch.float32)
        bias = None if self.bias is None else _for_rows(self.bias[:, layer], len(query)).unsqueeze(2).to(wide)
        cut = self._cut(layer, query, before=True)
        if cut is None:
            return bias
        removed = torch.zeros_like(cut, dtype=wide).masked_fill(cut, torch.finfo(wide).min)
        return removed if bias is None else removed + bias

    def passed_on(self, probabilities: Tensor, layer: int) -> Tensor:
        """What is left of a layer's `probabilities` [E, H, Q, K] after cutting edges and silencing heads."""
        cut = self._cut(layer, probabilities, before=False)
        if cut is not None:
            probabilities = probabilities.masked_fill(cut, 0.0)
        if self.silenced is not None:
            silent = _for_rows(self.silenced[:, layer], len(probabilities))
            probabilities = probabilities.masked_fill(silent[:, :, None, None], 0.0)
        return probabilities

    def _cut(self, layer: int, rows: Tensor, *, before: bool) -> Tensor | None:
        """The edges to be cut [E, 1, Q, K] of rows [E, H, Q, *], before the softmax or after it."""
        if self.edges is None or self.edge_layers is None or self.renormalised is None:
            return None
        count, queries = len(rows), rows.shape[2]
        edges = _for_rows(self.edges, count)
        if queries < edges.shape[1]:
            edges = read(edges, self._readout(count))
        chosen = _for_rows(self.edge_layers[:, layer] & (self.renormalised == before), count)
        return edges.unsqueeze(1) & chosen[:, None, None, None]

    def _readout(self, count: int) -> Readout:
        """Of the first `count` rows."""
        return self.readout if isinstance(self.readout, int) else _for_rows(self.readout, count)

    def permuted_readout(self, probabilities: Tensor, orders: Tensor, mask: Tensor | None) -> Tensor:
        """Probabilities [E, H, Q, K] with the read-out query's keys permuted in the first rows, by `orders` [P, H, K].

        Queries that see different keys, as `mask` tells where there is one, have those that they see permuted.
        """
        count = min(len(orders), len(probabilities))
        own, drawn = probabilities[:count], orders[:count].unsqueeze(2)
        readout = self._readout(count)
        if mask is not None:
            drawn = among_visible(orders[:count], read(rows_of(mask, slice(count)), readout, dim=2))
        permuted = read(own, readout, dim=2).gather(3, drawn)
        return torch.cat((written(own, permuted, readout, dim=2), probabilities[count:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """How the last layer is computed for one query alone: by the block's own projections of keys and values.

    `norm` is what the block's input goes through first, in pre-norm blocks.
    """

    layer: int
    query: Readout
    """Position that the head reads, or positions [B] of the rows that the batch starts with."""
    heads: int
    key: nn.Linear
    value: nn.Linear
    norm: nn.Module | None = None

    def project(self, linear: nn.Linear, hidden: Tensor) -> Tensor:
        """Project the block's input [B, K, E] to [B, H, K, D]."""
        projected: Tensor = linear(hidden if self.norm is None else self.norm(hidden))
        return projected.view(*hidden.shape[:2], self.heads, -1).transpose(1, 2).contiguous()


class Observer(Protocol):
    """Sees explicit probabilities, layer by layer."""

    def observe(self, probabilities: Tensor, value: Tensor) -> None:
        """Take one layer's `probabilities` [E, H, Q, K] and `value` [E, H, K, D], in the order of the calls.

        Only rows that have been in the batch from its start are shown. Q is 1 in a last layer computed by a `Tail`.
        """
        ...


@dataclass(slots=True, kw_only=True)
class BatchPlan:
    """The plan of one call. Layers are numbered by the order of the attention calls within the forward.

    `joins`: by layer, for each row that joins there the number of the row that it is a copy of. `gradients`: gradients
    are wanted at the observed probabilities; values stay those of the fused kernel.
    """

    edits: Mapping[int, LayerEdit] = field(default_factory=dict)
    explicit: ExplicitRows | None = None
    observer: Observer | None = None
    joins: Mapping[int, Tensor] = field(default_factory=dict)
    tail: Tail | None = None
    gradients: bool = False
    calls: int = 0
    _started: int = 0
    _origins: Tensor | None = None
    """For each row the row of the original batch that it is a copy of; None while they are the same."""
    _keys: Tensor | None = None
    _values: Tensor | None = None

    def of_rows(self, readout: Readout) -> Readout:
        """The read-out of each row that there is now, of that of each row at the start."""
        return of_rows(readout, self._origins)

    def enter(self, hidden: Tensor) -> Tensor:
        """Change a block's input [B, Q, E] before the block runs: rows join, the last layer keeps one query."""
        joining = self.joins.get(self.calls)
        tail = self.tail if self.tail is not None and self.tail.layer == self.calls else None
        self._started = self._started or len(hidden)
        if tail is not None:
            self._keys, self._values = tail.project(tail.key, hidden), tail.project(tail.value, hidden)
            hidden = read(hidden, self.of_rows(tail.query)).contiguous()
        sources = torch.arange(len(hidden), device=hidden.device)
        if joining is not None:
            sources = torch.cat((sources, joining))
        if tail is not None and len(sources) < LEAST_ROWS:
            sources = torch.cat((sources, sources.new_zeros(LEAST_ROWS - len(sources))))
        if len(sources) == len(hidden):
            return hidden
        if self._keys is not None and self._values is not None:
            share = joining is not None and len(self._keys) == 1
            self._keys, self._values = (
                each.expand(len(sources), *each.shape[1:]) if share else each[sources]
                for each in (self._keys, self._values)
            )
        self._origins = sources if self._origins is None else self._origins[sources]
        return hidden[sources]

    def attend(
        self,
        module: nn.Module,
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
        layer = self.calls
        self.calls += 1
        edit = self.edits.get(layer, _NO_EDIT)
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        mask = attention_mask if self._origins is None else _rows_of(attention_mask, self._origins)
        # What the fused kernel knows by itself, explicit attention has to be told.
        told = causal_mask(query, key) if mask is None and is_causal(module) and query.shape[2] > 1 else mask
        cap = extra.get("softcap")
        if edit.key_bias is not None:
            told = mask = biased_mask(told, edit.key_bias, query.dtype)
        if self.tail is not None and self.tail.layer == layer and self._keys is not None and self._values is not None:
            key, value = self._keys, self._values
            told = mask = mask if mask is None else read(mask, self.of_rows(self.tail.query), dim=2)
        values = value if edit.permutation is None else permuted_values(value, edit.permutation)
        first = len(query) if self.explicit is None or self.gradients else self.explicit.first
        parts = []
        if first:
            own = (query[:first], key[:first], values[:first], _rows_of(mask, slice(first)))
            parts.append(library_attention(module, *own, dropout=dropout, scaling=scaling, extra=extra))
        key, value = per_head(key, query.shape[1]), per_head(value, query.shape[1])
        if self.gradients:
            parts = [self._with_gradient(parts[0], query, key, value, told, scale, cap)]
        elif self.explicit is not None and first < len(query):
            rest = slice(first, None)
            seen = _rows_of(told, rest)
            apart = seen is not None and sees_its_own(module)
            parts.append(self._explicitly(layer, query[rest], key[rest], value[rest], seen, scale, cap, apart=apart))
        context = parts[0] if len(parts) == 1 else torch.cat(parts)
        for blend in edit.blends:
            source = blend_map(blend.source, _rows_of(told, blend.rows), key)
            mixed = (source.to(value.dtype) @ value[blend.rows]).expand(-1, -1, query.shape[2], -1).transpose(1, 2)
            gate = blend.gate.transpose(1, 2) if isinstance(blend.gate, Tensor) else blend.gate
            context[blend.rows] = (1 - gate) * context[blend.rows] + gate * mixed
        return context, None

    def _explicitly(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        scale: float,
        cap: float | None,
        *,
        apart: bool,
    ) -> Tensor:
        """Context [E, Q, H, D] of the explicit rows; those from the start are observed.

        `apart`: queries see different keys, which `mask` tells.
        """
        explicit = self.explicit
        assert explicit is not None
        orders = explicit.orders.get(layer)
        single = query.shape[2] == 1  # then probabilities are smaller than keys
        if key.stride(0):  # a product of strided rows may round differently for one row than for two
            key, value = key.contiguous(), value.contiguous()
        keys = key if orders is None or single or apart else _permuted_keys(key, orders)
        probabilities = attention_probabilities(query, keys, mask, scale, explicit.logit_bias(layer, query), cap)
        if orders is not None and apart and mask is not None:
            own = slice(min(len(orders), len(query)))
            probabilities[own] = probabilities[own].gather(3, among_visible(orders[own], rows_of(mask, own)))
        elif orders is not None and single:
            probabilities[: len(orders)] = probabilities[: len(orders)].gather(3, orders[: len(query)].unsqueeze(2))
        readout_orders = explicit.readout_orders.get(layer)
        if readout_orders is not None:
            probabilities = explicit.permuted_readout(probabilities, readout_orders, mask if apart else None)
        if explicit.uniform is not None:
            chosen = _for_rows(explicit.uniform[:, layer], len(query))[:, None, None, None]
            equal = blend_map(MapSource.UNIFORM, mask, key).to(probabilities.dtype)
            probabilities = torch.where(chosen, equal, probabilities)
        seen = (self._started or explicit.first + len(query)) - explicit.first
        if self.observer is not None and seen > 0:
            # The tensor itself, where all of it is shown: what follows may be differentiated by it.
            shown = probabilities if seen == len(probabilities) else probabilities[:seen]
            self.observer.observe(shown, value[:seen])
        passed_on = explicit.passed_on(probabilities, layer)
        return weighed(passed_on.to(value.dtype), value).transpose(1, 2).contiguous()

    def _with_gradient(
        self,
        fused: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        scale: float,
        cap: float | None,
    ) -> Tensor:
        """Give the fused context the gradient of the explicit one: the added difference is exactly 0."""
        probabilities = attention_probabilities(query, key, mask, scale, cap=cap)
        probabilities = probabilities.requires_grad_() if torch.is_grad_enabled() else probabilities
        if self.observer is not None:
            self.observer.observe(probabilities, value)
        context = (probabilities.to(value.dtype) @ value).transpose(1, 2)
        return fused.detach() + (context - context.detach())


_NO_EDIT = LayerEdit()


def _for_rows(edits: Tensor, count: int) -> Tensor:
    """What is done to the first `count` rows: those that have joined so far, and nothing to rows that fill up."""
    return (
        edits[:count]
        if count <= len(edits)
        else torch.cat((edits, edits.new_zeros(count - len(edits), *edits.shape[1:])))
    )


def per_head(shared: Tensor, heads: int) -> Tensor:
    """Keys or values [B, G, K, D] of groups of heads, for each head."""
    return shared if shared.shape[1] == heads else shared.repeat_interleave(heads // shared.shape[1], dim=1)


def attention_probabilities(
    query: Tensor,
    key: Tensor,
    mask: Tensor | None,
    scale: float,
    bias: Tensor | None = None,
    cap: float | None = None,
) -> Tensor:
    """Explicit softmax [B, H, Q, K], in float32 at least, as fused kernels do it.

    Masked keys get exactly 0; if all are masked, uniform, never NaN. `bias` [B, H or 1, Q or 1, K] is added to the
    logits; what mask and bias both hide stays as hidden as by one of them. `cap` bounds the logits smoothly before
    that: cap * tanh(logit / cap) (Gemma Team 2024, section 2).
    """
    wide = torch.promote_types(query.dtype, torch.float32)
    scores = weighed(query.to(wide), key.to(wide).transpose(2, 3)) * scale
    if cap is not None:
        scores = (scores / cap).tanh() * cap
    if mask is not None:
        scores = scores + additive(mask, scores.dtype)
    if bias is not None:
        scores = (scores + bias).clamp(min=torch.finfo(scores.dtype).min)
    return scores.softmax(dim=-1)


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


def blend_map(source: MapSource | Tensor, mask: Tensor | None, key: Tensor) -> Tensor:
    """The map of a blend [R, H or 1, Q or 1, K]."""
    if isinstance(source, Tensor):
        return source
    if mask is None:
        return key.new_full((1, 1, 1, key.shape[2]), 1 / key.shape[2])
    visible = (additive(mask, key.dtype) > torch.finfo(key.dtype).min / 2).to(key.dtype)
    return visible / visible.sum(dim=-1, keepdim=True).clamp(min=1)


def weighed(rows: Tensor, matrix: Tensor) -> Tensor:
    """The product of [B, H, Q, K] and [B, H, K, D]; where all rows share one matrix it is not repeated for each."""
    if len(rows) == 1 or matrix.stride(0) or rows.shape[2] > 1:
        return rows @ matrix
    shared: Tensor = rows[:, :, 0].transpose(0, 1) @ matrix[0]
    return shared.transpose(0, 1).unsqueeze(2)


def _permuted_keys(key: Tensor, orders: Tensor) -> Tensor:
    """Gather keys [E, H, K, D] so that their probabilities come out permuted; rows beyond `orders` stay."""
    count = min(len(orders), len(key))
    rows = key[:count]
    permuted = rows.gather(2, orders[:count].unsqueeze(-1).expand_as(rows))
    return permuted if count == len(key) else torch.cat((permuted, key[count:]))


def rows_of(mask: Tensor, rows: Tensor | slice) -> Tensor:
    """Some rows of a mask [B or 1, H or 1, Q, K]."""
    return mask if mask.shape[0] == 1 else mask[rows]


def _rows_of(mask: Tensor | None, rows: Tensor | slice) -> Tensor | None:
    return None if mask is None else rows_of(mask, rows)
