"""Rows: counterfactual variants of one input, and the few numbers that come back for each.

A check yields rows and receives row results; it knows neither batches nor tensors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from rollcall.domain.maps import Bools, Floats, MapKind


class RemovalOperator(Enum):
    """How a unit is removed. Positions shift under DELETION alone."""

    MASK_TOKEN = "mask_token"  # noqa: S105 - a vocabulary token
    HIDDEN_KEYS = "hidden_keys"
    DELETION = "deletion"
    """Its tokens are taken out, and what follows moves up; asked for by thorough checks alone."""
    MEAN_PATCH = "mean_patch"
    """Its patches take the mean colour of the image."""
    BLURRED_PATCH = "blurred_patch"
    """Its patches are blurred beyond recognition; asked for by thorough checks alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removals:
    """How the units of one kind of input are removed: two usual ways, which decide flags, and one for more looks."""

    usual: tuple[RemovalOperator, RemovalOperator]
    beside: RemovalOperator
    """Asked for by thorough checks alone, if it is none of the usual ones."""

    @property
    def every(self) -> tuple[RemovalOperator, ...]:
        """All of them."""
        return tuple(dict.fromkeys((*self.usual, self.beside)))


TEXT_REMOVALS = Removals(
    usual=(RemovalOperator.MASK_TOKEN, RemovalOperator.HIDDEN_KEYS), beside=RemovalOperator.DELETION
)
UNPLACED_REMOVALS = Removals(
    usual=(RemovalOperator.MASK_TOKEN, RemovalOperator.DELETION), beside=RemovalOperator.DELETION
)
"""Of texts that are read token by token: there are no positions to shift, and a token that is hidden is still read."""
IMAGE_REMOVALS = Removals(
    usual=(RemovalOperator.MEAN_PATCH, RemovalOperator.HIDDEN_KEYS), beside=RemovalOperator.BLURRED_PATCH
)
POOLED_REMOVALS = Removals(
    usual=(RemovalOperator.MEAN_PATCH, RemovalOperator.BLURRED_PATCH), beside=RemovalOperator.HIDDEN_KEYS
)
"""Where the classifier itself reads every patch, one that is hidden from attention is not gone."""


class AttentionEdit(Enum):
    """What a row does to the attention of all layers."""

    NONE = "none"
    IDENTITY = "identity"
    """The input's own maps, computed explicitly and put back: must change nothing."""
    UNIFORM = "uniform"
    """Every query attends equally to every visible key."""
    PERMUTED = "permuted"
    """The keys of every layer and head permuted independently (Jain and Wallace 2019); maps are recomputed."""
    KNOCKED_OUT = "knocked_out"
    """Nobody else attends to some units: their edges are cut before the softmax, the rest renormalised (Geva 2023)."""
    CUT = "cut"
    """The same edges are cut after the softmax: the rest keeps its weights and no longer sums to 1."""
    SILENCED = "silenced"
    """Some heads pass nothing on (Michel et al. 2019)."""
    BIASED = "biased"
    """A bias per layer, head and key is added to the attention logits; maps are recomputed."""


class QueryScope(Enum):
    """Whose attention an edit changes."""

    ALL = "all"
    READOUT = "readout"
    """Of the position alone that the classifier reads."""


class KeyScope(Enum):
    """Among which keys PERMUTED moves one."""

    ALL = "all"
    SEGMENT = "segment"
    """Of the same text of a pair; special tokens stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One counterfactual: units removed by one operator, or an edit of the attention.

    The empty row is the input itself.
    """

    removed: Bools | None = field(default=None, repr=False)
    operator: RemovalOperator = RemovalOperator.MASK_TOKEN
    edit: AttentionEdit = AttentionEdit.NONE
    layers: tuple[int, ...] | None = None
    """Layers that are edited, from 0; None means all. A row whose first one is l shares the work of all below l."""
    queries: QueryScope = QueryScope.ALL
    """Whose attention PERMUTED changes."""
    keys: KeyScope = KeyScope.ALL
    units: Bools | None = field(default=None, repr=False)
    """Units [n] whose edges KNOCKED_OUT and CUT cut."""
    heads: tuple[int, ...] = ()
    """Heads, from 0, that SILENCED silences in each of `layers`."""
    bias: Floats | None = field(default=None, repr=False)
    """Attention logits [L, H, T] that BIASED adds for each key."""
    seed: int = 0
    """Seed of the permutations; 0 to 2**64 - 1."""
    readout: bool = False
    """Whether the result carries the read-out state."""

    @property
    def key(self) -> tuple[object, ...]:
        """What tells rows apart: of one input, rows of the same key have the same results."""
        arrays = (None if each is None else each.tobytes() for each in (self.removed, self.units, self.bias))
        return (
            *arrays,
            self.operator,
            self.edit,
            self.layers,
            self.queries,
            self.keys,
            self.heads,
            self.seed,
            self.readout,
        )

    def __post_init__(self) -> None:
        """Refuse an edit of attention among tokens that are no longer there; raises ValueError."""
        if (
            self.removed is not None
            and self.operator is RemovalOperator.DELETION
            and self.edit is not AttentionEdit.NONE
        ):
            message = "what deletion leaves has other positions: its attention cannot be edited"
            raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowResult:
    """What one row gave.

    `logits` [C], as the model's head gives them. `readout` [D]: the last hidden state at the position that the
    classifier reads, where the row asked for it. `maps`: attention-only maps recomputed under the row's edit, [n] each,
    only for PERMUTED rows that do not join late and for BIASED ones.
    """

    logits: Floats
    readout: Floats | None = None
    maps: dict[MapKind, Floats] = field(default_factory=dict)

    @property
    def finite(self) -> bool:
        """Whether every number of the row is one."""
        return all_finite([self])


def all_finite(results: list[RowResult]) -> bool:
    """Whether every number of every row is one."""
    values = [result.logits for result in results]
    for result in results:
        values.extend(result.maps.values())
        if result.readout is not None:
            values.append(result.readout)
    return not values or bool(np.isfinite(np.concatenate(values)).all())
