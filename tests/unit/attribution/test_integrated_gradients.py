"""The midpoint rule and the mean, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from rollcall.attribution.input_x_gradient import input_x_gradient
from rollcall.attribution.integrated_gradients import integrated_gradients, midpoints


def test_midpoints_are_the_middles_of_equal_parts() -> None:
    """One point is half-way, four are an eighth away from the ends."""
    assert midpoints(1) == (0.5,)
    assert midpoints(4) == (0.125, 0.375, 0.625, 0.875)


@pytest.mark.parametrize("count", [1, 3, 16])
def test_a_linear_model_needs_no_more_than_one_point(count: int) -> None:
    """Where the gradient is the same everywhere, every token gets its own share of the difference."""
    along = np.tile([1.0, -2.0, 0.5], (count, 1))
    assert_allclose(integrated_gradients(along), [1.0, -2.0, 0.5])


def test_a_square_is_integrated_exactly() -> None:
    """Of x^2 from 0 to 3 the midpoint rule misses nothing: the slope 2 * 3t * 3 is linear in t."""
    along = np.array([[2 * 3 * point * 3] for point in midpoints(5)])
    assert integrated_gradients(along)[0] == pytest.approx(9)


def test_input_times_gradient_is_the_single_point() -> None:
    """The gradient is taken at the input, once."""
    assert_allclose(input_x_gradient(np.array([[0.1, -0.3]])), [0.1, -0.3])
