"""What each token's embedding contributes to a direction of the logits, through a post-norm encoder taken as linear.

DecompX (Modarressi et al. 2023, section 3) carries the vector that each token contributes through every layer, with
attention weights and the spreads of the layer norms as they were on this input, and an activation as the gate that it
was, act(x) / x. All of this is linear; so the part of one number that a token contributes is the product of its
embedding with what the adjoint maps carry down from that number. That is one pass from the top to the bottom on [T, E]
for all tokens at once, where vectors for each of n units would be [n, T, E].

Biases contribute, too, and belong to no token: they are summed apart.

Shapes: T token, H head, Q query, K key, D width of a head, E width of the model, F width of the feed-forward part, C
class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from rollcall.backends.base import Decomposition
from rollcall.backends.observers import Block
from rollcall.backends.plan import BatchPlan, ExplicitRows
from rollcall.backends.tensors import AnyInputs
from rollcall.domain.decision import Decision

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedForward:
    """The two linear maps around an activation, of a block or of the head."""

    into: nn.Linear
    out: nn.Linear


@dataclass(frozen=True, slots=True, kw_only=True)
class Decomposer:
    """Decomposes the logits of one model whose blocks are post-norm: attention, norm, feed-forward, norm.

    `head` reads one position alone: a linear map, or two around an activation.
    """

    blocks: tuple[Block, ...]
    feeds: tuple[FeedForward, ...]
    head: FeedForward | nn.Linear
    forward: Callable[[AnyInputs, BatchPlan | None], Tensor] = field(repr=False)

    def decompose(self, inputs: AnyInputs, decision: Decision, readout: int) -> Decomposition:
        """Run one input [1, T] and carry the margin's gradient with respect to its logits down to the embeddings.

        The head reads position `readout`.
        """
        seen = _Seen()
        with torch.no_grad(), self._watching(seen):
            logits = self.forward(inputs, BatchPlan(explicit=ExplicitRows(first=0), observer=seen))[0]
            wide = torch.promote_types(logits.dtype, torch.float32)
            direction = torch.from_numpy(decision.gradient(logits.double().cpu().numpy())).to(logits.device, wide)
            down = _Descent(wide=wide)
            states = seen.states[0].to(wide)
            adjoint = torch.zeros_like(states)
            above = direction.unsqueeze(0)
            adjoint[readout] = (
                down.linear(self.head, above)
                if isinstance(self.head, nn.Linear)
                else down.through(self.head, seen.gates[-1], above)
            )[0]
            for layer in range(len(self.blocks) - 1, -1, -1):
                block, (first, second) = self.blocks[layer], seen.spreads[2 * layer : 2 * layer + 2]
                adjoint = down.norm(block.norms[1], second, adjoint)
                adjoint = adjoint + down.through(self.feeds[layer], seen.gates[layer], adjoint)
                adjoint = down.norm(block.norms[0], first, adjoint)
                adjoint = adjoint + down.attention(block, seen.probabilities[layer], adjoint)
            return Decomposition(
                tokens=(adjoint * states).sum(dim=-1), biases=down.biases, total=direction @ logits.to(wide)
            )

    @contextmanager
    def _watching(self, seen: _Seen) -> Iterator[None]:
        """Note what the forward makes of this input; the hooks are gone afterwards, also after a failure."""
        with ExitStack() as hooks:

            def on(handle: torch.utils.hooks.RemovableHandle) -> None:
                hooks.callback(handle.remove)

            on(self.blocks[0].module.register_forward_pre_hook(seen.enter, with_kwargs=True))
            # A module that serves several layers is watched once, and called in their order.
            for norm in _once([norm for block in self.blocks for norm in block.norms]):
                on(norm.register_forward_hook(seen.normalise))
            heads = () if isinstance(self.head, nn.Linear) else (self.head,)
            for feed in (*self.feeds, *heads):
                if id(feed.into) not in seen.watched:
                    seen.watched.add(id(feed.into))
                    on(feed.into.register_forward_hook(seen.before))
                    on(feed.out.register_forward_pre_hook(seen.after))
            yield


def _once(modules: list[nn.LayerNorm]) -> list[nn.LayerNorm]:
    return list({id(module): module for module in modules}.values())


@dataclass(slots=True, kw_only=True)
class _Seen:
    """What one forward made of one input, in the order of the calls."""

    states: list[Tensor] = field(default_factory=list)
    """Inputs of the first block [T, E]."""
    probabilities: list[Tensor] = field(default_factory=list)
    """Attention [H, Q, K] of each layer."""
    spreads: list[Tensor] = field(default_factory=list)
    """What each layer norm divided its rows by [T, 1]: two for each layer."""
    gates: list[Tensor] = field(default_factory=list)
    """act(x) / x of each layer's feed-forward part [T, F], and last of the head's [1, E]."""
    watched: set[int] = field(default_factory=set)
    _before: Tensor | None = None

    def observe(self, probabilities: Tensor, value: Tensor) -> None:  # noqa: ARG002 - the observer contract
        """Note one layer's attention."""
        self.probabilities.append(probabilities[0])

    def enter(self, _: nn.Module, args: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        """Note the input of the first block; of a block that serves all layers the first one counts."""
        self.states.append((args[0] if args else named["hidden_states"])[0])

    def normalise(self, norm: nn.LayerNorm, args: tuple[Tensor, ...], _: Tensor) -> None:
        """Note the spread of a layer norm's input."""
        wide = args[0][0].to(torch.promote_types(args[0].dtype, torch.float32))
        self.spreads.append((wide.var(dim=-1, correction=0, keepdim=True) + norm.eps).sqrt())

    def before(self, _: nn.Module, __: object, output: Tensor) -> None:
        """Note what goes into an activation."""
        self._before = output

    def after(self, _: nn.Module, args: tuple[Tensor, ...]) -> None:
        """Note what came out of it, as the gate that it was; where nothing goes in, nothing comes out."""
        assert self._before is not None
        wide = torch.promote_types(args[0].dtype, torch.float32)
        inside, outside = (each.reshape(-1, each.shape[-1]).to(wide) for each in (self._before, args[0]))
        self.gates.append(torch.where(inside == 0, 0.0, outside / inside))


@dataclass(slots=True, kw_only=True)
class _Descent:
    """Adjoints of the linear parts; each adds what its biases contribute to `biases`."""

    wide: torch.dtype
    biases: Tensor = field(default_factory=lambda: torch.zeros(()))

    def linear(self, module: nn.Linear, adjoint: Tensor) -> Tensor:
        """Back through a linear map."""
        if module.bias is not None:
            self._add(adjoint, module.bias)
        return adjoint @ module.weight.to(self.wide)

    def norm(self, module: nn.LayerNorm, spread: Tensor, adjoint: Tensor) -> Tensor:
        """Back through a layer norm with this spread: gain, division, centring."""
        self._add(adjoint, module.bias)
        scaled = adjoint * module.weight.to(self.wide) / spread
        return scaled - scaled.mean(dim=-1, keepdim=True)

    def through(self, feed: FeedForward, gate: Tensor, adjoint: Tensor) -> Tensor:
        """Back through two linear maps with a gate between them."""
        return self.linear(feed.into, self.linear(feed.out, adjoint) * gate)

    def attention(self, block: Block, probabilities: Tensor, adjoint: Tensor) -> Tensor:
        """Back through output projection, attention [H, Q, K] as it was, and values."""
        assert block.out_projection is not None
        assert block.value is not None
        heads, _, keys = probabilities.shape
        context = self.linear(block.out_projection, adjoint).view(keys, heads, -1).transpose(0, 1)
        values = probabilities.to(self.wide).transpose(1, 2) @ context
        return self.linear(block.value, values.transpose(0, 1).reshape(keys, -1))

    def _add(self, adjoint: Tensor, bias: Tensor) -> None:
        self.biases = self.biases.to(adjoint) + adjoint.sum(dim=0) @ bias.to(self.wide)
