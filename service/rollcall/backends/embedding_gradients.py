"""Gradients of the margin at the word embeddings, on the straight way from the masked input to the input itself.

Shapes: P point, T token, E width of the embeddings, C class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from rollcall.backends.base import PathGradients
from rollcall.backends.tensors import AnyInputs
from rollcall.domain.decision import Decision

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingGradients:
    """Differentiates one model at the output of its embeddings of words, or patches; positions and types stay.

    What stands in front of the patches is no output of theirs: its gradients are 0.
    """

    words: nn.Module
    forward: Callable[[AnyInputs], Tensor] = field(repr=False)

    def along(self, inputs: AnyInputs, masked: Tensor, decision: Decision, points: Sequence[float]) -> PathGradients:
        """Gradients at `points` between the masked input (0) and the input (1).

        `inputs` holds the input P times, `masked` its content with every unit masked. The margin of each point is
        differentiated by itself; no parameter gets a gradient.
        """
        with torch.no_grad():
            own, baseline = self.words(inputs.content[:1])[0], self.words(masked.unsqueeze(0))[0]
            difference = own - baseline
            fractions = torch.tensor(points, dtype=own.dtype, device=own.device)[:, None, None]
            embedded = baseline + fractions * difference
        with torch.enable_grad(), self._replaced(embedded.requires_grad_()):
            logits = self.forward(inputs)
        found = logits.detach().double().cpu().numpy()
        directions = torch.stack([torch.from_numpy(decision.gradient(row)) for row in found]).to(logits)
        (gradients,) = torch.autograd.grad(logits, embedded, grad_outputs=directions)
        wide = torch.promote_types(gradients.dtype, torch.float32)
        gradients = gradients.to(wide)
        front = (inputs.attention_mask.shape[1] - gradients.shape[1], 0)
        return PathGradients(
            along=nn.functional.pad((gradients * difference.to(wide)).sum(dim=-1), front),
            at=nn.functional.pad((gradients * embedded.detach().to(wide)).sum(dim=-1), front),
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
