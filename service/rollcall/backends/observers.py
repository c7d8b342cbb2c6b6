"""Reductions of attention inside the forward, so that full maps are kept only where somebody asked for them.

Shapes: R rows, L layer, H head, Q query, K key, D width of a head, E width of the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from rollcall.backends.base import AttentionReductions
from rollcall.backends.readout import Readout, read
from rollcall.domain.maps import HeadFusion

Tensor = torch.Tensor


@dataclass(slots=True, kw_only=True)
class Reducer:
    """Keeps head-fused maps and the read-out query's heads of every layer, for the first of the rows it is shown.

    `fusions` says for each of those rows how its heads become one map, `readout` where each is read.
    """

    readout: Readout
    fusions: tuple[HeadFusion, ...]
    fused: list[Tensor] = field(default_factory=list)
    readouts: list[Tensor] = field(default_factory=list)

    def observe(self, probabilities: Tensor, value: Tensor) -> None:  # noqa: ARG002 - the observer contract
        """Reduce one layer."""
        shown = probabilities.detach()[: len(self.fusions)]
        self.fused.append(fuse_heads(shown, self.fusions))
        self.readouts.append(read(shown, self.readout, dim=2)[:, :, 0])

    def reductions(self) -> AttentionReductions:
        """All layers."""
        return AttentionReductions(fused=tuple(self.fused), readout=torch.stack(self.readouts, dim=1))


def fuse_heads(probabilities: Tensor, fusions: Sequence[HeadFusion]) -> Tensor:
    """[R, H, Q, K] to [R, Q, K]."""
    fused = probabilities.mean(dim=1)
    for row, fusion in enumerate(fusions):
        if fusion is HeadFusion.MAX:
            fused[row] = probabilities[row].amax(dim=0)
    return fused


@dataclass(slots=True, kw_only=True)
class Keeper:
    """Keeps the probabilities [R, H, Q, K] of every layer, with their gradients."""

    probabilities: list[Tensor] = field(default_factory=list)

    def observe(self, probabilities: Tensor, value: Tensor) -> None:  # noqa: ARG002 - the observer contract
        """Keep one layer."""
        self.probabilities.append(probabilities)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The modules of one transformer block that value-aware maps and the last layer's single query need."""

    module: nn.Module
    attention: nn.Module
    key: nn.Linear | None
    value: nn.Linear | None
    out_projection: nn.Linear | None
    norms: tuple[nn.LayerNorm, ...]
    """Those behind the attention within the block: two in post-norm blocks, none in pre-norm ones."""
    input_norm: nn.LayerNorm | None = None
    gain: Tensor | None = None


@dataclass(slots=True, kw_only=True)
class CaptureObserver:
    """Everything that one untouched input's maps need, layer by layer; the batch is that one row."""

    reducer: Reducer
    blocks: tuple[Block, ...]
    """Blocks by call ordinal, for norms; empty if they are not wanted."""
    keep_probabilities: bool
    """Whether probabilities are kept whole: for gradients, or because the caller asked for attention tensors."""
    visible: Tensor | None = None
    """Which of the row's tokens [K] are its own, where it is padded."""
    block_inputs: list[Tensor] = field(default_factory=list)
    norms: list[Tensor] = field(default_factory=list)
    probabilities: list[Tensor] = field(default_factory=list)
    deviation: list[Tensor] = field(default_factory=list)
    """Per layer the largest difference of a weight from 1 / K."""

    @property
    def largest_deviation(self) -> Tensor:
        """Of all layers; below UNIFORM_TOLERANCE attention is uniform up to rounding."""
        return torch.stack(self.deviation).max()

    def observe(self, probabilities: Tensor, value: Tensor) -> None:
        """Reduce one layer."""
        layer = len(self.reducer.fused)
        self.reducer.observe(probabilities, value)
        detached = probabilities.detach()
        self.deviation.append(self._deviation(detached))
        if self.blocks:
            with torch.no_grad():
                self.norms.append(
                    transformed_norms(detached[0], value.detach()[0], self.block_inputs[layer][0], self.blocks[layer])
                )
        if self.keep_probabilities:
            self.probabilities.append(probabilities)

    def _deviation(self, probabilities: Tensor) -> Tensor:
        if self.visible is None:
            return (probabilities - 1 / probabilities.shape[-1]).abs().max()
        off = (probabilities - 1 / self.visible.sum()).abs()
        return off.masked_fill(~(self.visible[:, None] & self.visible), 0.0).max()

    @contextmanager
    def watching_inputs(self) -> Iterator[None]:
        """Record each block's input, which its residual adds; the hooks are gone afterwards, also after a failure."""

        def remember(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
            self.block_inputs.append((args[0] if args else kwargs["hidden_states"]).detach())

        modules = {id(block.module): block.module for block in self.blocks}
        hooks = [module.register_forward_pre_hook(remember, with_kwargs=True) for module in modules.values()]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


UNIFORM_TOLERANCE = 1e-6
"""Attention whose every weight is this close to 1/K is uniform up to rounding."""


def transformed_norms(probabilities: Tensor, value: Tensor, block_input: Tensor, block: Block) -> Tensor:
    """Norms of the transformed value vectors [Q, K], rows summing to 1.

    Residual and, in post-norm blocks, both layer norms are included, the FFN is left out: Kobayashi et al. 2021
    (section 3) for attention block, residual and first norm, Modarressi et al. 2022 (GlobEnc, section 3.3) for the
    second norm. A layer norm divides a row by one number, which cancels in the normalisation; what remains of it is
    centring and the gain. In a pre-norm block no norm comes behind the attention, and the values are those of the
    normalised input. The squared norm is a quadratic form in the heads' weights, so Q x K x E is never built.

    `probabilities` [H, Q, K], `value` [H, K, D], `block_input` [K, E].
    """
    assert block.out_projection is not None
    heads, _, width = value.shape
    value, block_input = value.to(probabilities.dtype), block_input.to(probabilities.dtype)
    weight = block.out_projection.weight.to(probabilities.dtype).view(-1, heads, width)
    added = torch.einsum("hkd,ehd->khe", value, weight)
    heads_out = _through_norms(added if block.gain is None else added * block.gain.to(added.dtype), block)
    gram = heads_out @ heads_out.transpose(1, 2)
    squared = torch.einsum("hqk,khg,gqk->qk", probabilities, gram, probabilities)
    residual = _through_norms(block_input, block)
    own = torch.einsum("hk,khe->ke", probabilities.diagonal(dim1=1, dim2=2), heads_out) + residual
    norms = squared.clamp(min=0).sqrt()
    norms = norms.diagonal_scatter(own.norm(dim=-1))
    return norms / norms.sum(dim=-1, keepdim=True)


def _through_norms(vectors: Tensor, block: Block) -> Tensor:
    for norm in block.norms:
        vectors = (vectors - vectors.mean(dim=-1, keepdim=True)) * norm.weight
    return vectors
