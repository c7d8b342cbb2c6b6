"""Distances between maps."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rollcall.domain.distances import jensen_shannon, jsd_from_uniform


def test_distance_of_maps_without_common_words_is_log_two() -> None:
    """Nothing in common is ln 2 = 0.693 nats, the most there is."""
    assert jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(math.log(2))


def test_distance_of_a_map_to_itself_is_zero() -> None:
    """The same map is at distance 0, zeros included."""
    assert jensen_shannon(np.array([0.0, 0.3, 0.7]), np.array([0.0, 0.3, 0.7])) == 0


def test_distance_worked_out_by_hand() -> None:
    """Half the divergence of each map from their mean."""
    p, q, m = (0.5, 0.5), (0.9, 0.1), (0.7, 0.3)
    expected = sum(a * math.log(a / c) + b * math.log(b / c) for a, b, c in zip(p, q, m, strict=True)) / 2
    assert jensen_shannon(np.array(p), np.array(q)) == pytest.approx(expected)


def test_distance_from_uniform() -> None:
    """A map that says nothing is at 0, one that names a single word among many near ln 2."""
    assert jsd_from_uniform(np.full(5, 0.2)) == 0
    peak = np.r_[1.0, np.zeros(9999)]
    assert jsd_from_uniform(peak) == pytest.approx(math.log(2), abs=1e-3)


@pytest.mark.parametrize("n", [2, 7, 64])
def test_many_maps_have_the_distances_that_each_has_alone(n: int) -> None:
    """Maps are compared together as they are one by one."""
    maps = np.random.default_rng(n).dirichlet(np.ones(n), 5)
    assert jensen_shannon(maps, maps[0]).tolist() == [jensen_shannon(p, maps[0]) for p in maps]
    assert jsd_from_uniform(maps).tolist() == [jsd_from_uniform(p) for p in maps]


def test_not_a_number_stays_visible() -> None:
    """A broken map has no distance: never 0, never "far"."""
    assert math.isnan(jensen_shannon(np.array([float("nan"), 1.0]), np.array([0.5, 0.5])))
    assert math.isnan(jsd_from_uniform(np.array([float("nan"), 1.0])))
