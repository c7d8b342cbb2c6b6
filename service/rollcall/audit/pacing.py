"""Holds answers back while the log falls behind them: what is acknowledged at length is what the log takes in.

Answers that come faster would only fill the spool, and be refused in the end. A database that fails, or does not answer
for a while, holds nobody back: then the spool is there to take records in without it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

BEHIND_BYTES = 4 * 1024 * 1024
"""Of records that wait for the log, before answers wait, too: some hundreds, less than a second of the log's work."""
PATIENCE_SECONDS = 1.0
"""Without a batch that is taken in, before nobody waits any longer."""


@dataclass(slots=True, kw_only=True)
class Pace:
    """Makes answers wait while more than `most_bytes` are `behind`. The log says how it fares, in its own thread."""

    behind: Callable[[], int]
    most_bytes: int = BEHIND_BYTES
    patience_seconds: float = PATIENCE_SECONDS
    _stuck: bool = False
    """The log takes nothing in."""
    _next: Future[None] = field(init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        """Wait for the first news."""
        self._next = _upcoming()

    async def keep(self) -> None:
        """Wait until the log is close behind, or takes nothing in."""
        while True:
            upcoming = self._next  # before looking: what happens in between is not missed
            if self._stuck or self.behind() <= self.most_bytes:
                return
            try:
                await asyncio.wait_for(asyncio.wrap_future(upcoming), self.patience_seconds)
            except TimeoutError:
                self._stuck = True

    def moved(self) -> None:
        """Hear that the log has taken a batch in."""
        self._tell(stuck=False)

    def failed(self) -> None:
        """Hear that it could not."""
        self._tell(stuck=True)

    def _tell(self, *, stuck: bool) -> None:
        self._stuck = stuck
        with self._lock:
            told, self._next = self._next, _upcoming()
        told.set_result(None)


def _upcoming() -> Future[None]:
    """Make a future that many wait for, and none of them can cancel."""
    future: Future[None] = Future()
    future.set_running_or_notify_cancel()
    return future
