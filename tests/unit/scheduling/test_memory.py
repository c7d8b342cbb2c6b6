"""What rows take is a line and a square through what was measured, and never less than that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.scheduling.memory import RowMemory

POINTS = st.lists(
    st.tuples(st.integers(1, 1024), st.integers(0, 2**40)), min_size=1, max_size=5, unique_by=lambda p: p[0]
)


def test_a_line_and_a_square_are_found_again() -> None:
    """What follows the law is described by it at every length."""
    memory = RowMemory.fit([(length, 1000 * length + 7 * length**2) for length in (64, 128, 512)])
    assert memory.bytes(256) == pytest.approx(1000 * 256 + 7 * 256**2)


@given(POINTS)
def test_no_row_that_was_measured_takes_more_than_is_said(points: list[tuple[int, int]]) -> None:
    """A limit that is too high kills a process; one that is too low costs a little time."""
    memory = RowMemory.fit(points)
    assert all(memory.bytes(length) >= found * (1 - 1e-9) for length, found in points)


@given(st.integers(1, 1024), st.integers(1, 2**30), st.integers(1, 1024))
def test_a_single_point_is_believed_carefully_on_both_sides(length: int, found: int, other: int) -> None:
    """One length cannot tell a line from a square: shorter ones are taken for a line, longer ones for a square."""
    ratio = other / length
    assert RowMemory.fit([(length, found)]).bytes(other) >= found * max(ratio, ratio**2) * (1 - 1e-9)


@given(POINTS, st.floats(0, 1e12), st.integers(1, 1024))
def test_rows_fit_into_what_they_are_given(points: list[tuple[int, int]], budget: float, length: int) -> None:
    """A single row is always tried; more of them stay within the budget."""
    memory = RowMemory.fit(points)
    rows = memory.rows_within(budget, length)
    assert rows == 1 or rows * memory.bytes(length) <= budget * (1 + 1e-9)
