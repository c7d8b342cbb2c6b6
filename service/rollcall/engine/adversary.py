"""Gradient search for attention that is very different and gives the same prediction. Runs on the device's thread.

Shapes: R restart, L layer, H head, Q query, K key, C class, T token, n unit.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from rollcall.attribution.raw_attention import raw_attention
from rollcall.attribution.rollout import attention_rollout, by_receptive_field
from rollcall.backends.base import BiasedAttention, Differentiable, readout_of
from rollcall.backends.observers import fuse_heads
from rollcall.domain.compute import Search
from rollcall.domain.decision import Task
from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import Floats, MapKind, MapOptions
from rollcall.domain.seeds import random_words

Tensor = torch.Tensor

PENALTY = 20.0
"""Nats that one unit of total variation beyond the tolerance costs: leaving it never pays."""
AIM = 0.8
"""Share of the tolerance that the search keeps to: the fresh forward is rounded differently."""
SPREADS = (0.5, 1.0, 2.0, 4.0)
"""Standard deviations of the restarts' first biases, in turn: near the original, and far from it."""
PUSH = 4.0
"""Every other restart begins with this much less attention to the heavier half of the units."""
_TINY = 1e-12


@dataclass(slots=True, kw_only=True)
class AdversarySearch:
    """Adam on a bias per restart, layer, head and key; restarts `first` to `first + count - 1` in one batch.

    `step` is one turn on the device. Restarts know nothing of each other: in how many batches they are is no matter.
    """

    backend: Differentiable
    encoding: Encoding = field(repr=False)
    options: MapOptions
    search: Search
    first: int
    count: int
    best: list[float] = field(default_factory=list)
    found: list[Floats | None] = field(default_factory=list, repr=False)
    _bias: Tensor | None = field(default=None, repr=False)
    _optimizer: torch.optim.Adam | None = field(default=None, repr=False)

    def step(self) -> None:
        """Run the restarts once, remember what is best and keeps the prediction, and move every bias."""
        if self._bias is None or self._optimizer is None:
            self._bias = self._first_biases().requires_grad_()
            self._optimizer = torch.optim.Adam([self._bias], lr=self.search.step_size)
            self.best, self.found = [0.0] * self.count, [None] * self.count
        attended = self.backend.biased(self.encoding, self._bias)
        distance = self._distance(self._units(attended))
        change, flipped = self._change(attended.logits)
        self._remember(distance.detach(), change.detach(), flipped)
        excess = (change - AIM * self.search.tolerance).clamp(min=0)
        loss = (PENALTY * excess - distance).sum()
        (gradient,) = torch.autograd.grad(loss, self._bias)
        usable = gradient.flatten(1).isfinite().all(dim=1)  # of each restart by itself
        self._bias.grad = torch.where(usable[:, None, None, None], gradient, 0.0)
        self._optimizer.step()

    def proposed(self) -> list[Floats]:
        """The best bias [L, H, T] of each restart that found one."""
        return [bias for bias in self.found if bias is not None]

    def _first_biases(self) -> Tensor:
        shape = (self.search.restarts, self.backend.shape.layers, self.backend.shape.heads, self.encoding.length)
        words = random_words(self.search.seed, "adversary", (2, *shape))
        uniform = torch.from_numpy((words >> 11).astype("float64") / 2**53).clamp(min=_TINY)
        normal = (-2 * uniform[0].log()).sqrt() * (2 * torch.pi * uniform[1]).cos()  # Box and Muller 1958
        spreads = torch.tensor([SPREADS[i % len(SPREADS)] for i in range(self.search.restarts)], dtype=torch.float64)
        bias = normal * spreads[:, None, None, None]
        heavy = self.encoding.tokens_of(self.search.original > _median(self.search.original))
        bias[1::2] -= PUSH * torch.from_numpy(heavy.astype("float64"))
        own = bias[self.first : self.first + self.count]
        return own.to(torch.float32).to(self.backend.device)

    def _units(self, attended: BiasedAttention) -> Tensor:
        """The map over units [R, n] of what was attended to."""
        layers, options = attended.probabilities, self.options
        at = readout_of(self.backend, self.encoding)
        if self.search.kind is MapKind.RAW_ATTENTION:
            readout = torch.stack([layer[:, :, at] for layer in layers], dim=1)
            weights = raw_attention(readout, options.raw_layers, options.raw_heads)
        else:
            fusions = [options.rollout_fusion] * len(layers[0])
            fused = [fuse_heads(layer, fusions) for layer in layers]
            weights = attention_rollout(fused, at, options.rollout_start_layer)
            weights = by_receptive_field(weights) if self.backend.shape.causal else weights
        content = torch.from_numpy(self.encoding.unit_of_token >= 0).to(weights.device)
        unit = torch.from_numpy(self.encoding.unit_of_token).to(weights.device)[content]
        sums = weights.new_zeros(len(weights), len(self.encoding.units)).index_add(1, unit, weights[:, content])
        return sums / sums.sum(dim=1, keepdim=True).clamp(min=_TINY)

    def _distance(self, units: Tensor) -> Tensor:
        """Jensen-Shannon divergence [R] of maps [R, n] from the original, in nats."""
        original = torch.from_numpy(self.search.original).to(units)
        middle = ((units + original) / 2).clamp(min=_TINY)
        own = (units * (units.clamp(min=_TINY) / middle).log()).sum(dim=1)
        return (own + (original * (original.clamp(min=_TINY) / middle).log()).sum(dim=1)) / 2

    def _change(self, logits: Tensor) -> tuple[Tensor, list[bool]]:
        """Total variation distances [R] of predictions from the original, and whether each changes the decision.

        In double precision: the tolerance is finer than half precision is.
        """
        decision, wide = self.search.decision, logits.double()
        base = torch.from_numpy(self.search.logits).to(wide)
        if decision.task is Task.MULTI_LABEL:
            change = (wide.sigmoid() - base.sigmoid()).abs().amax(dim=1)
        else:
            change = (wide.softmax(dim=1) - base.softmax(dim=0)).abs().sum(dim=1) / 2
        flipped = decision.flipped(self.search.logits, wide.detach().cpu().numpy())
        return change, flipped.tolist()

    def _remember(self, distance: Tensor, change: Tensor, flipped: list[bool]) -> None:
        assert self._bias is not None
        for i, (far, moved, flips) in enumerate(zip(distance.tolist(), change.tolist(), flipped, strict=True)):
            if far > self.best[i] and moved <= AIM * self.search.tolerance and not flips:
                self.best[i] = far
                self.found[i] = self._bias[i].detach().double().cpu().numpy().copy()


def _median(weights: Floats) -> float:
    return float(sorted(weights.tolist())[len(weights) // 2])
