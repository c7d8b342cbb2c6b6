"""Attention flow against hand cases, networkx, rollout at one layer, and its own bounds."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from rollcall.attribution.attention_flow import Flow, attention_flow
from rollcall.attribution.rollout import attention_rollout
from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import Floats
from tests.subjects import encoding
from tests.unit.attribution.test_units import pieces

WITHIN = 1e-7


def never() -> bool:
    """There is time."""
    return False


def flow(fused: Floats, encoded: Encoding, *, readout: int = 0, start_layer: int = 0) -> Flow:
    """Solve it."""
    found = attention_flow(fused, encoded, readout, start_layer, never)
    assert found is not None
    return found


def random_attention(layers: int, tokens: int, seed: int, sharp: float = 2.0) -> Floats:
    """Rows that sum to 1."""
    scores = np.exp(sharp * np.random.default_rng(seed).normal(size=(layers, tokens, tokens)))
    return np.asarray(scores / scores.sum(axis=-1, keepdims=True))


def by_networkx(fused: Floats, encoded: Encoding, readout: int) -> list[float]:
    """The definition, edge by edge: a node per layer and token, every unit's tokens drained into one sink."""
    layers, tokens, _ = fused.shape
    flows = []
    for unit in range(len(encoded.units)):
        graph = nx.DiGraph()
        graph.add_node("sink")
        for layer in range(layers):
            for i in range(tokens):
                for j in range(tokens):
                    capacity = 0.5 * fused[layer, i, j] + 0.5 * (i == j)
                    graph.add_edge((layer + 1, i), (layer, j), capacity=capacity)
        for token in np.flatnonzero(encoded.unit_of_token == unit):
            graph.add_edge((0, int(token)), "sink")  # without a capacity: infinite
        flows.append(nx.maximum_flow_value(graph, (layers, readout), "sink"))
    return flows


@pytest.mark.parametrize("readout", [0, 2])
@pytest.mark.parametrize("layers", [1, 2, 4])
def test_it_is_the_maximum_flow(layers: int, readout: int) -> None:
    """Every unit's flow equals networkx' on the whole network, for units of one and of several tokens."""
    encoded = pieces(-1, 0, 0, 1, 2, 2, 2, -1)
    fused = random_attention(layers, 8, seed=layers)
    assert_allclose(flow(fused, encoded, readout=readout).units, by_networkx(fused, encoded, readout), atol=WITHIN)


def test_one_layer_is_rollout() -> None:
    """With a single layer nothing can be a bottleneck but the edge itself: flow and rollout are the same."""
    fused = random_attention(1, 7, seed=0)
    found = flow(fused, encoding(5))
    rollout = attention_rollout([torch.from_numpy(fused)], readout=0)[0].numpy()
    assert_allclose(found.units, rollout[1:-1], atol=WITHIN)
    assert found.special == pytest.approx(rollout[0] + rollout[-1], abs=WITHIN)
    assert not found.saturated


def test_two_layers_are_the_sum_of_bottlenecks() -> None:
    """With two layers every path is its own: flow(j) = sum over k of the smaller of both edges."""
    fused = random_attention(2, 6, seed=1)
    lower, upper = (fused + np.eye(6)) / 2
    expected = np.minimum(upper[0][:, None], lower).sum(axis=0)
    assert_allclose(flow(fused, encoding(4)).units, expected[1:-1], atol=WITHIN)


def test_uniform_attention_by_hand() -> None:
    """Two layers of four tokens, edges of 1/8 and of 5/8 along the residual: four paths of 1/8 to every other token."""
    found = flow(np.full((2, 4, 4), 1 / 4), encoding(2))
    assert_allclose(found.units, 0.5, atol=WITHIN)
    # The read-out itself gets 5/8 + 3 * 1/8, the separator what the words get.
    assert found.special == pytest.approx(1.5, abs=WITHIN)


def test_identity_attention_lets_nothing_flow() -> None:
    """Where every token only attends to itself nothing reaches the read-out from any word."""
    found = flow(np.broadcast_to(np.eye(5), (3, 5, 5)), encoding(3))
    assert_allclose(found.units, 0)
    assert found.special == pytest.approx(1, abs=WITHIN)


def test_the_pieces_of_a_word_share_their_bottleneck() -> None:
    """A word cut into three pieces gets what passes the common edge once, not three times."""
    fused = np.zeros((2, 5, 5))
    fused[0] = np.eye(5)
    fused[0, 1] = [0, 0, 0.5, 0.5, 0]
    fused[1] = np.eye(5)
    fused[1, 0] = [0.8, 0.2, 0, 0, 0]
    # All flow to tokens 2 and 3 goes through the read-out's edge to token 1, of capacity .1.
    assert flow(fused, pieces(-1, 0, 1, 1, -1)).units[1] == pytest.approx(0.1, abs=WITHIN)
    assert_allclose(flow(fused, pieces(-1, 0, 1, 2, -1)).units[1:], 0.1, atol=WITHIN)


def test_saturation_is_seen() -> None:
    """Where the read-out keeps nearly everything to itself, its own edges bound every flow, and the map says so."""
    fused = random_attention(4, 8, seed=3, sharp=0.1)
    fused[:, 0] = 0.02
    fused[:, 0, 0] = 1 - 0.02 * 7
    found = flow(fused, encoding(6))
    assert found.saturated
    constant = found.units - fused[0, 0, 1:-1] / 2
    assert_allclose(constant, constant[0], atol=WITHIN)


def test_a_bottleneck_elsewhere_is_no_saturation() -> None:
    """A word that nobody else attends to is bounded by its own column, and the map does not call itself empty."""
    fused = random_attention(3, 8, seed=4, sharp=0.1)
    fused[:, :, 3] = 1e-6
    fused /= fused.sum(axis=-1, keepdims=True)
    found = flow(fused, encoding(6))
    assert not found.saturated
    assert found.units[2] < 0.6 * found.units.max()


def test_it_starts_where_it_is_told() -> None:
    """As in rollout, lower layers can be left out."""
    fused = random_attention(3, 6, seed=5)
    assert_allclose(flow(fused, encoding(4), start_layer=1).units, flow(fused[1:], encoding(4)).units)


def test_heads_fused_by_their_maximum_are_normalised() -> None:
    """Rows that do not sum to 1 become capacities that do, as in rollout."""
    fused = random_attention(2, 6, seed=6) * 3
    rows = fused + np.eye(6)
    normalised = rows / rows.sum(axis=-1, keepdims=True)
    expected = np.minimum(normalised[1, 0][:, None], normalised[0]).sum(axis=0)
    assert_allclose(flow(fused, encoding(4)).units, expected[1:-1], atol=WITHIN)


@pytest.mark.parametrize("asked", [0, 3])
def test_it_stops_when_it_is_told(asked: int) -> None:
    """Half a map is none: time is looked at before each word."""
    answers = iter([False] * asked + [True])
    assert attention_flow(random_attention(2, 6, seed=0), encoding(4), 0, 0, lambda: next(answers)) is None
    assert next(answers, None) is None


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 10**6), st.floats(0.0, 4.0))
def test_no_flow_exceeds_its_cuts(layers: int, words: int, seed: int, sharp: float) -> None:
    """What leaves the read-out and what enters a word's column bound its flow; no flow is negative."""
    fused = random_attention(layers, words + 2, seed, sharp)
    mixed = (fused + np.eye(words + 2)) / 2
    found = flow(fused, encoding(words))
    assert (found.units >= 0).all()
    bound = np.minimum(mixed[-1, 0].sum(), mixed[0].sum(axis=0)[1:-1])
    assert (found.units <= bound + WITHIN).all()


def test_not_a_number_stays_visible() -> None:
    """No flow is made up where the model produced NaN."""
    fused = random_attention(2, 6, seed=0)
    fused[1, 0, 3] = np.nan
    assert np.isnan(flow(fused, encoding(4)).units).all()
