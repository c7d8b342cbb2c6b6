"""Means and areas with intervals that know which values belong together."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from rollcall.studies.papers.intervals import auroc_of, mean_of


def test_a_mean_is_that_of_numpy_and_its_interval_that_of_the_normal_law() -> None:
    """1.96 standard errors on either side, up to what resampling adds."""
    values = np.random.default_rng(1).normal(size=400)
    found = mean_of(values.tolist())
    half = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert found.deviation == pytest.approx(values.std())
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.015)


def test_a_value_told_twice_is_no_more_certain() -> None:
    """The same inputs under several seeds: the interval is that of the inputs, not of the numbers written down."""
    values = np.random.default_rng(2).normal(size=50).tolist()
    once, twice = mean_of(values), mean_of(values * 2, [*range(50)] * 2)
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high))
    assert (twice.count, twice.clusters) == (100, 50)
    assert mean_of(values * 2).high - mean_of(values * 2).low < 0.8 * (once.high - once.low)


def test_what_is_missing_is_left_out_with_its_cluster() -> None:
    """And a mean of nothing is no number."""
    found = mean_of([1.0, None, 3.0], ["a", "b", "a"])
    assert (found.value, found.count, found.clusters) == (2.0, 2, 1)
    with pytest.raises(ValueError, match="no value"):
        mean_of([None])


def test_an_area_is_that_of_mann_and_whitney() -> None:
    """With ties halved; pairs that lack a side are left out of both."""
    chance = np.random.default_rng(3)
    first, second = chance.integers(0, 6, 40).astype(float), chance.integers(0, 5, 40).astype(float)
    found = auroc_of([*first, None, 9.0], [*second, 9.0, None])
    assert found is not None
    assert found.value == pytest.approx(mannwhitneyu(first, second).statistic / 1600)
    assert found.low < found.value < found.high
    assert (found.first, found.second, found.pairs) == (first.mean(), second.mean(), 40)


def test_where_all_is_the_same_nothing_is_told_apart() -> None:
    """No area, rather than one half with no width."""
    assert auroc_of([1.0, 1.0], [1.0, 1.0]) is None
    assert auroc_of([None], [1.0]) is None
