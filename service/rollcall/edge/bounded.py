"""Several pieces of work for one call, at most so many at a time, and none that outlives the call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
    from typing import Any

S = TypeVar("S")
T = TypeVar("T")

IN_FLIGHT = 8
"""Pieces of one call that are worked on at a time: enough to share batches, and no way to take every permit."""


async def all_of(work: Sequence[Callable[[], Awaitable[T]]], *, most: int) -> list[T]:
    """Do all of it and return the results in order. What fails first is raised, and the rest cancelled."""
    places = asyncio.Semaphore(most)

    async def one(begin: Callable[[], Awaitable[T]]) -> T:
        async with places:
            return await begin()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(begin)) for begin in work]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


async def as_finished(
    items: AsyncIterator[S], work: Callable[[int, S], Coroutine[Any, Any, T]], *, most: int
) -> AsyncGenerator[T, None]:
    """Work on items, each with its place from 0, and yield results as they finish.

    The next item is read when there is a place for it, and not while a result waits to be taken: who sends faster than
    results are taken is held back. What `work` or `items` raises ends it all; nothing goes on after that, nor after it
    is closed.
    """
    working: set[asyncio.Task[T]] = set()
    reading: asyncio.Task[S | _End] | None = None
    read, ended = 0, False
    try:
        while working or not ended:
            if reading is None and not ended and len(working) < most:
                reading = asyncio.ensure_future(_next(items))
            waiting: set[asyncio.Task[Any]] = {*working, *([] if reading is None else [reading])}
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if reading is not None and reading in done:
                item = reading.result()
                reading = None
                if isinstance(item, _End):
                    ended = True
                else:
                    working.add(asyncio.ensure_future(work(read, item)))
                    read += 1
            for task in done & working:
                working.discard(task)
                yield task.result()
    finally:
        left: set[asyncio.Task[Any]] = {*working, *([] if reading is None else [reading])}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)


class _End:
    """Stands where there is no further item."""


async def _next(items: AsyncIterator[S]) -> S | _End:
    return await anext(items, _End())
