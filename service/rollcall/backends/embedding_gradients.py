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
from rollcall.backends.tensors import AnyInputs, Packed
from rollcall.domain.decision import Decision

Tensor = torch.Tensor
PLANE = 4
"""Dimensions of patches that still lie in rows and columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingGradients:
    """Differentiates one model at the output of its embeddings of words, or patches; positions and types stay.

    What stands in front of the patches is no output of theirs: its gradients are 0.
    """

    words: nn.Module
    forward: Callable[[AnyInputs], Tensor] = field(repr=False)
    see: Callable[[Mapping[str, Tensor]], AnyInputs] = field(repr=False)
    """The inputs among the numbers."""
    device: str
    tokens: int
    """Of every row."""
    _history: list[Tensor] = field(default_factory=list, repr=False)
    """Logits, the embeddings that they were made of, and the way; empty where the forward was replayed."""

    def run(self, call: Call, numbers: Packed, decision: Decision) -> PathGradients:
        """Gradients at points between the masked input (0) and the input (1), forwards and backwards.

        The numbers are `points` [P], and a batch of the input P times and, last, the input with every unit masked. The
        margin of each point is differentiated by itself; no parameter gets a gradient.
        """
        logits = call.stage(numbers, self._forwards).double().cpu().numpy()
        directions = np.stack([np.asarray(decision.gradient(row), dtype=np.float64) for row in logits])
        return call.stage(Packed.of({"directions": directions}, self.device), self._backwards)

    def _forwards(self, tensors: Mapping[str, Tensor]) -> Tensor:
        batch = self.see(tensors)
        inputs = batch.first(len(tensors["points"]))
        with torch.no_grad():
            own, baseline = self.words(inputs.content[:1])[0], self.words(batch.content[-1:])[0]
            difference = own - baseline
            points = tensors["points"].to(own.dtype)
            embedded = baseline + points.view(-1, *[1] * own.dim()) * difference
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
            along=self._per_token(gradients * difference.to(wide)),
            at=self._per_token(gradients * embedded.detach().to(wide)),
        )

    def _per_token(self, products: Tensor) -> Tensor:
        """Sums [P, T] over the embedding of products [P, T, E], or [P, E, rows, columns] as convolutions give them."""
        summed = products.sum(dim=1).flatten(1) if products.dim() == PLANE else products.sum(dim=-1)
        return nn.functional.pad(summed, (self.tokens - summed.shape[1], 0))

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
