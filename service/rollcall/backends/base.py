"""The contract of a backend: encode an input, run rows, capture attention.

Tensors on its device leave only in these values.

Shapes: B batch, L layer, H head, Q query, K key, T token, D width, C class, P permuted row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch

from rollcall.domain.decision import Decision, Task
from rollcall.domain.inputs import Encoding, ModelInput
from rollcall.domain.maps import AttentionSelection, AttentionTensor, MapKind, MapOptions
from rollcall.domain.model import SelfTest
from rollcall.domain.rows import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the parts of one transformer block are, as module paths inside the block, in post-norm encoders."""

    attention: str
    """The module that calls the attention function."""
    out_projection: str
    first_norm: str
    second_norm: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the probe forward and the configuration say of the model."""

    layers: int
    heads: int
    classes: int
    max_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRequest:
    """What to capture of one untouched input. `decision` gives the gradient its direction."""

    maps: frozenset[MapKind]
    options: MapOptions
    decision: Decision
    attention: AttentionSelection | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionReductions:
    """Reduced attention: `fused` [B, L, Q, K] over heads, `readout` [B, L, H, K] at the read-out query."""

    fused: torch.Tensor = field(repr=False)
    readout: torch.Tensor = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """One input's attention, reduced. `norms` and `gradients` [L, Q, K] only where their maps were asked for."""

    attention: AttentionReductions
    norms: torch.Tensor | None = field(repr=False)
    gradients: torch.Tensor | None = field(repr=False)
    selected: AttentionTensor | None
    uniform: bool
    """Whether every layer's attention is uniform up to rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOutput:
    """One batch of rows: `logits` [B, C], `readouts` [B, D], and reductions of the permuted rows (in row order)."""

    logits: torch.Tensor = field(repr=False)
    readouts: torch.Tensor | None = field(repr=False)
    permuted: AttentionReductions | None


class Backend(Protocol):
    """What the engine and the loader need of a runtime."""

    name: str
    device: str
    dtype: str
    shape: Shape
    task: Task
    readout: int
    """Position that the classifier reads."""

    def encode(self, model_input: ModelInput) -> Encoding:
        """Tokenise and find the units. Safe off the device thread. Raises InvalidInput."""
        ...

    def run(self, encoding: Encoding, rows: list[Row], options: MapOptions) -> BatchOutput:
        """Run rows of one input as one batch."""
        ...

    def capture(self, encoding: Encoding, request: CaptureRequest) -> Capture:
        """Run the untouched input once and reduce its attention."""
        ...

    def self_test(self) -> tuple[SelfTest, ...]:
        """Prove the hooks on these weights."""
        ...
