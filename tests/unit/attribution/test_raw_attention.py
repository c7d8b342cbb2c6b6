"""The read-out query's attention."""

from __future__ import annotations

import pytest
import torch

from rollcall.attribution.raw_attention import raw_attention

READOUT = torch.arange(2 * 3 * 4 * 5, dtype=torch.float64).reshape(2, 3, 4, 5)
"""[B, L, H, K]"""


def test_the_default_is_the_last_layer_averaged_over_heads() -> None:
    """What everybody calls "the attention" of a classifier."""
    assert torch.equal(raw_attention(READOUT), READOUT[:, 2].mean(dim=1))


@pytest.mark.parametrize(
    ("layers", "heads"),
    [((0,), ()), ((2, 0), ()), ((), (3,)), ((1,), (0, 2)), ((0, 1, 2), (0, 1, 2, 3))],
)
def test_layers_and_heads_can_be_chosen(layers: tuple[int, ...], heads: tuple[int, ...]) -> None:
    """The mean over exactly the chosen layers and heads."""
    chosen = [READOUT[:, layer, head] for layer in layers or (2,) for head in heads or range(4)]
    assert torch.allclose(raw_attention(READOUT, layers, heads), torch.stack(chosen).mean(dim=0))
