"""The thread that owns a device: who gets what, who may leave, and what it survives.

The matrix of leaving: {waiting, in the running batch} x {cancelled, past the deadline} x {first, middle, last of the
batch}. Whoever shares the batch gets the right answer, and nothing is left behind.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from rollcall.domain.compute import Job, Priority
from rollcall.domain.errors import BackendError, DeadlineTooShort, DeviceLost
from rollcall.engine.device import Device, Outcome
from rollcall.scheduling.queue import Ask, Batch, Kind, Limits, RowQueue

PATIENCE = 20.0
"""Seconds after which a thread that hangs fails its test."""


@dataclass(kw_only=True)
class Told:
    """What the device told."""

    batches: list[tuple[str, int, int]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    dropped: int = 0
    failing: bool = False

    def batch_ran(self, model: str, kind: str, *, rows: int, padding: int, seconds: float, expected: float) -> None:
        """Remember, or fail as a broken metric would."""
        if self.failing:
            raise ArithmeticError
        assert seconds >= 0 <= expected
        assert model in {"m", "m@2"}
        self.batches.append((kind, rows, padding))

    def rows_waited(self, kind: str, seconds: float) -> None:
        """Remember."""
        if self.failing:
            raise ArithmeticError
        assert kind
        self.waits.append(seconds)

    def rows_dropped(self, rows: int) -> None:
        """Count."""
        self.dropped += rows


@dataclass(kw_only=True)
class Bench:
    """A device whose batches are held until they are let go; rows are names, answers their capitals."""

    device: Device
    queue: RowQueue
    told: Told
    now: list[float]
    ran: list[list[str]]
    _running: threading.Semaphore
    _let_go: threading.Semaphore

    def ask(
        self, *names: str, priority: Priority = Priority.CHECK, deadline: float | None = None
    ) -> asyncio.Task[list[str]]:
        """Submit rows."""
        kind = Kind.PREDICTIONS if priority is Priority.PREDICT else Kind.ROWS
        ask = Ask(
            job=Job(arrived=self.now[0], deadline=deadline),
            kind=kind,
            model="m",
            priority=priority,
            rows=len(names),
            length=8,
            queued_at=self.now[0],
        )
        return asyncio.create_task(self.device.submit(ask, names))

    async def batch_is_running(self) -> None:
        """Wait for the thread to be in a batch."""
        assert await asyncio.to_thread(self._running.acquire, timeout=PATIENCE)

    def let_go(self, batches: int = 1) -> None:
        """Let so many batches finish."""
        self._let_go.release(batches)

    async def settled(self) -> None:
        """Nothing waits any more, and nothing is held."""
        assert self.queue.asks == []
        assert self.queue.rows == self.queue.tokens == 0


Run = Callable[[Sequence[str]], list[str]]


def _capitals(names: Sequence[str]) -> list[str]:
    return [name.upper() for name in names]


@asynccontextmanager
async def bench(*, answer: Run = _capitals, max_tokens: int = 1024, hold: bool = True) -> AsyncIterator[Bench]:
    """Start a device; stop it in the end, whatever happens."""
    told, now, ran = Told(), [100.0], list[list[str]]()
    running, let_go = threading.Semaphore(0), threading.Semaphore(0)

    def run(batch: Batch) -> list[Outcome]:
        parts = [list(share.ask.payload.rows[share.start : share.stop]) for share in batch.shares]
        if hold:
            running.release()
            assert let_go.acquire(timeout=PATIENCE)
        ran.append([name for part in parts for name in part])
        outcomes: list[Outcome] = []
        for part in parts:
            try:
                outcomes.append(answer(part))
            except ArithmeticError as error:
                outcomes.append(BackendError(str(error)))
        return outcomes

    queue = RowQueue(limits=Limits(max_tokens=max_tokens, max_seconds=1e9))
    device = Device("test", queue, run, told, clock=lambda: now[0])
    device.start()
    try:
        yield Bench(
            device=device, queue=queue, told=told, now=now, ran=ran, _running=running, _let_go=let_go
        )  # fmt: skip
    finally:
        let_go.release(1000)
        await asyncio.to_thread(device.close)


async def test_answers_come_back_in_order() -> None:
    """A caller gets an answer for each row, in order, whatever batches they ran in."""
    async with bench(max_tokens=16, hold=False) as on:
        assert await on.ask("a", "b", "c", "d", "e") == ["A", "B", "C", "D", "E"]
        assert on.ran == [["a", "b"], ["c", "d"], ["e"]]
        assert on.told.batches == [("rows", 2, 0), ("rows", 2, 0), ("rows", 1, 0)]


async def test_who_waits_together_runs_together() -> None:
    """Rows of different requests share a batch, and each gets its own answers."""
    async with bench() as on:
        first = on.ask("a")
        await on.batch_is_running()
        others = [on.ask("b", "c"), on.ask("d"), on.ask("e", "f")]
        await asyncio.sleep(0)
        on.let_go(2)
        assert await asyncio.gather(first, *others) == [["A"], ["B", "C"], ["D"], ["E", "F"]]
        assert on.ran == [["a"], ["b", "c", "d", "e", "f"]]


@pytest.mark.parametrize("leaver", [0, 1, 2])
async def test_who_leaves_while_waiting_takes_only_their_own_rows(leaver: int) -> None:
    """A caller who gives up while waiting is not run; first, in the middle or last, the others are."""
    async with bench() as on:
        first = on.ask("x")
        await on.batch_is_running()
        tasks = [on.ask(f"a{i}", f"b{i}") for i in range(3)]
        await asyncio.sleep(0)
        tasks[leaver].cancel()
        await asyncio.gather(tasks[leaver], return_exceptions=True)
        on.let_go(2)
        await first
        staying = [i for i in range(3) if i != leaver]
        assert await asyncio.gather(*(tasks[i] for i in staying)) == [[f"A{i}", f"B{i}"] for i in staying]
        assert on.ran[1] == [name for i in staying for name in (f"a{i}", f"b{i}")]
        assert on.told.dropped == 2
        await on.settled()


@pytest.mark.parametrize("leaver", [0, 1, 2])
async def test_who_leaves_while_running_harms_nobody(leaver: int) -> None:
    """A caller who gives up in the middle of a batch is not heard of again; the others get their answers."""
    async with bench() as on:
        first = on.ask("x")
        await on.batch_is_running()
        tasks = [on.ask(f"a{i}") for i in range(3)]
        await asyncio.sleep(0)
        on.let_go()
        await on.batch_is_running()
        tasks[leaver].cancel()
        await asyncio.gather(tasks[leaver], return_exceptions=True)
        on.let_go()
        await first
        assert await asyncio.gather(*(tasks[i] for i in range(3) if i != leaver)) == [
            [f"A{i}"] for i in range(3) if i != leaver
        ]
        assert on.told.dropped == 0
        await on.settled()


async def test_who_leaves_between_two_batches_has_the_rest_dropped() -> None:
    """Rows that have not started when their caller leaves are never run."""
    async with bench(max_tokens=16) as on:
        leaving = on.ask("a", "b", "c", "d", "e")
        await on.batch_is_running()
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        on.let_go()
        after = on.ask("z")
        await on.batch_is_running()
        on.let_go()
        assert await after == ["Z"]
        assert on.ran == [["a", "b"], ["z"]]
        assert on.told.dropped == 3
        await on.settled()


class Large(str):
    """An answer that can be watched."""

    __slots__ = ("__weakref__",)


async def test_an_idle_device_keeps_no_results() -> None:
    """What the last batch gave may be large: once handed over, it is its caller's alone."""
    made: list[weakref.ref[Large]] = []

    def answer(names: Sequence[str]) -> list[str]:
        found = Large(names[0].upper())
        made.append(weakref.ref(found))
        return [found]

    async with bench(answer=answer, hold=False) as device:
        assert await device.ask("a") == ["A"]
        async with asyncio.timeout(PATIENCE):
            while made[0]() is not None:  # noqa: ASYNC110 - nobody announces it
                await asyncio.sleep(0.01)


async def test_what_waits_past_its_deadline_is_told_so() -> None:
    """A request whose time is over before its rows start gets its error, is not run, and delays nobody."""
    async with bench() as on:
        first = on.ask("x", deadline=101.0)
        await on.batch_is_running()
        late, patient = on.ask("late", deadline=101.0), on.ask("patient", deadline=200.0)
        await asyncio.sleep(0)
        on.now[0] = 150.0
        on.let_go(2)
        with pytest.raises(DeadlineTooShort):
            await late
        assert await patient == ["PATIENT"]
        assert await first == ["X"]  # it had started in time
        assert on.ran == [["x"], ["patient"]]
        await on.settled()


async def test_a_failing_part_fails_alone() -> None:
    """What goes wrong with one request's rows is told to it alone, and the rest of its rows are dropped."""

    def answer(names: Sequence[str]) -> list[str]:
        if "bad" in names:
            raise ArithmeticError
        return _capitals(names)

    async with bench(answer=answer, max_tokens=32) as on:
        first = on.ask("x")
        await on.batch_is_running()
        failing, fine = on.ask("bad", *"bcdef"), on.ask("y")
        await asyncio.sleep(0)
        on.let_go(3)
        with pytest.raises(BackendError):
            await failing
        assert [await first, await fine] == [["X"], ["Y"]]
        await on.settled()


async def test_a_dying_thread_tells_everybody() -> None:
    """If the thread dies, who runs, who waits and who comes later hear it, and liveness falls."""

    def answer(_: Sequence[str]) -> list[str]:
        raise SystemExit

    async with bench(answer=answer) as on:
        running = on.ask("a")
        await on.batch_is_running()
        waiting = on.ask("b")
        await asyncio.sleep(0)
        assert on.device.alive
        on.let_go()
        for task in (running, waiting):
            with pytest.raises(DeviceLost):
                await asyncio.wait_for(task, PATIENCE)
        assert not on.device.alive
        with pytest.raises(DeviceLost):
            await asyncio.wait_for(on.ask("c"), PATIENCE)
        await on.settled()


async def test_a_dead_device_tells_everybody() -> None:
    """If the device itself is lost, nobody waits for it in vain."""

    def answer(_: Sequence[str]) -> list[str]:
        message = "gone"
        raise DeviceLost(message)

    async with bench(answer=answer) as on:
        tasks = [on.ask("a")]
        await on.batch_is_running()
        tasks += [on.ask("b"), on.ask("c", priority=Priority.PREDICT)]
        await asyncio.sleep(0)
        on.let_go()
        found = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), PATIENCE)
        assert [type(error) for error in found] == [DeviceLost] * 3
        assert not on.device.alive


async def test_a_failing_metric_stops_nobody() -> None:
    """Whoever counts may fail: the device goes on, and the caller gets an answer."""
    async with bench(hold=False) as on:
        on.told.failing = True
        assert await on.ask("a") == ["A"]
        assert await on.ask("b") == ["B"]
        assert on.device.alive


async def test_closing_cancels_what_waits() -> None:
    """On the way out the running batch finishes, and those who wait are let go."""
    async with bench() as on:
        running = on.ask("a")
        await on.batch_is_running()
        waiting = on.ask("b")
        await asyncio.sleep(0)
        closing = asyncio.create_task(asyncio.to_thread(on.device.close))
        await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled()
        on.let_go()
        await closing
        assert await running == ["A"]
        assert not on.device.alive
        late = on.ask("c")
        await asyncio.gather(late, return_exceptions=True)
        assert late.cancelled()


def test_closing_after_the_event_loop_is_gone() -> None:
    """A device can be closed when nobody's event loop is there any more."""
    queue = RowQueue(limits=Limits(max_tokens=64), gate=lambda _: False)
    device = Device("test", queue, lambda _: [], Told())
    device.start()
    ask = Ask(
        job=Job(arrived=0.0), kind=Kind.ROWS, model="m", priority=Priority.CHECK, rows=1, length=8, queued_at=0.0
    )  # fmt: skip

    async def leave_behind() -> None:
        task = asyncio.create_task(device.submit(ask, ["a"]))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        queue.asks.append(ask)

    asyncio.run(leave_behind())
    device.close()
    assert not device.alive


async def test_a_gate_makes_the_company_certain() -> None:
    """Held at its gate, the device takes nothing until as much waits as a test wants together."""
    async with bench() as on:
        on.queue.gate = lambda queue: queue.rows >= 3
        tasks = [on.ask(name) for name in "ab"]
        await asyncio.sleep(0.05)
        assert on.ran == []
        tasks.append(on.ask("c"))
        on.let_go()
        assert await asyncio.gather(*tasks) == [["A"], ["B"], ["C"]]
        assert on.ran == [["a", "b", "c"]]
