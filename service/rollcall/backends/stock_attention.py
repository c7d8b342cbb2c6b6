"""What the library's attention does by itself, and which keys its queries see.

Shapes: B batch, H head, Q query, K key, D width of a head, E explicit rows.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward

Tensor = torch.Tensor


def library_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    *,
    dropout: float,
    scaling: float | None,
    extra: Mapping[str, Any],
) -> Tensor:
    """Context [B, Q, H, D] as the library computes it: by SDPA, or where logits are capped as the family itself does.

    SDPA knows no cap; `mask` is what it takes.
    """
    if extra.get("softcap") is None:
        own = (module, query, key, value, mask)
        return sdpa_attention_forward(*own, dropout=dropout, scaling=scaling, **extra)[0]
    told = causal_mask(query, key) if mask is None and is_causal(module) else mask
    added = None if told is None else additive(told, query.dtype)
    explicitly = sys.modules[type(module).__module__].eager_attention_forward
    context: Tensor = explicitly(module, query, key, value, added, dropout=dropout, scaling=scaling, **extra)[0]
    return context


def is_causal(module: nn.Module) -> bool:
    """Whether each query of an attention module sees itself and what came before."""
    return bool(getattr(module, "is_causal", False))


def window(module: nn.Module) -> int | None:
    """How far an attention module's queries see, where that is limited, in tokens."""
    return getattr(module, "sliding_window", None)


def sees_its_own(module: nn.Module) -> bool:
    """Whether the queries of an attention module see different keys, beside what is padded or hidden from all."""
    return is_causal(module) or window(module) is not None


def causal_mask(query: Tensor, key: Tensor) -> Tensor:
    """What a query may see [1, 1, Q, K] where each sees itself and what came before; the last queries are given."""
    queries, keys = query.shape[2], key.shape[2]
    return torch.ones(1, 1, queries, keys, dtype=torch.bool, device=query.device).tril(keys - queries)


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask as logits to add: finfo.min where a boolean mask is False."""
    if mask.dtype is not torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)


def among_visible(order: Tensor, mask: Tensor) -> Tensor:
    """For each query a permutation [E, H, Q, K] of the keys that it sees; those that it does not see stay.

    `order` [E, H, K] permutes all keys. Each visible one goes where `order` leads first among those visible, over any
    number of others: so what `order` keeps in its place, or within its text, stays there, and what is drawn at random
    from all orders is drawn from all orders of those visible.
    """
    visible = additive(mask, torch.float32) > torch.finfo(torch.float32).min / 2
    keys = order.shape[2]
    shape = (len(order), order.shape[1], visible.shape[2], keys)
    visible, leads = visible.expand(shape), order.unsqueeze(2).expand(shape)
    for _ in range(keys.bit_length()):  # each round goes twice as far
        leads = torch.where(visible.gather(3, leads), leads, leads.gather(3, leads))
    return torch.where(visible, leads, torch.arange(keys, device=order.device))
