"""The compute thread: who goes first, who may leave, and what it survives."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from rollcall.domain.compute import Priority
from rollcall.engine.worker import MOST_URGENT_IN_A_ROW, Worker

PATIENCE = 20.0
"""Seconds after which a thread that hangs fails its test."""


@dataclass(kw_only=True)
class Busy:
    """A worker whose thread is held by a job until it is let go; `ran` lists what ran after that."""

    worker: Worker
    waits: list[float]
    ran: list[str] = field(default_factory=list)
    _held: threading.Event = field(default_factory=threading.Event)
    _let_go: threading.Event = field(default_factory=threading.Event)

    def hold(self) -> None:
        """Keep the thread busy."""
        self._held.set()
        assert self._let_go.wait(PATIENCE)

    async def held(self) -> None:
        """Wait until the thread is held."""
        assert await asyncio.to_thread(self._held.wait, PATIENCE)

    def let_go(self) -> None:
        """Let the thread go on."""
        self._let_go.set()

    async def queue(self, priority: Priority, name: str) -> asyncio.Task[str]:
        """Queue a job that notes its name."""
        task = asyncio.create_task(self.worker.submit(priority, self.noting(name)))
        await asyncio.sleep(0)
        return task

    def noting(self, name: str) -> Callable[[], str]:
        """Make a job that notes its name."""

        def job() -> str:
            self.ran.append(name)
            return name

        return job


@asynccontextmanager
async def busy() -> AsyncIterator[Busy]:
    """Hold a worker's thread; let it go and close it in the end, whatever happens."""
    waits: list[float] = []
    worker = Worker("test", waited=waits.append)
    worker.start()
    found = Busy(worker=worker, waits=waits)
    holding = asyncio.create_task(worker.submit(Priority.PREDICT, found.hold))
    await found.held()
    try:
        yield found
        found.let_go()
        await asyncio.wait_for(holding, PATIENCE)
    finally:
        found.let_go()
        worker.close()


async def test_results_come_back() -> None:
    """A caller gets what its job returned, computed on another thread."""
    async with busy() as thread:
        thread.let_go()
        name = await thread.worker.submit(Priority.CHECK, lambda: threading.current_thread().name)
        assert name == "test"


async def test_urgent_jobs_go_first_and_equals_in_turn() -> None:
    """Predictions overtake checks that are waiting; among equals the one that came first is first."""
    async with busy() as thread:
        order = [
            (Priority.CHECK, "check 1"),
            (Priority.BASE, "base 1"),
            (Priority.CHECK, "check 2"),
            (Priority.PREDICT, "predict 1"),
            (Priority.BASE, "base 2"),
            (Priority.PREDICT, "predict 2"),
        ]
        tasks = [await thread.queue(priority, name) for priority, name in order]
        assert thread.worker.depth == 6
        thread.let_go()
        assert list(await asyncio.gather(*tasks)) == [name for _, name in order]
        assert thread.ran == ["predict 1", "predict 2", "base 1", "base 2", "check 1", "check 2"]
        assert thread.worker.depth == 0


async def test_predictions_cannot_starve_explanations() -> None:
    """After a few urgent jobs in a row whoever has waited longest is let through, and then the urgent go on."""
    async with busy() as thread:
        tasks = [await thread.queue(Priority.CHECK, "check"), await thread.queue(Priority.BASE, "base")]
        tasks += [await thread.queue(Priority.PREDICT, "predict") for _ in range(2 * MOST_URGENT_IN_A_ROW + 1)]
        thread.let_go()
        await asyncio.gather(*tasks)
        few = ["predict"] * MOST_URGENT_IN_A_ROW
        assert thread.ran == [*few, "check", *few, "base", "predict"]


async def test_who_leaves_takes_only_their_own_job() -> None:
    """A caller who gives up while waiting does not run, and the jobs around it do, in their order."""
    async with busy() as thread:
        before, leaving, after = [await thread.queue(Priority.CHECK, name) for name in ("before", "leaving", "after")]
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        thread.let_go()
        assert list(await asyncio.gather(before, after)) == ["before", "after"]
        assert thread.ran == ["before", "after"]


async def test_who_leaves_while_running_harms_nobody() -> None:
    """A caller who gives up while its job runs lets it finish, unheard; the next job runs."""
    async with busy() as thread:
        started, finish = threading.Event(), threading.Event()

        def long() -> None:
            started.set()
            assert finish.wait(PATIENCE)
            thread.ran.append("long")

        leaving = asyncio.create_task(thread.worker.submit(Priority.CHECK, long))
        thread.let_go()
        assert await asyncio.to_thread(started.wait, PATIENCE)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        after = await thread.queue(Priority.CHECK, "after")
        finish.set()
        assert await asyncio.wait_for(after, PATIENCE) == "after"
        assert thread.ran == ["long", "after"]


@pytest.mark.parametrize("error", [ValueError("bad"), MemoryError(), RuntimeError()])
async def test_a_crash_reaches_its_caller_and_nobody_else(error: Exception) -> None:
    """What a job raises is raised where it is awaited, and the thread goes on."""
    async with busy() as thread:

        def crash() -> None:
            raise error

        crashing = asyncio.create_task(thread.worker.submit(Priority.CHECK, crash))
        after = await thread.queue(Priority.CHECK, "after")
        thread.let_go()
        with pytest.raises(type(error)) as raised:
            await asyncio.wait_for(crashing, PATIENCE)
        assert raised.value is error
        assert await asyncio.wait_for(after, PATIENCE) == "after"
        assert thread.worker.alive


async def test_an_exhausted_iterator_in_a_job_is_an_error_like_others() -> None:
    """A job that runs out of an iterator fails; its caller does not wait for ever."""
    loop = asyncio.get_running_loop()
    complaints: list[object] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    async with busy() as thread:
        crashing = asyncio.create_task(thread.worker.submit(Priority.CHECK, lambda: next(iter(()))))
        after = await thread.queue(Priority.CHECK, "after")
        thread.let_go()
        await asyncio.wait_for(after, PATIENCE)
        await asyncio.sleep(0)
        crashing.cancel()
        done = await asyncio.gather(crashing, return_exceptions=True)
        assert not isinstance(done[0], asyncio.CancelledError)
    assert complaints == []


async def test_waiting_is_measured_for_jobs_that_run() -> None:
    """Each job that runs tells how long it waited; one that left does not."""
    async with busy() as thread:
        kept, left = await thread.queue(Priority.CHECK, "kept"), await thread.queue(Priority.CHECK, "left")
        left.cancel()
        thread.let_go()
        await kept
    assert len(thread.waits) == 2
    assert all(seconds >= 0 for seconds in thread.waits)


async def test_a_failing_metric_stops_nobody() -> None:
    """Whoever counts waiting times may fail: the device goes on, and the caller gets an answer."""

    def fail(_: float) -> None:
        raise ArithmeticError

    threading.excepthook, hook = (lambda _: None), threading.excepthook
    worker = Worker("test", waited=fail)
    worker.start()
    try:
        assert await asyncio.wait_for(worker.submit(Priority.CHECK, lambda: "answer"), 1.0) == "answer"
    finally:
        worker.close()
        threading.excepthook = hook


async def test_closing_finishes_the_running_job_and_cancels_the_waiting() -> None:
    """A server that stops finishes what runs, drops what waits, and ends the thread."""
    async with busy() as thread:
        waiting = [await thread.queue(Priority.CHECK, "never") for _ in range(3)]
        closing = asyncio.create_task(asyncio.to_thread(thread.worker.close))
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        assert thread.worker.alive
        thread.let_go()
        await asyncio.wait_for(closing, PATIENCE)
        assert not thread.worker.alive
        assert thread.ran == []


async def test_nothing_is_taken_after_closing() -> None:
    """Who comes after the end is turned away at once, and closing again is no mistake."""
    worker = Worker("test", waited=lambda _: None)
    worker.start()
    worker.close()
    worker.close()
    with pytest.raises(asyncio.CancelledError):
        await worker.submit(Priority.PREDICT, lambda: None)
    assert worker.depth == 0


async def test_a_worker_that_never_started_can_be_closed() -> None:
    """A start-up that fails half-way can still be cleaned up."""
    worker = Worker("test", waited=lambda _: None)
    waiting = asyncio.create_task(worker.submit(Priority.CHECK, lambda: None))
    await asyncio.sleep(0)
    worker.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_callers_whose_loop_is_gone_are_forgotten() -> None:
    """A job whose caller's event loop has closed is finished for nobody, and the thread lives on."""
    worker = Worker("test", waited=lambda _: None)
    worker.start()
    started, finish = threading.Event(), threading.Event()

    def long() -> None:
        started.set()
        assert finish.wait(PATIENCE)

    async def leave() -> None:
        task = asyncio.create_task(worker.submit(Priority.CHECK, long))
        assert await asyncio.to_thread(started.wait, PATIENCE)
        task.cancel()

    asyncio.run(leave())
    finish.set()
    assert asyncio.run(worker.submit(Priority.CHECK, lambda: "alive")) == "alive"
    worker.close()
