"""One untouched input: its answer, its attention reduced to what maps are made of, and the gradients of its margin.

Shapes: L layer, H head, Q query, K key, T token, C class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import numpy as np
import torch

from rollcall.backends.base import AttentionReductions, Capture, CaptureRequest
from rollcall.backends.observers import UNIFORM_TOLERANCE, Block, CaptureObserver, Reducer
from rollcall.backends.plan import BatchPlan
from rollcall.backends.readout import Readout
from rollcall.backends.replays import Call
from rollcall.backends.tensors import AnyInputs, Packed, select_attention
from rollcall.domain.maps import MapKind

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwards:
    """What running one input forwards gave."""

    logits: Tensor = field(repr=False)
    state: Tensor = field(repr=False)
    attention: AttentionReductions
    norms: Tensor | None = field(repr=False)
    deviation: Tensor
    """Largest difference of a weight from its share among the visible keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capturing:
    """The capture of one input for one request, in two stages: forwards, and backwards once the decision is known."""

    forward: Callable[[AnyInputs, BatchPlan], Tensor] = field(repr=False)
    see: Callable[[Mapping[str, Tensor]], AnyInputs] = field(repr=False)
    """The inputs among the numbers."""
    watching_readout: Callable[[BatchPlan, Readout], AbstractContextManager[list[Tensor]]] = field(repr=False)
    blocks: tuple[Block, ...]
    readouts: Callable[[AnyInputs], Readout] = field(repr=False)
    """Where a batch is read, of the numbers that are it."""
    readout: int
    """Where this input is read."""
    device: str
    request: CaptureRequest
    tokens: int
    """Of the input itself."""
    padded: bool
    """Whether tokens may follow that are not its own."""
    _history: list[Tensor] = field(default_factory=list, repr=False)
    """Logits and probabilities that gradients can be taken of; empty where the forward was replayed."""

    @property
    def wants_gradient(self) -> bool:
        """Whether gradients are needed."""
        return MapKind.GRADIENT_ROLLOUT in self.request.maps

    @property
    def wants_norms(self) -> bool:
        """Whether transformed value norms are needed."""
        return MapKind.NORM_ROLLOUT in self.request.maps

    @property
    def key(self) -> tuple[object, ...]:
        """What the work depends on beside its numbers."""
        return self.wants_gradient, self.wants_norms, self.request.options.rollout_fusion

    def run(self, call: Call, inputs: Packed) -> Capture:
        """Run the stages; raises what `decide` raises."""
        seen = call.stage(inputs, self._forwards)
        logits = seen.logits.double().cpu().numpy()
        decision = self.request.decide(logits)
        gradients = None
        if self.wants_gradient:
            direction = np.asarray(decision.gradient(logits), dtype=np.float64)
            gradients = call.stage(Packed.of({"direction": direction}, self.device), self._backwards)
        selected = None
        if self.request.attention is not None:
            kept = [layer.detach()[0, :, : self.tokens, : self.tokens] for layer in self._history[1:]]
            selected = select_attention(kept, self.request.attention, self.readout % self.tokens)
        return Capture(
            logits=seen.logits,
            state=seen.state,
            decision=decision,
            attention=seen.attention,
            norms=seen.norms,
            gradients=gradients,
            selected=selected,
            uniform=bool(seen.deviation < UNIFORM_TOLERANCE),
        )

    def _forwards(self, tensors: Mapping[str, Tensor]) -> Forwards:
        inputs = self.see(tensors)
        readout = self.readouts(inputs)
        observer = CaptureObserver(
            reducer=Reducer(readout=readout, fusions=(self.request.options.rollout_fusion,)),
            blocks=self.blocks if self.wants_norms else (),
            keep_probabilities=self.wants_gradient or self.request.attention is not None,
            visible=inputs.attention_mask[0].bool() if self.padded else None,
        )
        plan = BatchPlan(observer=observer, gradients=True)
        with (
            torch.set_grad_enabled(self.wants_gradient),
            observer.watching_inputs(),
            self.watching_readout(plan, readout) as states,
        ):
            logits = self.forward(inputs, plan)
        self._history[:] = [logits, *observer.probabilities]
        return Forwards(
            logits=logits[0].detach(),
            state=states[-1][0].detach(),
            attention=observer.reducer.reductions(),
            norms=torch.stack(observer.norms) if observer.norms else None,
            deviation=observer.largest_deviation,
        )

    def _backwards(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Mean over heads of relu(gradient of the margin * attention), [L, Q, K]."""
        logits, *probabilities = self._history
        if not logits.requires_grad:  # the answer does not depend on attention at all
            return torch.zeros_like(torch.stack([p.detach().mean(dim=1)[0] for p in probabilities]))
        seed = tensors["direction"].to(logits.dtype).unsqueeze(0)
        gradients = torch.autograd.grad(
            logits, probabilities, grad_outputs=seed, allow_unused=True, materialize_grads=True
        )
        with torch.no_grad():
            return torch.stack([(g * p).relu().mean(dim=1)[0] for g, p in zip(gradients, probabilities, strict=True)])
