"""From rows whose attention is edited to the tensors of the plan that edits it.

Shapes: E edited row, L layer, H head, Q query, K key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rollcall.backends.arrangement import Arrangement
from rollcall.backends.plan import ExplicitRows
from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import Bools, Floats, Ints
from rollcall.domain.rows import AttentionEdit, KeyScope, QueryScope, Row
from rollcall.domain.seeds import random_words

CUTS = (AttentionEdit.KNOCKED_OUT, AttentionEdit.CUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """Edits of a batch's last rows as arrays, by the name of the field of `ExplicitRows` that they become.

    `orders` and `readout_orders` are there as random words [N, P, H, T], for the layers `ordered` and
    `readout_ordered` of those rows that have any: the order that sorts them is found where the rows run. Hashable is
    everything but the arrays.
    """

    first: int
    readout: int
    """Of every row, where the arrays do not say that of each."""
    rows: int
    ordered: tuple[int, ...]
    readout_ordered: tuple[int, ...]
    arrays: dict[str, npt.NDArray[Any]] = field(repr=False)

    @property
    def key(self) -> tuple[object, ...]:
        """What a plan of these edits depends on beside its arrays."""
        return self.first, self.readout, self.rows, self.ordered, self.readout_ordered

    def explicit(self, tensors: Mapping[str, torch.Tensor]) -> ExplicitRows:
        """The plan, of the arrays as tensors where the rows run; there may be others among them."""

        def orders(name: str, layers: tuple[int, ...]) -> dict[int, torch.Tensor]:
            if not layers:
                return {}
            words = tensors[name]
            _, _, heads, length = words.shape
            kept = torch.arange(length, device=words.device).expand(len(layers), self.rows, heads, length)
            found = kept.index_copy(1, tensors[_ROWS_OF[name]], words.argsort(dim=-1, stable=True))
            return {layer: found[at] for at, layer in enumerate(layers)}

        return ExplicitRows(
            first=self.first,
            readout=tensors.get(READOUTS, self.readout),
            orders=orders("orders", self.ordered),
            readout_orders=orders("readout_orders", self.readout_ordered),
            **{name: tensors[name] for name in self.arrays if name not in _SORTED},
        )


READOUTS = "readouts of edited rows"
"""Positions [E], where each row has its own."""
_ROWS_OF = {"orders": "rows_of_orders", "readout_orders": "rows_of_readout_orders"}
_SORTED = {READOUTS, *_ROWS_OF, *_ROWS_OF.values()}


def edits_of(batch: Arrangement, *, layers: int, heads: int, readout: int, length: int) -> Edits | None:
    """Edits of a batch of so many padded tokens on a model of so many layers and heads; None without edited rows."""
    if not batch.edited:
        return None
    edits = _Edits(rows=len(batch.edited), layers=layers, heads=heads, length=length)
    for i, each in enumerate(batch.edited):
        edits.add(i, each.encoding, each.row)
    arrays: dict[str, npt.NDArray[Any]] = {}
    words = [each.encoding.word for each in batch.edited]
    if all(words):
        arrays[READOUTS] = np.array([word.token_start for word in words if word], dtype=np.int64)
    for name, orders in (("orders", edits.orders), ("readout_orders", edits.readout_orders)):
        if orders.rows:
            arrays |= {name: orders.words(length), _ROWS_OF[name]: np.array(orders.rows, dtype=np.int64)}
    if edits.uniform.any():
        arrays["uniform"] = edits.uniform
    if edits.bias is not None:
        arrays["bias"] = edits.bias
    if edits.edge_layers.any():
        arrays |= {"edges": edits.edges, "edge_layers": edits.edge_layers, "renormalised": edits.renormalised}
    if edits.silenced.any():
        arrays["silenced"] = edits.silenced
    return Edits(
        first=batch.first_edited,
        readout=readout,
        rows=len(batch.edited),
        ordered=edits.orders.of,
        readout_ordered=edits.readout_orders.of,
        arrays=arrays,
    )


@dataclass(slots=True, kw_only=True)
class _Orders:
    """Rows whose keys are permuted, each with the layers in which they are and random words [L, H, T] of its own."""

    rows: list[int] = field(default_factory=list)
    layers: list[list[int]] = field(default_factory=list)
    drawn: list[Ints] = field(default_factory=list)

    @property
    def of(self) -> tuple[int, ...]:
        """Layers in which any is permuted, in order."""
        return tuple(sorted({layer for layers in self.layers for layer in layers}))

    def words(self, length: int) -> Ints:
        """Words [N, P, H, T] of these layers and rows; what is not permuted, and padding, stays where it is."""
        of = self.of
        heads = self.drawn[0].shape[1]
        found = np.empty((len(of), len(self.rows), heads, length), dtype=np.int64)
        for row, (layers, drawn) in enumerate(zip(self.layers, self.drawn, strict=True)):
            own = drawn.shape[-1]
            if len(layers) < len(of):
                found[:, row] = np.arange(length)
            at = [of.index(layer) for layer in layers]
            found[at, row, :, :own] = drawn[layers]
            found[at, row, :, own:] = np.iinfo(np.int64).max
        return found


@dataclass(slots=True, kw_only=True)
class _Edits:
    """The arrays of `Edits`, filled row by row."""

    rows: int
    layers: int
    heads: int
    length: int
    orders: _Orders = field(default_factory=_Orders)
    readout_orders: _Orders = field(default_factory=_Orders)
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
        # Shifted, signed numbers are in the order of the unsigned words; padding stays behind, in its own order.
        length = encoding.length
        words = (random_words(row.seed, "keys", (self.layers, self.heads, length)) ^ _SIGN).view(np.int64)
        if row.keys is KeyScope.SEGMENT:
            words = _within(words, segments_of(encoding))
        target = self.orders if row.queries is QueryScope.ALL else self.readout_orders
        target.rows.append(i)
        target.layers.append(chosen)
        target.drawn.append(words)


_SIGN = np.uint64(1 << 63)


def _within(words: Ints, parts: list[Ints]) -> Ints:
    """Numbers [..., T] in whose order the positions of each part are drawn by `words`, and all others stay."""
    order = np.broadcast_to(np.arange(words.shape[-1]), words.shape).copy()
    for part in parts:
        order[..., part] = part[np.argsort(words[..., part], axis=-1, kind="stable")]
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.broadcast_to(np.arange(words.shape[-1]), words.shape), axis=-1)
    return ranks


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
