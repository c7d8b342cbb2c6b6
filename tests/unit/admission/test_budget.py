"""Budgets: what one explanation may still spend, in rows and in time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.admission.budget import FADING_SECONDS, REPLY_SECONDS, SAFETY, Budget, Cut, Pace


def budget(*, max_rows: int = 100, deadline: float | None = None, now: float = 0.0, pace: float = 0.0) -> Budget:
    """Make a budget of an input of 10 tokens, read at a fixed time."""
    return Budget(
        max_rows=max_rows, deadline=deadline, clock=lambda: now, pace=Pace(seconds_per_token=pace), length=10, rows=1
    )


def test_rows_are_afforded_up_to_the_last_one() -> None:
    """The rows of a request, the untouched one among them, end where they were said to end."""
    spent = budget(max_rows=10)
    assert spent.affords(9)
    assert not spent.affords(10)
    assert spent.cut is Cut.MAX_ROWS
    spent.spend(9, seconds=0.1)
    assert spent.rows == 10
    assert spent.affords(0)
    assert not spent.affords(1)


def test_time_is_estimated_from_the_pace() -> None:
    """A batch is started only if it is expected to end, with some margin, before the reply must leave."""
    needed = SAFETY * 20 * 10 * 0.001 + REPLY_SECONDS
    assert budget(deadline=needed + 1e-9, pace=0.001).affords(20)
    late = budget(deadline=needed - 1e-9, pace=0.001)
    assert not late.affords(20)
    assert late.cut is Cut.DEADLINE
    assert late.affords(10)


def test_without_a_pace_the_first_batch_is_tried() -> None:
    """Before anything was measured, time is only up when it is up."""
    assert budget(deadline=5.0, now=4.9).affords(1000 - 901)
    assert not budget(deadline=5.0, now=5.0).affords(1)


def test_without_a_deadline_time_does_not_count() -> None:
    """Who sets no deadline waits for all rows."""
    assert budget(now=1e9, pace=1e9).affords(99)


def test_the_first_reason_is_remembered() -> None:
    """An answer that was cut says what cut it first."""
    both = budget(max_rows=10, deadline=1.0, pace=1.0)
    assert not both.affords(5)
    assert not both.affords(50)
    assert both.cut is Cut.DEADLINE
    other = budget(max_rows=10, deadline=1.0, pace=1.0)
    assert not other.affords(50)
    assert not other.affords(5)
    assert other.cut is Cut.MAX_ROWS


def test_nothing_cut_is_no_reason() -> None:
    """An answer that was not cut gives no reason for it."""
    whole = budget()
    assert whole.affords(50)
    assert whole.cut is None


def test_the_pace_follows_the_device() -> None:
    """The first batch sets the pace; later ones move it by a fifth of the way."""
    pace = Pace()
    assert pace.estimate(1000, now=0.0) == 0
    pace.observe(100, 1.0, now=5.0)
    assert pace.seconds_per_token == 0.01
    pace.observe(100, 2.0, now=6.0)
    assert pace.seconds_per_token == pytest.approx(0.012)
    assert pace.estimate(1000, now=6.0) == pytest.approx(12)


def test_the_pace_of_a_burst_fades() -> None:
    """After a burst somebody dares to run a batch again: what was slow then is believed half as much by and by."""
    pace = Pace()
    pace.observe(100, 1.0, now=0.0)
    assert pace.estimate(100, now=FADING_SECONDS) == pytest.approx(0.5)
    assert pace.estimate(100, now=10 * FADING_SECONDS) < 0.001
    pace.observe(100, 1.0, now=10 * FADING_SECONDS)
    assert pace.estimate(100, now=10 * FADING_SECONDS) == pytest.approx(1.0)
    assert pace.estimate(100, now=9 * FADING_SECONDS) == pytest.approx(1.0)


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=60))
def test_the_pace_stays_among_what_was_seen(seconds: list[float]) -> None:
    """However the batches vary, the pace is no faster than the fastest and no slower than the slowest."""
    pace = Pace()
    for each in seconds:
        pace.observe(1, each, now=0.0)
    assert min(seconds) * (1 - 1e-9) <= pace.seconds_per_token <= max(seconds) * (1 + 1e-9)


def test_spending_sets_the_pace_for_others() -> None:
    """What one explanation learns of the device, the next one of the same model knows."""
    first = budget()
    first.spend(8, seconds=0.8)
    assert first.pace.seconds_per_token == pytest.approx(0.01)
    assert first.rows == 9


@given(st.lists(st.tuples(st.integers(0, 40), st.floats(0, 2)), max_size=20), st.integers(1, 150), st.floats(0, 10))
def test_rows_never_exceed_the_limit(batches: list[tuple[int, float]], max_rows: int, deadline: float) -> None:
    """Whoever asks before spending never spends more rows than allowed, nor starts after the deadline."""
    now = 0.0
    spent = Budget(max_rows=max_rows, deadline=deadline, clock=lambda: now, pace=Pace(), length=4, rows=1)
    for rows, seconds in batches:
        if rows and spent.affords(rows):
            assert now < deadline
            now += seconds
            spent.spend(rows, seconds)
        assert spent.rows <= max_rows
