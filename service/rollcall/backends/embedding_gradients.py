"""Gradients of the margin at the word embeddings, on the straight way from the masked input to the input itself.

Shapes: P point, T token, E width of the embeddings, C class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from rollcall.backends.base import PathGradients
from rollcall.backends.replays import Call
from rollcall.backends.tensors import Inputs, Packed
from rollcall.domain.decision import Decision

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingGradients:
    """Differentiates one model at the output of its word embeddings; positions and types stay what they are."""

    words: nn.Module
    forward: Callable[[Inputs], Tensor] = field(repr=False)
    device: str
    _history: list[Tensor] = field(default_factory=list, repr=False)
    """Logits, the embeddings that they were made of, and the way; empty where the forward was replayed."""

    def run(self, call: Call, numbers: Packed, decision: Decision) -> PathGradients:
        """Gradients at points between the masked input (0) and the input (1), forwards and backwards.

        The numbers are `inputs` [3, P, T], the input P times, `masked` [T], its ids with every unit's tokens masked,
        and `points` [P]. The margin of each point is differentiated by itself; no parameter gets a gradient.
        """
        logits = call.stage(numbers, self._forwards).double().cpu().numpy()
        directions = np.stack([np.asarray(decision.gradient(row), dtype=np.float64) for row in logits])
        return call.stage(Packed.of({"directions": directions}, self.device), self._backwards)

    def _forwards(self, tensors: Mapping[str, Tensor]) -> Tensor:
        inputs = Inputs.of(tensors["inputs"])
        with torch.no_grad():
            own, baseline = self.words(inputs.input_ids[0]), self.words(tensors["masked"])
            difference = own - baseline
            embedded = baseline + tensors["points"].to(own.dtype)[:, None, None] * difference
        with torch.enable_grad(), self._replaced(embedded.requires_grad_()):
            logits = self.forward(inputs)
        self._history[:] = [logits, embedded, difference]
        return logits.detach()

    def _backwards(self, tensors: Mapping[str, Tensor]) -> PathGradients:
        logits, embedded, difference = self._history
        (gradients,) = torch.autograd.grad(logits, embedded, grad_outputs=tensors["directions"].to(logits.dtype))
        wide = torch.promote_types(gradients.dtype, torch.float32)
        gradients = gradients.to(wide)
        return PathGradients(
            along=(gradients * difference.to(wide)).sum(dim=-1),
            at=(gradients * embedded.detach().to(wide)).sum(dim=-1),
        )

    @contextmanager
    def _replaced(self, embedded: Tensor) -> Iterator[None]:
        """Put these embeddings [P, T, E] in the place of the module's; the hook is gone afterwards.

        Raises RuntimeError if the model never asked for its word embeddings: its gradient would be of something else.
        """
        calls: list[None] = []

        def replace(*_: object) -> Tensor:
            calls.append(None)
            return embedded

        hook = self.words.register_forward_hook(replace)
        try:
            yield
        finally:
            hook.remove()
        if not calls:
            message = "the model did not go through its word embeddings"
            raise RuntimeError(message)
