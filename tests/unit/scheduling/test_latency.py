"""The latency model: a line through what batches took, that one size cannot bend and old days do not hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.scheduling.latency import LatencyModel, row_work


def fitted(*batches: tuple[float, float]) -> LatencyModel:
    """A model that has seen batches of (work, seconds)."""
    model = LatencyModel()
    for work, seconds in batches:
        model.observe(work, seconds)
    return model


def test_nothing_is_known_at_first() -> None:
    """Before the first batch nothing is estimated, and any batch fits into any time."""
    model = LatencyModel()
    assert model.estimate(1000.0) == 0
    assert model.work_within(0.01) == float("inf")


def test_one_size_is_proportional() -> None:
    """From batches of a single size no fixed part is made up."""
    model = fitted(*[(100.0, 0.5)] * 5)
    assert model.fixed == pytest.approx(0)
    assert model.estimate(200.0) == pytest.approx(1.0)


def test_the_line_is_found() -> None:
    """Batches of several sizes show the fixed part and the part per token; noise averages out."""
    rng = np.random.default_rng(0)
    sizes = rng.uniform(50, 2000, 300)
    model = fitted(*((size, 0.02 + 1e-4 * size + rng.normal(0, 0.002)) for size in sizes))
    expected = np.polyfit(sizes[-60:], 0.02 + 1e-4 * sizes[-60:], 1)
    assert model.per_work == pytest.approx(expected[0], rel=0.1)
    assert model.fixed == pytest.approx(0.02, rel=0.3)
    assert model.estimate(1000.0, batches=3) == pytest.approx(0.06 + 0.1, rel=0.1)
    assert model.work_within(0.12) == pytest.approx(1000, rel=0.1)


def test_old_days_are_forgotten() -> None:
    """A machine that has become twice as slow is known to be so after a while."""
    sizes = [100.0, 400.0, 900.0] * 60
    model = fitted(*((size, 0.01 + 1e-4 * size) for size in sizes), *((size, 0.02 + 2e-4 * size) for size in sizes))
    assert model.estimate(500.0) == pytest.approx(0.02 + 0.1, rel=0.05)


@given(st.lists(st.tuples(st.floats(1, 1e5), st.floats(0, 10)), min_size=1, max_size=50))
def test_estimates_are_sensible_whatever_was_seen(batches: list[tuple[float, float]]) -> None:
    """More work never takes less time, and nothing is negative."""
    model = fitted(*batches)
    assert model.fixed >= 0 <= model.per_work
    assert 0 <= model.estimate(10.0) <= model.estimate(1e6)


def test_work_grows_with_the_square_of_the_length() -> None:
    """The arithmetic of a transformer of width d: 24 d^2 per token for its matrices, 4 T d for its attention."""
    width, length = 384, 512
    expected = (24 * width**2 * length + 4 * length**2 * width) / (24 * width**2)
    assert row_work(3, length, width) == pytest.approx(3 * expected)
    assert row_work(3, length, None) == 3 * length
