"""Rollout of gradient times attention, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from rollcall.attribution.gradient_rollout import gradient_rollout
from rollcall.domain.maps import Floats


def of(*layers: list[list[float]] | Floats, readout: int = 0) -> Floats:
    """Map of one layer matrix after the other, the lowest first."""
    return gradient_rollout(torch.tensor(np.stack(layers), dtype=torch.float64).unsqueeze(0), readout)[0].numpy()


def test_one_layer_is_its_own_row() -> None:
    """With one layer the map is that layer's row; the read-out token's own unit share is left out."""
    assert_allclose(of([[0.2, 0.3], [0.5, 0.7]]), [0.2, 0.3])
    assert_allclose(of([[0.2, 0.3], [0.5, 0.7]], readout=1), [0.5, 0.7])


def test_two_tokens_and_two_layers_by_hand() -> None:
    """R1 = I + C1 = [[1.1, .2], [.3, 1.4]]; R2 = R1 + C2 R1; its first row, without the identity's 1."""
    lower, upper = [[0.1, 0.2], [0.3, 0.4]], [[0.5, 0.6], [0.7, 0.8]]
    first = 1.1 + (0.5 * 1.1 + 0.6 * 0.3) - 1
    second = 0.2 + (0.5 * 0.2 + 0.6 * 1.4)
    assert_allclose(of(lower, upper), [first, second])


@pytest.mark.parametrize("readout", [0, 3])
def test_many_layers_are_the_definition(readout: int) -> None:
    """R = I, then R += C R layer by layer with whole matrices, gives the same row."""
    layers = np.random.default_rng(0).random((4, 5, 5)) / 5
    relevance = np.eye(5)
    for layer in layers:
        relevance = relevance + layer @ relevance
    assert_allclose(of(*layers, readout=readout), relevance[readout] - np.eye(5)[readout])


def test_no_gradient_is_an_empty_map() -> None:
    """Where attention does not move the margin at all, nothing is attributed to anybody."""
    assert_allclose(of(np.zeros((3, 3)), np.zeros((3, 3))), 0)


def test_a_batch_is_its_rows() -> None:
    """Two inputs in one batch have the maps that they have alone."""
    layers = np.random.default_rng(1).random((2, 3, 4, 4))
    both = gradient_rollout(torch.from_numpy(layers), 1).numpy()
    assert_allclose(both, [of(*layers[0], readout=1), of(*layers[1], readout=1)])
