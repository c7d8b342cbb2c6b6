"""One thread that takes records from the spool into the log, in their order, and signs the log now and then.

A batch is one transaction; only after it is committed is the spool told to forget. Dying in between means that records
are taken twice, which the store does not do: nothing is lost and nothing is there twice. While the database does not
take anything, the spool grows, and every attempt begins again at the oldest record.

Records gather for a moment first: a transaction costs about as much as five records in it, and flushes the disk that
answers wait for. Who waits for the log itself hurries it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from rollcall.audit.accepted import Accepted
from rollcall.audit.queries import Signed
from rollcall.audit.spool import Frame, Spool
from rollcall.audit.store import Store
from rollcall.telemetry import logs

_log = logging.getLogger(__name__)

BATCH = 128
"""Most records of one transaction."""
GATHER_SECONDS = 0.05
"""Between the first record that comes and the transaction that takes it in, unless somebody waits for that."""
RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Between attempts while the database fails, by the failures in a row; the last one for all later ones."""


class AuditTelemetry(Protocol):
    """What the log tells."""

    def audit_recorded(self, outcome: str) -> None:
        """An answer was recorded, was not, or could not be."""
        ...

    def audit_log_grew(self, size: int) -> None:
        """The log has so many entries."""
        ...

    def audit_store_failed(self) -> None:
        """The database did not take a batch."""
        ...

    def watch_audit_spool(self, used_bytes: Callable[[], int], most_bytes: int) -> None:
        """The spool can be asked how many bytes are in it, of at most so many."""
        ...


@dataclass(slots=True, kw_only=True)
class Sequencer:
    """Moves records from `spool` to `store`.

    `sequenced` hears of each record's index, `signed` of each checkpoint, `moved` of each batch, and `failed` of each
    failure, all in the sequencer's thread.
    """

    spool: Spool
    store: Store
    telemetry: AuditTelemetry
    checkpoint_seconds: float
    gather_seconds: float = GATHER_SECONDS
    sequenced: Callable[[str, int], None] = lambda _id, _index: None
    signed: Callable[[Signed], None] = lambda _: None
    moved: Callable[[], None] = lambda: None
    failed: Callable[[], None] = lambda: None
    clock: Callable[[], float] = time.monotonic
    _news: threading.Event = field(default_factory=threading.Event, repr=False)
    _hurried: threading.Event = field(default_factory=threading.Event, repr=False)
    _stopping: bool = False
    _failures: int = 0
    _size: int = 0
    _signed_at: float | None = None
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name="rollcall-sequencer")
        self._thread.start()

    def wake(self) -> None:
        """Say that there is something in the spool."""
        self._news.set()

    def hurry(self) -> None:
        """Say that somebody waits for what is in the spool to be in the log."""
        self._hurried.set()

    def stop(self) -> None:
        """Take in what is in the spool, once, sign, and end. The spool must be closed."""
        self._stopping = True
        self._news.set()
        self._hurried.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            if self._news.wait(self._pause()):
                self._hurried.wait(self.gather_seconds)
            self._news.clear()
            self._hurried.clear()
            self._turn()
        self._turn(closing=True)

    def _pause(self) -> float:
        """Seconds until something must be tried again, or signed."""
        if self._failures:
            return RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS)) - 1]
        return self.checkpoint_seconds

    def _turn(self, *, closing: bool = False) -> None:
        """Take in whatever there is, and sign if it is time; what fails is tried again in another turn."""
        try:
            while frames := self.spool.read(BATCH):
                self._take(frames)
                self._sign_in_time()
            self._sign_in_time(closing=closing)
        except Exception as error:  # noqa: BLE001 - the worker loop: records stay in the spool whatever goes wrong here
            self._failures += 1
            self.spool.rewind()
            self.telemetry.audit_store_failed()
            self.failed()
            level = logging.ERROR if self._failures == 1 else logging.DEBUG
            logs.event(_log, level, "audit_store_failed", error=error, failures=self._failures)
            return
        if self._failures:
            logs.event(_log, logging.INFO, "audit_store_works_again", failures=self._failures)
            self._failures = 0

    def _take(self, frames: list[Frame]) -> None:
        records = [Accepted.decode(frame.body) for frame in frames]
        indices = self.store.append(records)
        self.spool.release(frames[-1])
        self._size = max(self._size, *(index + 1 for index in indices.values()))
        self.telemetry.audit_log_grew(self._size)
        for record_id, index in indices.items():
            self.sequenced(record_id, index)
        self.moved()

    def _sign_in_time(self, *, closing: bool = False) -> None:
        """Sign if it is time, and let the spool begin anew; a flood does not keep the log from it."""
        now = self.clock()
        if not (closing or self._signed_at is None or now >= self._signed_at + self.checkpoint_seconds):
            return
        self._signed_at = now
        signed = self.store.checkpoint()
        if signed is not None:
            self.signed(signed)
        self.spool.sweep()
        self.spool.renew()
