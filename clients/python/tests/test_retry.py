"""When to ask again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall_client import DeadlineExceeded, Internal, QuotaExceeded, RollcallError, Unavailable
from rollcall_client._retry import wait_before_retry


def unavailable(retry_after: float | None = None) -> Unavailable:
    """A refusal that may be asked again."""
    return Unavailable("busy", code="UNAVAILABLE", retry_after=retry_after)


def test_the_backoff_doubles_up_to_five_seconds() -> None:
    """With the full share of the backoff, the waits are the backoff itself."""
    waits = [
        wait_before_retry(unavailable(), retries_done=done, retries=5000, remaining=1e9, jitter=1.0)
        for done in (0, 1, 2, 3, 4, 5, 6, 4000)
    ]
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


@pytest.mark.parametrize(
    "failure",
    [
        DeadlineExceeded("late", code="DEADLINE_EXCEEDED", retry_after=0.1),
        QuotaExceeded("used up", code="RESOURCE_EXHAUSTED", retry_after=0.1),
        Internal("a bug", code="INTERNAL"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_only_unavailable_is_asked_again(failure: RollcallError) -> None:
    """No other failure gets better by itself."""
    assert wait_before_retry(failure, retries_done=0, retries=3, remaining=10, jitter=0.5) is None


@given(
    st.integers(0, 10),
    st.integers(0, 10),
    st.floats(0, 100),
    st.floats(0, 1),
    st.none() | st.floats(0, 1e12),
)
def test_a_wait_keeps_every_promise(
    done: int, retries: int, remaining: float, jitter: float, advice: float | None
) -> None:
    """Never more often than allowed, never past the deadline, never sooner than advised, never longer than needed."""
    wait = wait_before_retry(
        unavailable(advice), retries_done=done, retries=retries, remaining=remaining, jitter=jitter
    )
    if wait is not None:
        assert done < retries
        assert (advice or 0.0) <= wait < remaining
        assert wait <= max(advice or 0.0, 5.0)
