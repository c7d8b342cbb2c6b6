"""One thread that owns a device.

Callers await their job's result; a caller that stops waiting takes its job out of the queue.

Order: the smaller priority first, then first come, first served; but after a few urgent jobs in a row the longest
waiting other one is let through, so that predictions cannot starve explanations. Rows of one explanation wait for each
other, so first come, first served takes turns between explanations.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from rollcall.domain.compute import Priority
from rollcall.telemetry import logs

_log = logging.getLogger(__name__)

T = TypeVar("T")


MOST_URGENT_IN_A_ROW = 4
"""Urgent jobs that run one after the other while others wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    call: Callable[[], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    queued_at: float


class Worker:
    """Start it, submit to it from one event loop, close it. `waited` is told each job's seconds in the queue."""

    def __init__(self, name: str, waited: Callable[[float], None]) -> None:
        """Prepare; nothing runs before `start`."""
        self._waited = waited
        self._queues: dict[Priority, deque[_Job]] = {priority: deque() for priority in Priority}
        self._urgent_in_a_row = 0
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
            waiting = [job for queue in self._queues.values() for job in queue]
            for queue in self._queues.values():
                queue.clear()
            self._condition.notify()
        for job in waiting:
            job.loop.call_soon_threadsafe(job.future.cancel)
        if self._thread.is_alive():
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the thread is running."""
        return self._thread.is_alive()

    @property
    def depth(self) -> int:
        """Jobs waiting, those whose caller has left included until they are dropped."""
        return sum(map(len, self._queues.values()))

    async def submit(self, priority: Priority, call: Callable[[], T]) -> T:
        """Run `call` on the thread; cancelling the await drops it if it has not started."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        job = _Job(call=call, future=future, loop=loop, queued_at=time.monotonic())
        with self._condition:
            if self._closed:
                future.cancel()
            else:
                self._queues[priority].append(job)
                self._condition.notify()
        return await future

    def _next(self) -> _Job:
        """Take the job that is next; at least one is waiting."""
        waiting = [priority for priority in Priority if self._queues[priority]]
        urgent = waiting[0]
        if self._urgent_in_a_row >= MOST_URGENT_IN_A_ROW and len(waiting) > 1:
            chosen = min(waiting[1:], key=lambda priority: self._queues[priority][0].queued_at)
        else:
            chosen = urgent
        self._urgent_in_a_row = self._urgent_in_a_row + 1 if chosen is urgent and len(waiting) > 1 else 0
        return self._queues[chosen].popleft()

    def _work(self) -> None:
        while True:
            with self._condition:
                while not self.depth and not self._closed:
                    self._condition.wait()
                if self._closed:
                    return
                job = self._next()
            if job.future.cancelled():
                continue
            self._tell(time.monotonic() - job.queued_at)
            try:
                result = job.call()
            except BaseException as error:  # noqa: BLE001 - the worker's edge: the caller gets it, the thread lives on
                self._settle(job, _raise_into, error)
            else:
                self._settle(job, _resolve, result)

    def _tell(self, waited: float) -> None:
        try:
            self._waited(waited)
        except Exception as error:  # noqa: BLE001 - whoever counts must not stop the device
            logs.event(_log, logging.ERROR, "waiting_time_not_counted", error=error)

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
    if future.done():
        return
    if isinstance(error, StopIteration):  # no future can hold one
        wrapped = RuntimeError("a job ran out of an iterator")
        wrapped.__cause__ = error
        error = wrapped
    future.set_exception(error)
