"""Budgets: what one explanation may still spend, in rows and in time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rollcall.admission.budget import REPLY_SECONDS, SAFETY, Budget, Cut, in_time


def budget(*, max_rows: int = 100, deadline: float | None = None, now: float = 0.0, row: float = 0.0) -> Budget:
    """Make a budget that is read at a fixed time and whose rows take `row` seconds each."""
    return Budget(
        max_rows=max_rows, deadline=deadline, clock=lambda: now, estimate=lambda rows: rows * row, rows=1
    )  # fmt: skip


def test_rows_are_afforded_up_to_the_last_one() -> None:
    """The rows of a request, the untouched one among them, end where they were said to end."""
    spent = budget(max_rows=10)
    assert spent.affords(9)
    assert not spent.affords(10)
    assert spent.cut is Cut.MAX_ROWS
    spent.spend(9)
    assert spent.rows == 10
    assert spent.affords(0)
    assert not spent.affords(1)


def test_time_is_estimated() -> None:
    """Rows are started only if they are expected to end, with some margin, before the reply must leave."""
    needed = SAFETY * 20 * 0.01 + REPLY_SECONDS
    assert budget(deadline=needed + 1e-9, row=0.01).affords(20)
    late = budget(deadline=needed - 1e-9, row=0.01)
    assert not late.affords(20)
    assert late.cut is Cut.DEADLINE
    assert late.affords(10)


def test_where_nothing_is_known_the_first_batch_is_tried() -> None:
    """Before anything was measured, time is only up when it is up."""
    assert budget(deadline=5.0, now=4.9).affords(99)
    assert not budget(deadline=5.0, now=5.0).affords(1)


def test_without_a_deadline_time_does_not_count() -> None:
    """Who sets no deadline waits for all rows."""
    assert budget(now=1e9, row=1e9).affords(99)
    assert in_time(1e9, None, 1e9)


def test_the_first_reason_is_remembered() -> None:
    """An answer that was cut says what cut it first."""
    both = budget(max_rows=10, deadline=1.0, row=1.0)
    assert not both.affords(5)
    assert not both.affords(50)
    assert both.cut is Cut.DEADLINE
    other = budget(max_rows=10, deadline=1.0, row=1.0)
    assert not other.affords(50)
    assert not other.affords(5)
    assert other.cut is Cut.MAX_ROWS


def test_nothing_cut_is_no_reason() -> None:
    """An answer that was not cut gives no reason for it."""
    whole = budget()
    assert whole.affords(50)
    assert whole.cut is None


@given(st.lists(st.integers(0, 30), max_size=20), st.integers(1, 200))
def test_spending_what_is_afforded_never_exceeds_the_budget(asked: list[int], most: int) -> None:
    """Whatever is asked for in whatever order, what is afforded and run stays within the rows."""
    spent = budget(max_rows=most)
    for rows in asked:
        if spent.affords(rows):
            spent.spend(rows)
    assert spent.rows <= most


def test_asking_why_changes_nothing() -> None:
    """What is refused to something that is no look does not end the looks."""
    spent = budget(max_rows=10, deadline=1.0, row=0.2)
    assert spent.refuses(10) is Cut.MAX_ROWS
    assert spent.refuses(9) is Cut.DEADLINE
    assert spent.refuses(2) is None
    assert (spent.cut, spent.late) == (None, False)
