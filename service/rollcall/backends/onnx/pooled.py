"""Attention that pools the states of a text: over which tokens it is, and edits of it.

Shapes: B batch, E edited row, L layer, H head, T token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from rollcall.backends.base import BatchRow
from rollcall.backends.edits import segments_of
from rollcall.backends.plan import ExplicitRows
from rollcall.domain.maps import Ints
from rollcall.domain.rows import AttentionEdit, KeyScope
from rollcall.domain.seeds import random_words

Tensor = torch.Tensor


def unattended(weights: Tensor, special: tuple[int, int]) -> tuple[int, ...]:
    """Ids of the tokens around a text that its attention leaves out: their weights [T] are 0, the outer two's."""
    return tuple(token for token, weight in zip(special, weights[[0, -1]], strict=True) if weight == 0)


def attended(staged: Mapping[str, Tensor], left_out: tuple[int, ...]) -> Tensor:
    """Which tokens [B, T] attention is over, 1 or 0: those that the mask shows, but for some ids."""
    mask = staged["attention_mask"]
    return mask * ~torch.isin(staged["input_ids"], torch.tensor(left_out)) if left_out else mask


def deviation(weights: Tensor, tokens: Tensor) -> Tensor:
    """The largest difference of a weight [T] on one of `tokens` [T] from the same on each of them."""
    own = weights[tokens]
    return (own - 1 / max(1, len(own))).abs().max() if len(own) else own.new_zeros(())


def among(explicit: ExplicitRows, rows: Sequence[BatchRow], tokens: Tensor) -> ExplicitRows:
    """The plan of edited `rows`, whose permutations move weights among the `tokens` [E, T] of each alone."""
    if not explicit.orders and not explicit.readout_orders:
        return explicit
    orders = torch.arange(tokens.shape[1]).expand(len(rows), 1, -1).clone()
    for i, each in enumerate(rows):
        if each.row.edit is AttentionEdit.PERMUTED and (each.row.layers is None or 0 in each.row.layers):
            places: Ints = tokens[i].nonzero()[:, 0].numpy()
            words = random_words(each.row.seed, "keys", (len(places),))
            parts = segments_of(each.encoding) if each.row.keys is KeyScope.SEGMENT else [places]
            for part in parts:
                own = np.isin(places, part)
                orders[i, 0, places[own]] = torch.from_numpy(places[own][words[own].argsort(kind="stable")])
    return replace(explicit, orders={0: orders}, readout_orders={})
