"""From rows whose attention is edited to the tensors of the plan that edits it.

Shapes: E edited row, L layer, H head, Q query, K key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from rollcall.backends.arrangement import Arrangement
from rollcall.backends.plan import ExplicitRows
from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import Bools, Floats, Ints
from rollcall.domain.rows import AttentionEdit, KeyScope, QueryScope, Row
from rollcall.domain.seeds import random_words

CUTS = (AttentionEdit.KNOCKED_OUT, AttentionEdit.CUT)


def explicit_rows(batch: Arrangement, *, layers: int, heads: int, readout: int, device: str) -> ExplicitRows | None:
    """The plan of a batch's edited rows, which are its last ones, for a model of so many layers and heads."""
    if not batch.edited:
        return None
    edits = _Edits(rows=len(batch.edited), layers=layers, heads=heads, length=batch.length)
    for i, each in enumerate(batch.edited):
        edits.add(i, each.encoding, each.row)
    cut = edits.edge_layers.any()

    def put(array: Bools | Ints | Floats) -> torch.Tensor:
        return torch.from_numpy(array).to(device)

    def orders(by_layer: Mapping[int, Ints]) -> dict[int, torch.Tensor]:
        return {layer: put(order) for layer, order in by_layer.items()}

    return ExplicitRows(
        first=batch.first_edited,
        readout=readout,
        orders=orders(edits.orders),
        readout_orders=orders(edits.readout_orders),
        uniform=put(edits.uniform) if edits.uniform.any() else None,
        bias=None if edits.bias is None else put(edits.bias),
        edges=put(edits.edges) if cut else None,
        edge_layers=put(edits.edge_layers) if cut else None,
        renormalised=put(edits.renormalised) if cut else None,
        silenced=put(edits.silenced) if edits.silenced.any() else None,
    )


@dataclass(slots=True, kw_only=True)
class _Edits:
    """The arrays of `ExplicitRows`, filled row by row."""

    rows: int
    layers: int
    heads: int
    length: int
    orders: dict[int, Ints] = field(default_factory=dict)
    readout_orders: dict[int, Ints] = field(default_factory=dict)
    uniform: Bools = field(init=False)
    bias: Floats | None = None
    edges: Bools = field(init=False)
    edge_layers: Bools = field(init=False)
    renormalised: Bools = field(init=False)
    silenced: Bools = field(init=False)

    def __post_init__(self) -> None:
        self.uniform = np.zeros((self.rows, self.layers), dtype=np.bool_)
        self.edges = np.zeros((self.rows, 0, 0), dtype=np.bool_)
        self.edge_layers = np.zeros((self.rows, self.layers), dtype=np.bool_)
        self.renormalised = np.zeros(self.rows, dtype=np.bool_)
        self.silenced = np.zeros((self.rows, self.layers, self.heads), dtype=np.bool_)

    def add(self, i: int, encoding: Encoding, row: Row) -> None:
        """Note what row number `i` does."""
        chosen = list(range(self.layers) if row.layers is None else row.layers)
        if row.edit is AttentionEdit.UNIFORM:
            self.uniform[i, chosen] = True
        elif row.edit is AttentionEdit.PERMUTED:
            self._permute(i, encoding, row, chosen)
        elif row.edit in CUTS and row.units is not None:
            if not self.edges.size:
                self.edges = np.zeros((self.rows, self.length, self.length), dtype=np.bool_)
            own = slice(encoding.length)
            self.edges[i, own, own] = edges_into(encoding, row.units)
            self.edge_layers[i, chosen] = True
            self.renormalised[i] = row.edit is AttentionEdit.KNOCKED_OUT
        elif row.edit is AttentionEdit.SILENCED:
            self.silenced[i][np.ix_(chosen, row.heads)] = True
        elif row.edit is AttentionEdit.BIASED and row.bias is not None:
            if self.bias is None:
                self.bias = np.zeros((self.rows, self.layers, self.heads, self.length))
            self.bias[i, chosen, :, : encoding.length] = row.bias[chosen]

    def _permute(self, i: int, encoding: Encoding, row: Row, chosen: list[int]) -> None:
        length = encoding.length
        words = random_words(row.seed, "keys", (self.layers, self.heads, length))
        parts = [np.arange(length)] if row.keys is KeyScope.ALL else segments_of(encoding)
        target = self.orders if row.queries is QueryScope.ALL else self.readout_orders
        for layer in chosen:
            if layer not in target:
                untouched = np.broadcast_to(np.arange(self.length), (self.rows, self.heads, self.length))
                target[layer] = untouched.copy()
            for part in parts:
                drawn = np.argsort(words[layer][:, part], axis=-1, kind="stable")
                target[layer][i][:, part] = part[drawn]


def segments_of(encoding: Encoding) -> list[Ints]:
    """Positions of the words of each text of a pair, in order."""
    segments = np.array([unit.segment for unit in encoding.units], dtype=np.int64)
    content = encoding.unit_of_token >= 0
    of_token = np.where(content, segments[encoding.unit_of_token.clip(min=0)], -1)
    return [np.flatnonzero(of_token == segment) for segment in np.unique(segments)]


def edges_into(encoding: Encoding, units: Bools) -> Bools:
    """Edges [T, T], query by key, from every position outside of a unit to the tokens of each of `units` [n].

    A unit's own tokens go on attending to each other: what is cut is what it says to others.
    """
    into = encoding.tokens_of(units)
    own = encoding.unit_of_token[:, None] == encoding.unit_of_token[None, :]
    return np.asarray(into[None, :] & ~own)
