"""One thread that owns a device. What waits for it, and who goes first, is the queue's business.

Callers await their rows; a caller that stops waiting takes those that have not started out of the queue. Results of a
batch go back to the event loop in one hop. If the thread dies or the device does, everybody who waits is told, and so
is everybody who comes later.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from rollcall.domain.errors import DeadlineTooShort, DeviceLost
from rollcall.scheduling.queue import Ask, Batch, RowQueue
from rollcall.telemetry import logs
from rollcall.telemetry.traces import OFF, Spans

_log = logging.getLogger(__name__)

Outcome = list[Any] | Exception
"""What became of one share: a result for each of its rows, or what went wrong with it."""


class DeviceTelemetry(Protocol):
    """What a device tells about its work. Called on its thread, except `rows_dropped`."""

    def batch_ran(self, model: str, kind: str, *, rows: int, padding: int, seconds: float, expected: float) -> None:
        """A batch ran in `seconds` where `expected` were estimated (0: nothing known); `padding` in tokens."""
        ...

    def rows_waited(self, kind: str, seconds: float) -> None:
        """The first of a request's rows started after so long in the queue."""
        ...

    def rows_dropped(self, rows: int) -> None:
        """Rows were taken out of the queue because nobody waits for them any more."""
        ...


@dataclass(slots=True, kw_only=True)
class Waiting:
    """The payload of an ask: what to run, and who waits for it."""

    rows: Sequence[Any] = field(repr=False)
    future: asyncio.Future[list[Any]]
    loop: asyncio.AbstractEventLoop
    results: list[Any] = field(default_factory=list, repr=False)
    waited: float = 0.0
    """Seconds until the first of them started."""


class Device:
    """Start it, submit to it from event loops, close it. `run` runs one batch and returns an outcome for each share."""

    def __init__(
        self,
        name: str,
        queue: RowQueue,
        run: Callable[[Batch], list[Outcome]],
        telemetry: DeviceTelemetry,
        clock: Callable[[], float] = time.monotonic,
        on_lost: Callable[[], None] = lambda: None,
        spans: Spans = OFF,
    ) -> None:
        """Prepare; nothing runs before `start`. `on_lost` is called once, on the thread, if the device is lost."""
        self._queue = queue
        self._run = run
        self._telemetry = telemetry
        self._clock = clock
        self._on_lost = on_lost
        self._spans = spans
        self._condition = threading.Condition()
        self._closed = False
        self._lost = False
        self._running: Batch | None = None
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Finish the running batch, cancel what waits, and end the thread."""
        with self._condition:
            self._closed = True
            waiting, self._queue.asks = self._queue.asks, []
            self._condition.notify()
        for ask in waiting:
            _on_loop(ask.payload.loop, ask.payload.future.cancel)
        if self._thread.is_alive():
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether rows can still be run: the thread is there, and the device answers."""
        return self._thread.is_alive() and not self._lost

    def read(self, question: Callable[[RowQueue], Any]) -> Any:  # noqa: ANN401 - whatever the question gives
        """Ask the queue something while nobody changes it."""
        with self._condition:
            return question(self._queue)

    async def submit(self, ask: Ask, rows: Sequence[Any]) -> list[Any]:
        """Run the rows of an ask; a result for each, in order.

        Raises what running them raised, DeviceLost, and DeadlineTooShort if the job's deadline passes before they
        start. Cancelling the await drops those that have not started.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Any]] = loop.create_future()
        waiting = ask.payload = Waiting(rows=rows, future=future, loop=loop)
        with self._condition:
            if self._lost:
                raise DeviceLost
            if self._closed:
                future.cancel()
            else:
                self._queue.put(ask)
                self._condition.notify()
        with self._spans.stage("device", kind=ask.kind.value, rows=ask.rows, tokens=ask.length) as span:
            try:
                results = await future
            except asyncio.CancelledError:
                self._drop(ask)
                raise
            span.began("queue", waiting.waited)
        return results

    def _drop(self, ask: Ask) -> None:
        with self._condition:
            dropped = self._queue.drop(ask)
        if dropped:
            self._tell(self._telemetry.rows_dropped, dropped)

    # --- on the thread -----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while (batch := self._next()) is not None:
                self._execute(batch)
                del batch  # or its results, attention among them, would stay until there is another
        except BaseException as error:  # noqa: BLE001 - the last thing this thread does is tell everybody
            logs.event(_log, logging.CRITICAL, "device_thread_died", error=error)
        finally:
            self._lose()

    def _next(self) -> Batch | None:
        """Wait for the next batch; None when closed."""
        with self._condition:
            while not self._closed:
                now = self._clock()
                expired = self._queue.drop_expired(now)
                if expired:
                    message = "the deadline passed while the request was waiting for the device"
                    self._settle([(ask, DeadlineTooShort(message)) for ask in expired])
                self._running = self._queue.cut(now)
                if self._running is not None:
                    return self._running
                self._condition.wait()
        return None

    def _execute(self, batch: Batch) -> None:
        started = self._clock()
        for share in batch.shares:
            if share.start == 0:
                share.ask.payload.waited = started - share.ask.queued_at
                self._tell(self._telemetry.rows_waited, batch.kind.value, share.ask.payload.waited)
        expected = self.read(lambda queue: queue.expected(batch.model, batch.rows, batch.length, batch.kind))
        try:
            outcomes = self._run(batch)
        except DeviceLost as error:
            logs.event(_log, logging.CRITICAL, "device_lost", error=error.__cause__ or error)
            self._lose()
            return
        seconds = self._clock() - started
        with self._condition:
            self._queue.ran(batch, seconds, self._clock())
            self._running = None
            done = [found for share, outcome in zip(batch.shares, outcomes, strict=True)
                    if (found := self._finished(share.ask, outcome)) is not None]  # fmt: skip
        self._tell(
            partial(self._telemetry.batch_ran, batch.model, batch.kind.value),
            rows=batch.rows,
            padding=batch.padding,
            seconds=seconds,
            expected=expected,
        )
        self._settle(done)

    def _finished(self, ask: Ask, outcome: Outcome) -> tuple[Ask, Outcome] | None:
        """Add a share's results to its ask; the ask with its outcome once nothing of it is missing."""
        waiting: Waiting = ask.payload
        if isinstance(outcome, Exception):
            self._queue.drop(ask)
            return ask, outcome
        waiting.results += outcome
        return (ask, waiting.results) if len(waiting.results) == ask.rows else None

    def _lose(self) -> None:
        """Nothing will ever run again: tell everybody who waits."""
        with self._condition:
            news = not self._closed and not self._lost
            self._lost = self._lost or news
            waiting, self._queue.asks = self._queue.asks, []
            running, self._running = self._running, None
        if running is not None:
            waiting = [*(share.ask for share in running.shares), *waiting]
        self._settle([(ask, DeviceLost()) for ask in dict.fromkeys(waiting)])
        if news:
            self._tell(self._on_lost)

    @staticmethod
    def _tell(tell: Callable[..., None], *what: object, **named: object) -> None:
        try:
            tell(*what, **named)
        except Exception as error:  # noqa: BLE001 - whoever counts must not stop the device
            logs.event(_log, logging.ERROR, "device_not_counted", error=error)

    @staticmethod
    def _settle(done: list[tuple[Ask, Outcome]]) -> None:
        """Hand outcomes over, with one hop to each event loop."""
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[list[Any]], Outcome]]] = defaultdict(list)
        for ask, outcome in done:
            by_loop[ask.payload.loop].append((ask.payload.future, outcome))
        for loop, outcomes in by_loop.items():
            _on_loop(loop, _hand_over, outcomes)


def _hand_over(outcomes: list[tuple[asyncio.Future[list[Any]], Outcome]]) -> None:
    for future, outcome in outcomes:
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def _on_loop(loop: asyncio.AbstractEventLoop, act: Callable[..., object], *arguments: object) -> None:
    try:
        loop.call_soon_threadsafe(act, *arguments)
    except RuntimeError:
        # The loop is closed: nobody is waiting any more.
        return
