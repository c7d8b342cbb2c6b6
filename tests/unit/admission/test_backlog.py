"""The work ahead: counted, bounded, and learned from what explanations really took."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.admission.backlog import Backlog
from rollcall.domain.compute import Job
from rollcall.domain.errors import Overloaded


def backlog(most: float = 1e9) -> Backlog:
    """A row of 10 tokens takes a second."""
    return Backlog(max_seconds=most, seconds=lambda _, rows, length: rows * length / 10)


def test_work_in_progress_is_counted_until_it_is_done() -> None:
    """What was admitted counts with what it has left, until it leaves, however it leaves."""
    work = backlog()
    first, second = Job(arrived=0.0, rows_left=10), Job(arrived=1.0, rows_left=4)
    with work.admit(first, "m", 10):
        with work.admit(second, "m", 20):
            assert work.total() == 10 + 8
            first.rows_left = 3
            assert work.total() == 3 + 8
        with pytest.raises(KeyError), work.admit(second, "m", 20):
            raise KeyError
        assert work.total() == 3
    assert work.total() == 0


def test_too_much_work_ahead_is_refused_with_a_hint() -> None:
    """Who would find more work ahead than is allowed is told when to come back, and leaves no trace."""
    work = backlog(most=5.0)
    with work.admit(Job(arrived=0.0, rows_left=30), "m", 10):
        late = Job(arrived=1.0, rows_left=1)
        with pytest.raises(Overloaded) as refusal, work.admit(late, "m", 10):
            pytest.fail("let in")
        assert refusal.value.retry_after == 25
        assert work.total() == 30
    with work.admit(late, "m", 10):
        assert work.total() == 1


def test_patient_work_stands_in_nobodys_way_but_its_likes() -> None:
    """Who goes first anyway does not find it ahead; who is as patient does."""
    work = backlog(most=5.0)
    with work.admit(Job(arrived=0.0, rows_left=300), "m", 10, patient=True):
        assert work.total() == 300
        with work.admit(Job(arrived=1.0, rows_left=3), "m", 10):
            assert work.total() == 303
        with pytest.raises(Overloaded), work.admit(Job(arrived=1.0, rows_left=300), "m", 10, patient=True):
            pytest.fail("let in")


def test_ahead_is_what_has_less_left_or_came_long_before() -> None:
    """The rule of the queue: least left first, waiting counted."""
    work = backlog()
    short, own, long, old = (
        Job(arrived=10.0, rows_left=2),
        Job(arrived=10.0, rows_left=5),
        Job(arrived=10.0, rows_left=9),
        Job(arrived=0.0, rows_left=9),
    )
    with (
        work.admit(short, "m", 10),
        work.admit(own, "m", 10),
        work.admit(long, "m", 10),
        work.admit(old, "m", 10),
    ):
        assert work.ahead_of(own) == 2 + 9
        assert work.ahead_of(short) == 9
        assert work.ahead_of(long) == 2 + 5 + 9
        assert work.ahead_of(old) == 0


def test_what_explanations_take_is_learned() -> None:
    """At first three quarters of what is allowed are expected; later what explanations of this model usually took."""
    work = backlog()
    assert work.rows_left("m", 0, 122) == 92
    assert work.rows_left("m", 80, 122) == 12
    work.finished("m", 60)
    assert work.rows_left("m", 0, 122) == 60
    assert work.rows_left("m", 30, 122) == 30
    assert work.rows_left("m", 90, 122) == 1
    assert work.rows_left("m", 0, 20) == 20
    work.finished("m", 80)
    assert work.rows_left("m", 0, 122) == 62
    assert work.rows_left("other", 0, 122) == 92


def test_how_long_it_really_takes_is_learned() -> None:
    """Where everything takes three times what the device alone would need, estimates come to say so, and back."""
    work = backlog()
    job = Job(arrived=0.0, rows_left=10)
    with work.admit(job, "m", 10):
        assert work.own(job) == 10
        for _ in range(60):
            work.took(work.own(job), 30.0)
        assert work.own(job) == pytest.approx(30, rel=0.01)
        assert work.total() == work.own(job)
        for _ in range(60):
            work.took(work.own(job), 5.0)
        assert work.own(job) == pytest.approx(10, rel=0.02)
        work.took(0.0, 5.0)
        assert work.own(job) == pytest.approx(10, rel=0.02)


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, 100)), min_size=1, max_size=8))
def test_everybody_is_ahead_of_somebody_but_not_of_themselves(jobs: list[tuple[float, int]]) -> None:
    """The order is one: the work ahead of all together is what all pairs but one direction each come to, at most."""
    work = backlog()
    members = [Job(arrived=arrived, rows_left=rows) for arrived, rows in jobs]
    with ExitStack() as admitted:
        for job in members:
            admitted.enter_context(work.admit(job, "m", 10))
        for job in members:
            assert 0 <= work.ahead_of(job) <= work.total() - job.rows_left + 1e-9
        assert min(work.ahead_of(job) for job in members) == 0
