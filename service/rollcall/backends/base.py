"""The contract of a backend: encode an input, run rows, capture attention.

Tensors on its device leave only in these values.

Shapes: B batch, L layer, H head, Q query, K key, T token, D width, C class, P permuted row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch

from rollcall.domain.decision import Decision, Task
from rollcall.domain.inputs import Encoding, ModelInput
from rollcall.domain.maps import AttentionSelection, AttentionTensor, Floats, MapKind, MapOptions
from rollcall.domain.model import SelfTest
from rollcall.domain.rows import Row

_USUAL = MapOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the parts of one transformer block are, as module paths inside the block."""

    attention: str
    """The module that calls the attention function; where `tapped`, the one that drops out probabilities."""
    stock: str = "sdpa"
    """The library's own attention that the family is run with."""
    tapped: bool = False
    """Whether the family computes attention by itself, past the library's attention functions."""
    encoder: str = ""
    """The module whose last hidden state is classified, as a path in the model; without one its base model."""
    described: str = ""
    """The part of the configuration that describes the encoder; without one the whole."""
    adds_mask: bool = False
    """Whether a mask is handed on as it is: what is added to the attention logits."""
    key: str = ""
    value: str = ""
    out_projection: str = ""
    """Without these the last layer computes all queries, and there is no map of norms."""
    norms: tuple[str, ...] = ()
    """Norms that what the attention adds goes through within the block: two in post-norm blocks, none in others."""
    input_norm: str = ""
    """The norm in front of the attention, in pre-norm blocks."""
    gain: str = ""
    """A parameter that what the attention adds is multiplied by, where there is one."""
    feed_in: str = ""
    """The linear map before the activation of the feed-forward part, and the one after it."""
    feed_out: str = ""
    head_in: str = ""
    """The same of the classifier, as paths in the model; without the first one it is one linear map. Without the other
    three logits are not decomposed."""
    head_out: str = ""

    def encoder_of(self, model: Any) -> torch.nn.Module:  # noqa: ANN401 - every family has a class of its own
        """What gives the last hidden state."""
        found: torch.nn.Module = model.get_submodule(self.encoder) if self.encoder else model.base_model
        return found

    def embedder_of(self, model: Any) -> torch.nn.Module:  # noqa: ANN401 - likewise
        """What embeds words or patches."""
        embedded: Any = self.encoder_of(model) if self.encoder else model
        found: torch.nn.Module = embedded.get_input_embeddings()
        return found

    def config_of(self, config: Any) -> Any:  # noqa: ANN401 - likewise
        """What describes the encoder."""
        return getattr(config, self.described) if self.described else config


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the probe forward and the configuration say of the model."""

    layers: int
    heads: int
    width: int
    classes: int
    max_tokens: int
    fixed_length: bool = False
    """Whether every input has so many tokens, as images have."""
    causal: bool = False
    """Whether each position sees itself and those before it alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRequest:
    """What to capture of one untouched input. `decide` makes logits [C] a decision, the gradient's direction."""

    maps: frozenset[MapKind]
    options: MapOptions
    decide: Callable[[Floats], Decision]
    attention: AttentionSelection | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow:
    """One row of a batch, with the input that it is a variant of and that request's options."""

    encoding: Encoding
    row: Row
    options: MapOptions


def variants(encoding: Encoding, rows: Sequence[Row], options: MapOptions = _USUAL) -> list[BatchRow]:
    """Rows of one input."""
    return [BatchRow(encoding=encoding, row=row, options=options) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionReductions:
    """Reduced attention: per layer `fused` [B, Q, K] over heads, and `readout` [B, L, H, K] at the read-out query.

    Q may be 1 in the last layer: then it holds the read-out query alone.
    """

    fused: tuple[torch.Tensor, ...] = field(repr=False)
    readout: torch.Tensor = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """One untouched input: `logits` [C], `state` [D] at the read-out position, the decision, and reduced attention.

    `norms` and `gradients` [L, Q, K] only where their maps were asked for. Neither state nor attention where attention
    is not open.
    """

    logits: torch.Tensor = field(repr=False)
    state: torch.Tensor | None = field(repr=False)
    decision: Decision
    attention: AttentionReductions | None
    norms: torch.Tensor | None = field(repr=False)
    gradients: torch.Tensor | None = field(repr=False)
    selected: AttentionTensor | None
    uniform: bool
    """Whether every layer's attention is uniform up to rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathGradients:
    """Gradients of the margin at points between the input and itself with every unit masked, per token [P, T].

    `along` is their product with the way from a token's masked word embedding to its own, `at` that with the embedding
    at the point, each summed over the embedding's dimensions. Both are signed: positive speaks for the target.
    """

    along: torch.Tensor = field(repr=False)
    at: torch.Tensor = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decomposition:
    """Parts of one number, the margin's direction times the logits: of each token's embedding [T], and of all biases.

    They sum to `total` up to rounding.
    """

    tokens: torch.Tensor = field(repr=False)
    biases: torch.Tensor
    total: torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasedAttention:
    """One input under several biases, with gradients: `logits` [B, C], and per layer `probabilities` [B, H, Q, K]."""

    logits: torch.Tensor = field(repr=False)
    probabilities: tuple[torch.Tensor, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOutput:
    """One batch of rows: `logits` [B, C], `readouts` [B, D], and reductions of the rows numbered `permuted_rows`."""

    logits: torch.Tensor = field(repr=False)
    readouts: torch.Tensor | None = field(repr=False)
    permuted: AttentionReductions | None
    permuted_rows: tuple[int, ...] = ()


def readout_of(backend: Backend, encoding: Encoding) -> int:
    """Position that is read of an input: its word's, where one is asked about, else the model's own."""
    return backend.readout if encoding.word is None else encoding.word.token_start


class Backend(Protocol):
    """What the engine and the loader need of a runtime."""

    name: str
    device: str
    dtype: str
    shape: Shape
    task: Task
    readout: int
    """Position that the classifier reads, of inputs that do not name another: see `readout_of`."""
    noise: float
    """Numerical floor: how far the same row's numbers may lie apart, relative to the largest of them or to 1."""
    maps: tuple[MapKind, ...]
    """Maps that can be made of this model."""
    is_counted: bool
    """Whether torch holds all that rows take, so that their memory can be measured."""
    batch_is_neutral: bool
    """Whether a row's numbers are the same, to the last bit, whatever else of its length is in the batch."""

    def encode(self, model_input: ModelInput) -> Encoding:
        """Tokenise and find the units. Safe off the device thread. Raises InvalidInput."""
        ...

    def predict(self, rows: Sequence[BatchRow]) -> torch.Tensor:
        """Logits [B, C] of untouched inputs, of any lengths, from the model as it is, without hooks."""
        ...

    def run(self, rows: Sequence[BatchRow]) -> BatchOutput:
        """Run rows, of one input or of several, as one batch."""
        ...

    def capture(self, encoding: Encoding, request: CaptureRequest) -> Capture:
        """Run the untouched input once and reduce its attention."""
        ...

    def synthetic(self, length: int, seed: int = 0) -> Encoding:
        """An input of random ids, to try things on; every token but the first and the last is a unit."""
        ...

    def self_test(self) -> tuple[SelfTest, ...]:
        """Prove the hooks on these weights."""
        ...


@runtime_checkable
class Differentiable(Backend, Protocol):
    """A backend whose runtime has gradients. Only of such a one may `maps` name maps that are made of them."""

    def path_gradients(self, encoding: Encoding, decision: Decision, points: Sequence[float]) -> PathGradients:
        """Differentiate at the word embeddings, at points from 0 (every unit masked) to 1 (the input): one batch."""
        ...

    def biased(self, encoding: Encoding, bias: torch.Tensor) -> BiasedAttention:
        """Run the input under biases [B, L, H, K] of the attention logits, to be differentiated by them."""
        ...

    def decompose(self, encoding: Encoding, decision: Decision) -> Decomposition:
        """Decompose the logits of the untouched input. Only where `maps` names DECOMPOSITION."""
        ...
