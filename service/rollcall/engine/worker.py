"""One thread that owns a device.

Callers await their job's result; a caller that stops waiting takes its job out of the queue.

Order: the smaller priority first, then first come, first served. Rows of one explanation wait for each other, so first
come, first served takes turns between explanations.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rollcall.domain.compute import Priority

T = TypeVar("T")


@dataclass(order=True, slots=True)
class _Job:
    priority: int
    number: int
    call: Callable[[], Any] = field(compare=False)
    future: asyncio.Future[Any] = field(compare=False)
    loop: asyncio.AbstractEventLoop = field(compare=False)
    queued_at: float = field(compare=False)


class Worker:
    """Start it, submit to it from one event loop, close it. `waited` is told each job's seconds in the queue."""

    def __init__(self, name: str, waited: Callable[[float], None]) -> None:
        """Prepare; nothing runs before `start`."""
        self._waited = waited
        self._jobs: list[_Job] = []
        self._numbers = itertools.count()
        self._condition = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Finish the running job, cancel the waiting ones, and end the thread."""
        with self._condition:
            self._closed = True
            waiting, self._jobs = self._jobs, []
            self._condition.notify()
        for job in waiting:
            job.loop.call_soon_threadsafe(job.future.cancel)
        if self._thread.is_alive():
            self._thread.join()

    @property
    def depth(self) -> int:
        """Jobs waiting, those whose caller has left included until they are dropped."""
        return len(self._jobs)

    async def submit(self, priority: Priority, call: Callable[[], T]) -> T:
        """Run `call` on the thread; cancelling the await drops it if it has not started."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        job = _Job(int(priority), next(self._numbers), call, future, loop, time.monotonic())
        with self._condition:
            if self._closed:
                future.cancel()
            else:
                heapq.heappush(self._jobs, job)
                self._condition.notify()
        return await future

    def _work(self) -> None:
        while True:
            with self._condition:
                while not self._jobs and not self._closed:
                    self._condition.wait()
                if self._closed:
                    return
                job = heapq.heappop(self._jobs)
            if job.future.cancelled():
                continue
            self._waited(time.monotonic() - job.queued_at)
            try:
                result = job.call()
            except BaseException as error:  # noqa: BLE001 - the worker's edge: the caller gets it, the thread lives on
                self._settle(job, _raise_into, error)
            else:
                self._settle(job, _resolve, result)

    @staticmethod
    def _settle(job: _Job, settle: Callable[[asyncio.Future[Any], Any], None], value: object) -> None:
        try:
            job.loop.call_soon_threadsafe(settle, job.future, value)
        except RuntimeError:
            # The loop is closed: nobody is waiting any more.
            return


def _resolve(future: asyncio.Future[Any], value: object) -> None:
    if not future.done():
        future.set_result(value)


def _raise_into(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
