"""Maps over units: the kinds there are, their options, and the value that an attribution is."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Ints: TypeAlias = npt.NDArray[np.int64]


class MapKind(Enum):
    """A way to turn the inside of the model into one weight per unit."""

    RAW_ATTENTION = "raw_attention"
    ATTENTION_ROLLOUT = "attention_rollout"
    NORM_ROLLOUT = "norm_rollout"
    GRADIENT_ROLLOUT = "gradient_rollout"
    ATTENTION_FLOW = "attention_flow"
    INPUT_X_GRADIENT = "input_x_gradient"
    INTEGRATED_GRADIENTS = "integrated_gradients"
    LEAVE_ONE_OUT = "leave_one_out"
    EFFECT = "effect"
    DECOMPOSITION = "decomposition"

    @property
    def class_specific(self) -> bool:
        """Whether the map depends on the target."""
        return not (self.attention_only or self is MapKind.NORM_ROLLOUT)

    @property
    def attention_only(self) -> bool:
        """Whether the map is made of attention weights alone, so that rewiring can be asked about it."""
        return self in {MapKind.RAW_ATTENTION, MapKind.ATTENTION_ROLLOUT, MapKind.ATTENTION_FLOW}


ALWAYS_RETURNED = (MapKind.RAW_ATTENTION, MapKind.ATTENTION_ROLLOUT)
"""Maps that every answer carries, whichever is primary (DESIGN section 2)."""
REWIRED_MAPS = (MapKind.RAW_ATTENTION, MapKind.ATTENTION_ROLLOUT)
"""Maps that are recomputed where a row's attention is edited."""
MEASURED_MAPS = (MapKind.LEAVE_ONE_OUT, MapKind.EFFECT)
"""Maps that are made of what rows answered, not of the inside of the model."""
EMBEDDING_GRADIENT_MAPS = (
    MapKind.INPUT_X_GRADIENT,
    MapKind.INTEGRATED_GRADIENTS,
    MapKind.DECOMPOSITION,
    MapKind.EFFECT,
)
"""Maps that are made of gradients at the embeddings, or of effects that were estimated with them."""
DEFAULT_MAPS = (*ALWAYS_RETURNED, MapKind.NORM_ROLLOUT, MapKind.GRADIENT_ROLLOUT)
"""Maps of a request that names none: all that come out of one forward and backward of the untouched input. The others
cost more, and are made where they are asked for."""


def usual_of(offered: Collection[MapKind]) -> tuple[MapKind, ...]:
    """Of the maps that a model can make those that its answers recommend from: DEFAULT_MAPS.

    Of a model that can make none of these, since its attention cannot be opened, MEASURED_MAPS.
    """
    return tuple(kind for kind in DEFAULT_MAPS if kind in offered) or tuple(
        kind for kind in MEASURED_MAPS if kind in offered
    )


READOUT_MAPS = (
    MapKind.RAW_ATTENTION,
    MapKind.ATTENTION_ROLLOUT,
    MapKind.ATTENTION_FLOW,
    MapKind.NORM_ROLLOUT,
    MapKind.GRADIENT_ROLLOUT,
)
"""Maps of what the position attends to that the classifier reads."""


class HeadFusion(Enum):
    """How the heads of a layer become one map."""

    MEAN = "mean"
    MAX = "max"


@dataclass(frozen=True, slots=True, kw_only=True)
class MapOptions:
    """Options of the maps; the defaults are the maps' usual definitions.

    Layers and heads count from 0; empty means default.
    """

    raw_layers: tuple[int, ...] = ()
    raw_heads: tuple[int, ...] = ()
    rollout_fusion: HeadFusion = HeadFusion.MEAN
    rollout_start_layer: int = 0
    integration_points: int = 8
    """Points at which INTEGRATED_GRADIENTS takes the gradient, 1 to MOST_INTEGRATION_POINTS."""


MOST_INTEGRATION_POINTS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitMap:
    """A map over units: non-negative `scores` [n] that sum to 1, and the share of mass that lay on special tokens.

    `scores` may hold NaN where the model produced NaN; the verdict then says NUMERICS. `note` is one sentence about how
    this one came out, for people, where there is something to say. `signed` [n]: the values whose positive part it is,
    in log-odds, where it was made from gradients or a decomposition.
    """

    kind: MapKind
    scores: Floats
    dropped_mass: float
    note: str = ""
    signed: Floats | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingMap:
    """A map that was asked for and could not be made; `reason` is one sentence for people.

    `late`: for want of time; a request with more of it might get the map.
    """

    kind: MapKind
    reason: str
    late: bool


class TensorType(Enum):
    """Storage of attention values on the wire."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    UINT8 = "uint8"


class HeadReduction(Enum):
    """Reduction of an attention tensor over the selected heads."""

    NONE = "none"
    MEAN = "mean"
    MAX = "max"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionSelection:
    """Which part of the attention the caller wants. Empty layers or heads mean all."""

    layers: tuple[int, ...] = ()
    heads: tuple[int, ...] = ()
    head_reduction: HeadReduction = HeadReduction.NONE
    readout_only: bool = True
    tensor_type: TensorType = TensorType.FLOAT32


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionTensor:
    """The attention as asked for: values [layers, heads or 1, queries or 1, keys], as the wire's type."""

    layers: tuple[int, ...]
    heads: tuple[int, ...]
    readout: int
    tensor_type: TensorType
    shape: tuple[int, ...]
    data: bytes = field(repr=False)


MAX_ATTENTION_BYTES = 3_670_016
"""3.5 MiB: with it a reply stays below the 4 MiB that clients accept by default. A stream of chunks may bring more."""

VALUE_BYTES = {TensorType.FLOAT32: 4, TensorType.FLOAT16: 2, TensorType.UINT8: 1}


def attention_bytes(selection: AttentionSelection, *, layers: int, heads: int, length: int) -> int:
    """Bytes of the tensor that `selection` asks of a model with so many layers and heads, on `length` tokens.

    A selection above what can be sent is refused before it is computed; see `InvalidInput`, field `attention`.
    """
    chosen_heads = (len(selection.heads) or heads) if selection.head_reduction is HeadReduction.NONE else 1
    queries = 1 if selection.readout_only else length
    return (len(selection.layers) or layers) * chosen_heads * queries * length * VALUE_BYTES[selection.tensor_type]
