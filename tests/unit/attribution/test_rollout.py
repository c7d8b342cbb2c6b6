"""Attention rollout against closed forms that can be written on a napkin."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from rollcall.attribution.rollout import attention_rollout, norm_rollout
from rollcall.domain.maps import Floats

LAYERS, TOKENS = 5, 6
SWAP = np.array([1, 0, 3, 2, 5, 4])


def rollout(maps: list[Floats], start_layer: int = 0) -> Floats:
    """Rollout matrix [Q, K] of one map [Q, K] per layer, read row by row."""
    fused = [torch.from_numpy(layer).unsqueeze(0) for layer in maps]
    rows = [attention_rollout(fused, readout, start_layer)[0] for readout in range(len(maps[0]))]
    return torch.stack(rows).numpy()


def random_maps(seed: int, layers: int = LAYERS, tokens: int = TOKENS) -> list[Floats]:
    """Random row-stochastic maps."""
    return list(np.random.default_rng(seed).dirichlet(np.ones(tokens), size=(layers, tokens)))


@pytest.mark.parametrize("layers", [1, 2, 5, 12])
def test_uniform_attention_leaves_each_token_half_of_itself_per_layer(layers: int) -> None:
    """Uniform attention gives 2^-L on the token itself and the rest spread evenly."""
    expected = 2.0**-layers * np.eye(TOKENS) + (1 - 2.0**-layers) / TOKENS
    assert_allclose(rollout([np.full((TOKENS, TOKENS), 1 / TOKENS)] * layers), expected, atol=1e-15)


def test_tokens_that_attend_to_themselves_keep_everything() -> None:
    """Identity attention has identity rollout."""
    assert_allclose(rollout([np.eye(TOKENS)] * LAYERS), np.eye(TOKENS))


def test_a_permutation_is_its_power() -> None:
    """The same permutation in every layer gives (I / 2 + P / 2) to the power of the layers."""
    permutation = np.eye(TOKENS)[SWAP]
    assert_allclose(rollout([permutation] * 3), np.linalg.matrix_power((np.eye(TOKENS) + permutation) / 2, 3))


def test_two_tokens_that_swap_twice_share_everything() -> None:
    """The textbook case: two tokens, two layers of swapping, every entry one half."""
    assert_allclose(rollout([np.array([[0.0, 1.0], [1.0, 0.0]])] * 2), np.full((2, 2), 0.5))


@pytest.mark.parametrize("start", range(LAYERS))
def test_a_start_layer_takes_the_product_from_there_up(start: int) -> None:
    """Starting higher leaves out the lower layers' factors, and nothing else."""
    maps = random_maps(1)
    expected = np.eye(TOKENS)
    for attention in maps[start:]:
        factor = attention + np.eye(TOKENS)
        expected = factor / factor.sum(axis=1, keepdims=True) @ expected
    assert_allclose(rollout(maps, start), expected, atol=1e-14)


@pytest.mark.parametrize("seed", range(3))
def test_rows_sum_to_one(seed: int) -> None:
    """All of a token's origin is accounted for."""
    assert_allclose(rollout(random_maps(seed)).sum(axis=1), 1.0)


def test_causal_attention_stays_causal() -> None:
    """Where nobody looks ahead, nothing of a later token arrives; the first token is only itself."""
    masked = [np.tril(m) / np.tril(m).sum(axis=1, keepdims=True) for m in random_maps(2)]
    result = rollout(masked)
    assert_allclose(np.triu(result, 1), 0)
    assert_allclose(result[0], np.eye(TOKENS)[0])


def test_maps_fused_by_maximum_are_normalised() -> None:
    """Rows that do not sum to one, as the maximum over heads gives them, are normalised with the residual inside."""
    maps = [2.5 * m for m in random_maps(3)]
    assert_allclose(rollout(maps).sum(axis=1), 1.0)
    assert_allclose(rollout([2 * np.eye(2), 2 * np.eye(2)]), np.eye(2))


def test_a_batch_is_its_rows() -> None:
    """Two inputs in one batch have the rollouts that they have alone."""
    first, second = random_maps(4), random_maps(5)
    fused = [torch.from_numpy(np.stack(layers)) for layers in zip(first, second, strict=True)]
    assert_allclose(attention_rollout(fused, 2).numpy(), [rollout(first)[2], rollout(second)[2]])


@pytest.mark.parametrize("layers", [1, 2, LAYERS])
@pytest.mark.parametrize("tokens", [1, 2, TOKENS])
@pytest.mark.parametrize("start", [0, 1])
def test_of_the_last_layer_the_read_out_query_suffices(layers: int, tokens: int, start: int) -> None:
    """Nothing but the read-out query's row of the last layer matters: the other ones need not be computed."""
    maps = random_maps(7, layers, tokens)
    for readout in range(tokens):
        fused = [torch.from_numpy(layer).unsqueeze(0) for layer in maps]
        fused[-1] = fused[-1][:, readout : readout + 1]
        before = [layer.clone() for layer in fused]
        row = attention_rollout(fused, readout, min(start, layers - 1))[0].numpy()
        assert_allclose(row, rollout(maps, min(start, layers - 1))[readout], atol=1e-15)
        assert all(torch.equal(layer, kept) for layer, kept in zip(fused, before, strict=True))


def test_norm_rollout_multiplies_what_it_is_given() -> None:
    """Norms hold the residual already: their rollout is the plain product of the layers."""
    maps = random_maps(6)
    expected = np.linalg.multi_dot(maps[::-1])
    found = norm_rollout(torch.from_numpy(np.stack(maps)).unsqueeze(0), 3)[0].numpy()
    assert_allclose(found, expected[3])


@pytest.mark.parametrize("tokens", [3, 21, 65])
def test_a_row_of_a_batch_is_the_same_in_any_place(tokens: int) -> None:
    """Which rows share a batch must not change a digit, wherever in memory each one lies."""
    generator = torch.Generator().manual_seed(1)
    fused = [torch.rand(12, tokens, tokens, generator=generator).softmax(dim=-1) for _ in range(3)]
    together = attention_rollout(fused, readout=0)
    for first in range(12):
        part = attention_rollout([layer[first:].clone() for layer in fused], readout=0)
        assert torch.equal(part, together[first:])
