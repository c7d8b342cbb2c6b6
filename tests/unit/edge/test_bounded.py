"""Several pieces of work of one call: bounded, in order, and gone with it."""

from __future__ import annotations

import asyncio

import pytest

from rollcall.domain.errors import Overloaded
from rollcall.edge.bounded import all_of


class Work:
    """Pieces that run until they are let go."""

    def __init__(self) -> None:
        self.running = self.most = 0
        self.cancelled: list[int] = []

    async def piece(self, number: int) -> int:
        """Run for a turn."""
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        finally:
            self.running -= 1
        return number

    async def failing(self) -> int:
        """Fail."""
        message = "full"
        raise Overloaded(message)


async def test_results_come_in_order_and_few_run_at_a_time() -> None:
    """However many there are, no more than `most` run together."""
    work = Work()
    assert await all_of([lambda i=i: work.piece(i) for i in range(20)], most=3) == list(range(20))  # type: ignore[misc]
    assert (work.most, work.running) == (3, 0)


async def test_the_first_failure_is_raised_and_the_rest_cancelled() -> None:
    """The caller sees the error itself, and nothing goes on behind it."""
    work = Work()
    with pytest.raises(Overloaded, match="full"):
        await all_of([lambda: work.piece(0), work.failing, lambda: work.piece(2)], most=3)
    assert work.running == 0
    assert 2 in work.cancelled


async def test_cancelling_cancels_all() -> None:
    """A call that is given up takes its pieces along."""
    work = Work()
    call = asyncio.ensure_future(all_of([lambda i=i: work.piece(i) for i in range(9)], most=2))  # type: ignore[misc]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert work.running == 0
