"""Several pieces of work for one call, at most so many at a time, and none that outlives the call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

T = TypeVar("T")


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
