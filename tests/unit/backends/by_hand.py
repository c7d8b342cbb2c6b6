"""Edits of attention made by hand: every softmax of a stock model's forward is caught, and what comes of it changed.

Nothing is shared with the service but the order that a seed draws.

Shapes: H head, T token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import Ints
from rollcall.domain.rows import AttentionEdit, QueryScope, Row
from rollcall.domain.seeds import random_permutations

Tensor = torch.Tensor
Edit = Callable[[int, Tensor], Tensor]
AXES, HEADS = 4, 4
SEED = 2**64 - 1


@dataclass
class Softmax(TorchFunctionMode):
    """Catches every softmax over [B, H, T, T], which are a forward's layers in order, and edits what comes of it."""

    edit: Edit
    layer: int = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401 - torch's own interface
        """Edit what comes out of a softmax."""
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") != "softmax" or result.dim() != AXES:
            return result
        self.layer += 1
        return self.edit(self.layer - 1, result)


def among(order: Ints, visible: Tensor) -> Ints:
    """Where each visible key goes: where `order` leads first among the visible ones."""
    found: Ints = np.arange(len(order))
    for key in np.flatnonzero(visible):
        found[key] = order[key]
        while not visible[found[key]]:
            found[key] = order[found[key]]
    return found


@dataclass(frozen=True, kw_only=True)
class ByHand:
    """What a row makes of a model's attention."""

    encoding: Encoding
    row: Row
    layers: int
    visible: Callable[[int], Tensor]
    """Which keys each query of a layer sees [T, T]."""
    readout: int = 0

    def __call__(self, layer: int, probabilities: Tensor) -> Tensor:
        """Edit a layer's probabilities, if the row edits that layer."""
        chosen = self.row.layers is None or layer in self.row.layers
        return self._edited(layer, probabilities) if chosen else probabilities

    def _edited(self, layer: int, probabilities: Tensor) -> Tensor:
        """By the definition of the edit."""
        encoding, row, visible, changed = self.encoding, self.row, self.visible(layer), probabilities.clone()
        if row.edit is AttentionEdit.UNIFORM:
            changed[:] = visible / visible.sum(dim=-1, keepdim=True)
        elif row.edit is AttentionEdit.SILENCED:
            changed[:, list(row.heads)] = 0
        elif row.edit is AttentionEdit.PERMUTED:
            shape = (self.layers, HEADS, encoding.length)
            orders = random_permutations(row.seed, "keys", shape)[layer]
            queries = range(encoding.length) if row.queries is QueryScope.ALL else [self.readout % encoding.length]
            for head, query in product(range(HEADS), queries):
                drawn = torch.from_numpy(among(orders[head], visible[query]))
                changed[0, head, query] = probabilities[0, head, query, drawn]
        elif row.units is not None:
            into = torch.from_numpy(encoding.tokens_of(row.units))
            units = torch.from_numpy(encoding.unit_of_token)
            changed = changed.masked_fill(into[None, :] & (units[:, None] != units[None, :]), 0)
            if row.edit is AttentionEdit.KNOCKED_OUT:
                changed /= changed.sum(dim=-1, keepdim=True)
        elif row.bias is not None:
            scaled = probabilities.double() * torch.from_numpy(row.bias[layer]).exp()[None, :, None]
            changed[:] = scaled / scaled.sum(dim=-1, keepdim=True)
        return changed


def edits(encoding: Encoding, layers: int) -> list[Row]:
    """Rows of every kind of edit, of all layers and of some."""
    units = len(encoding.units)
    some = np.arange(units) % 3 == 0
    bias = np.random.default_rng(0).normal(size=(layers, HEADS, encoding.length))
    return [
        Row(readout=True),
        Row(edit=AttentionEdit.IDENTITY, readout=True),
        *(Row(edit=AttentionEdit.UNIFORM, layers=chosen, readout=True) for chosen in (None, (1,), (0, 2))),
        *(Row(edit=AttentionEdit.PERMUTED, seed=SEED, layers=chosen, readout=True) for chosen in (None, (2,))),
        Row(edit=AttentionEdit.PERMUTED, seed=3, queries=QueryScope.READOUT, readout=True),
        Row(edit=AttentionEdit.SILENCED, layers=(0, 1), heads=(1, 3), readout=True),
        Row(edit=AttentionEdit.KNOCKED_OUT, units=some, readout=True),
        Row(edit=AttentionEdit.CUT, units=some, layers=(1,), readout=True),
        Row(edit=AttentionEdit.BIASED, bias=bias, readout=True),
    ]
