"""ATTENTION_FLOW: how much can flow from the read-out position to each unit (Abnar and Zuidema 2020, section 3).

The network has a node per token and layer; what a token takes from another in one layer, attention and residual
together as in rollout, is the capacity of the edge between them. The flow to a unit is the largest flow to its tokens
together, all of them being one sink: between several pieces of a word nothing is counted twice that goes through the
same edge.

Shapes: L layer, T token, n unit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_flow

from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import Floats, Ints

SCALE = 10**9
"""Capacities are whole multiples of 1 / SCALE: the largest round number of which twice as much fits into 32 bits."""
TIGHT = 1e-6
"""A flow this close to a cut fills it: the rounding of a thousand edges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Flows to the units [n], and to the special tokens, each by itself, summed.

    `saturated`: for every unit the read-out's own edges are the bottleneck. Then all flows are one constant plus the
    read-out's attention in the lowest layer, capped at what leaves the read-out at all, and say nothing of the layers
    between. A single layer is never called saturated.
    """

    units: Floats = field(repr=False)
    special: float
    saturated: bool


def attention_flow(
    fused: Floats, encoding: Encoding, readout: int, start_layer: int, stop: Callable[[], bool]
) -> Flow | None:
    """Flow in attention `fused` over heads [L, T, T] from the read-out at the top down to the input of `start_layer`.

    Exact up to the rounding of capacities. `stop` is asked before each unit; None if it said so. NaN gives NaN.
    """
    if not np.isfinite(fused).all():
        return Flow(units=np.full(len(encoding.units), np.nan), special=np.nan, saturated=False)
    capacities = _capacities(fused[start_layer:])
    special = np.flatnonzero(encoding.unit_of_token < 0)
    sinks = [np.flatnonzero(encoding.unit_of_token == unit) for unit in range(len(encoding.units))]
    network = _Network.of(capacities, readout)
    flows = []
    for sink in [*sinks, *special[:, None]]:
        if stop():
            return None
        flows.append(network.flow_to(sink))
    found = np.array(flows[: len(sinks)]) / SCALE
    return Flow(
        units=found,
        special=float(sum(flows[len(sinks) :])) / SCALE,
        saturated=len(capacities) > 1 and bool((found >= network.own_edges(sinks) / SCALE - TIGHT).all()),
    )


def _capacities(fused: Floats) -> Ints:
    """Rows of attention + I normalised, [L, T, T], as multiples of 1 / SCALE."""
    mixed = fused + np.eye(fused.shape[-1])
    return np.asarray(np.rint(mixed / mixed.sum(axis=-1, keepdims=True) * SCALE), dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Network:
    """All edges but those into the sink. Node 0 is the read-out at the top, then come the tokens layer by layer."""

    capacities: Ints = field(repr=False)
    readout: int
    tails: Ints = field(repr=False)
    heads: Ints = field(repr=False)
    widths: Ints = field(repr=False)

    @classmethod
    def of(cls, capacities: Ints, readout: int) -> _Network:
        """Lay out the layers above the lowest one."""
        layers, tokens, _ = capacities.shape
        tails, heads, widths = [], [], []
        for depth, layer in enumerate(range(layers - 1, 0, -1)):
            below = 1 + depth * tokens + np.arange(tokens)
            above = below - tokens if depth else np.array([0])
            edges = capacities[layer] if depth else capacities[layer, [readout]]
            tails.append(np.repeat(above, tokens))
            heads.append(np.tile(below, len(above)))
            widths.append(edges.ravel())
        empty = np.zeros(0, dtype=np.int64)
        return cls(
            capacities=capacities,
            readout=readout,
            tails=np.concatenate([*tails, empty]),
            heads=np.concatenate([*heads, empty]),
            widths=np.concatenate([*widths, empty]),
        )

    def flow_to(self, sink: Ints) -> int:
        """The largest flow to these tokens together, in multiples of 1 / SCALE."""
        layers, tokens, _ = self.capacities.shape
        last = self.capacities[0][:, sink].sum(axis=1)
        above = 1 + (layers - 2) * tokens + np.arange(tokens)
        if layers == 1:
            above, last = np.array([0]), last[[self.readout]]
        end = 1 + (layers - 1) * tokens
        edges = (
            np.append(self.widths, last),
            (np.append(self.tails, above), np.append(self.heads, [end] * len(above))),
        )
        graph = coo_array(edges, shape=(end + 1, end + 1)).tocsr()
        graph.eliminate_zeros()
        return int(maximum_flow(graph.astype(np.int32), 0, end).flow_value)

    def own_edges(self, sinks: list[Ints]) -> Ints:
        """The smaller of the two cuts that only cut edges of the read-out's own nodes, for each sink [n]."""
        own = self.capacities[:, self.readout]
        leaving = own.sum(axis=1) - own[:, self.readout]
        chain = leaving[1:].sum() + np.array([own[0, sink].sum() for sink in sinks])
        return np.asarray(np.minimum(chain, own[-1].sum()))
