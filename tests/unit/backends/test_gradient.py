"""Gradients of the margin at the attention, against finite differences: nothing is differentiated on the other side."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rollcall.backends.base import CaptureRequest
from rollcall.domain.decision import Decision, Task
from rollcall.domain.inputs import TokensInput
from rollcall.domain.maps import Floats, MapKind, MapOptions
from tests.tiny import Zoo
from tests.unit.backends import stock
from tests.unit.backends.stock import Batch

STEP = 1e-5
LENGTH, LAYERS, HEADS = 4, 3, 4

DECISIONS = {
    "target": Decision(task=Task.SINGLE_LABEL, target=1),
    "foil": Decision(task=Task.SINGLE_LABEL, target=1, foil=2, by_sign=True),
    "threshold": Decision(task=Task.SINGLE_LABEL, target=0, threshold=0.9, by_sign=True),
    "not the target": Decision(task=Task.SINGLE_LABEL, target=0, threshold=0.9, negated=True, by_sign=True),
    "multi-label": Decision(task=Task.MULTI_LABEL, target=2, by_sign=True),
}


def margin(logits: Floats, question: str) -> Floats:
    """Margins [B] of logits [B, 3], from probabilities, as the words say them."""
    chances = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    odds = np.log(chances / (1 - chances))
    found = {
        "target": odds[:, 1],
        "foil": np.log(chances[:, 1] / chances[:, 2]),
        "threshold": odds[:, 0] - np.log(9),
        "not the target": np.log(9) - odds[:, 0],
        "multi-label": logits[:, 2],
    }
    return np.asarray(found[question])


@pytest.mark.parametrize("question", DECISIONS)
@pytest.mark.parametrize("family", ["bert", "distilbert", "albert"])
def test_gradients_are_the_slopes_of_the_margin(zoo: Zoo, family: str, question: str) -> None:
    """What the gradient map multiplies the attention by is how the margin moves when one weight is nudged."""
    tiny = zoo.precise(family)
    ids = stock.random_ids(tiny, LENGTH)
    weights = [*np.ndindex(LAYERS, HEADS, LENGTH, LENGTH)]
    batch = Batch.of(*[ids] * len(weights))
    explicit = tiny.stock(stock.EXPLICIT)

    def margins(step: float) -> Floats:
        """The margin with each single weight of each layer and head moved by a step."""

        def nudge(layer: int, probabilities: torch.Tensor) -> torch.Tensor:
            moved = probabilities.clone()
            for row, (at, head, query, key) in enumerate(weights):
                if at == layer:
                    moved[row, head, query, key] += step
            return moved

        logits, _ = stock.edited(tiny, explicit, batch, nudge)
        return margin(logits.numpy(), question)

    slopes = ((margins(STEP) - margins(-STEP)) / (2 * STEP)).reshape(LAYERS, HEADS, LENGTH, LENGTH)
    attention = stock.read(tiny, Batch.of(ids)).attention
    request = CaptureRequest(
        maps=frozenset({MapKind.GRADIENT_ROLLOUT}),
        options=MapOptions(),
        decide=lambda _: DECISIONS[question],
        attention=None,
    )
    gradients = tiny.backend.capture(tiny.backend.encode(TokensInput(input_ids=ids)), request).gradients
    assert gradients is not None
    expected = (slopes * attention).clip(min=0).mean(axis=1)
    assert np.abs(gradients.numpy() - expected).max() <= 1e-7 * np.abs(expected).max() + 1e-9
