"""Answers that are checked again, when nobody else wants the device: A* from many more removals (DESIGN section 2).

Nobody waits for a recheck. It holds no permit; its rows go last, a few at a time, and only while no request is in
progress. What waits is bounded, the oldest is dropped first, and everything is dropped when the service stops.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from rollcall.checks.alignment import estimate_effects, rounding_of
from rollcall.domain.compute import Compute, Job
from rollcall.domain.decision import Decision
from rollcall.domain.errors import BackendError, RollcallError
from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import Bools, Floats, MapKind, MapOptions
from rollcall.domain.policy import Policy
from rollcall.domain.rows import RemovalOperator, Row, RowResult, all_finite
from rollcall.domain.verdicts import Flag
from rollcall.monitor.record import DECIDED, Identity
from rollcall.pipeline.leases import Leases
from rollcall.telemetry import logs
from rollcall.verdict.truth import (
    TRUTH_LAMBDA,
    TRUTH_ROWS,
    Truth,
    enough,
    judge_truth,
    truth_removals,
)

_log = logging.getLogger(__name__)

MOST_PENDING = 64
"""Answers that may wait to be checked again."""
STEP_SECONDS = 0.01
"""Rows are asked for in steps of about this time: whoever comes in the middle of one waits no longer."""
STEP_ROWS = (256, 128, 64, 32, 16, 8, 4, 2, 1)
IDLE_SECONDS = 0.02
"""How often it is looked whether requests are in progress."""
CALLER = "rollcall:rechecks"
"""Whose the rows are for the scheduler: their device time is no caller's."""


class Ended(Enum):
    """What became of a recheck."""

    DONE = "done"
    DROPPED = "dropped"
    """Others came, its model went, or the service stopped, before the device had time for it."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recheck:
    """An answer to be checked again: the input, the question, and the flags given to maps with these weights [n].

    `key`: the weights that answered, as the compute rooms call them.
    `promised`: whether the calibration's promise is about this answer. `seed` comes from the process's secret, so that
    no caller can know the removals. `answered_at` in Unix seconds.
    """

    model: str
    key: str
    identity: Identity
    explanation_id: str
    encoding: Encoding = field(repr=False)
    decision: Decision
    weights: Mapping[MapKind, Floats] = field(repr=False)
    flags: Mapping[MapKind, Flag]
    primary: MapKind
    promised: bool
    policy: Policy
    noise: float
    seed: int
    answered_at: int

    @property
    def decided(self) -> dict[MapKind, Floats]:
        """Weights of the maps whose flag can be wrong."""
        return {kind: weights for kind, weights in self.weights.items() if self.flags[kind] in DECIDED}


class _NoLongerServed(Exception):
    """The model was replaced or unloaded."""


async def _idle() -> None:
    await asyncio.sleep(IDLE_SECONDS)


@dataclass(slots=True, kw_only=True)
class Rechecker:
    """Checks answers again, one after the other. Used from one event loop.

    `busy` tells whether requests are in progress, `serves` whether weights are still served; `found` hears of each that
    is done, `ended` of every end.
    """

    compute: Compute
    busy: Callable[[], bool]
    found: Callable[[Recheck, Mapping[MapKind, Truth]], None]
    ended: Callable[[Ended], None]
    serves: Callable[[str], bool] = lambda _: True
    leases: Leases = field(default_factory=Leases)
    clock: Callable[[], float] = time.monotonic
    idle: Callable[[], Awaitable[None]] = _idle
    most: int = MOST_PENDING
    pending: deque[Recheck] = field(default_factory=deque)
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)
    _stopped: bool = False

    def offer(self, recheck: Recheck) -> None:
        """Let an answer wait to be checked again; if too many wait, the oldest is dropped."""
        if self._stopped:
            self.ended(Ended.DROPPED)
            return
        self.pending.append(recheck)
        if len(self.pending) > self.most:
            self.pending.popleft()
            self.ended(Ended.DROPPED)
        self._wanted.set()

    def stop(self) -> None:
        """Drop what waits, and whatever is offered from now on. The task of `run` is the caller's to cancel."""
        self._stopped = True
        while self.pending:
            self.pending.popleft()
            self.ended(Ended.DROPPED)

    async def run(self) -> None:
        """Check again, for ever; cancelling drops the one in progress."""
        while True:
            self._wanted.clear()
            while self.pending:
                await self._check(self.pending.popleft())
            await self._wanted.wait()

    async def _check(self, recheck: Recheck) -> None:
        try:
            self.found(recheck, await self._truths(recheck))
        except asyncio.CancelledError:
            self.ended(Ended.DROPPED)
            raise
        except _NoLongerServed:
            self.ended(Ended.DROPPED)
        except Exception as error:  # noqa: BLE001 - the boundary of a recheck: nobody waits for it
            expected = isinstance(error, RollcallError)
            logs.event(
                _log,
                logging.WARNING if expected else logging.ERROR,
                "recheck_failed",
                error=error,
                model=recheck.model,
                explanation_id=recheck.explanation_id,
            )
            self.ended(Ended.FAILED)
        else:
            self.ended(Ended.DONE)

    async def _truths(self, recheck: Recheck) -> Mapping[MapKind, Truth]:
        """A* of each map whose flag can be wrong, from ever more removals while any is unclear."""
        job = Job(arrived=self.clock(), caller=CALLER, background=True)
        n, rows, margins = len(recheck.encoding.units), TRUTH_ROWS, np.zeros(0)
        while recheck.decided:
            removed, operators = truth_removals(n, rows, recheck.seed, recheck.encoding.removals.usual)
            fresh = [Row(removed=r, operator=o) for r, o in zip(removed, operators, strict=True)][len(margins) :]
            margins = np.concatenate([margins, await self._run(job, recheck, fresh)])
            # Off the event loop: callers wait for nobody's statistics but their own.
            truths = await asyncio.to_thread(_judge, recheck, removed, operators, margins)
            if enough(truths, n, rows, recheck.policy):
                return truths
            rows *= 2
        return {}

    async def _run(self, job: Job, recheck: Recheck, rows: list[Row]) -> Floats:
        """Margins [R] of rows, a step at a time and only while the service is idle. Raises BackendError for NaN."""
        results: list[RowResult] = []
        while len(results) < len(rows):
            while self.busy():
                await self.idle()
            if not self.serves(recheck.key):
                raise _NoLongerServed
            step = rows[len(results) : len(results) + self._step(recheck)]
            with self.leases.holding(recheck.key):
                results += await self.compute.run(job, recheck.key, recheck.encoding, step, MapOptions())
        if not all_finite(results):
            message = "the model answered with values that are not numbers"
            raise BackendError(message)
        return recheck.decision.margins(np.stack([result.logits for result in results]))

    def _step(self, recheck: Recheck) -> int:
        """Rows that take about STEP_SECONDS."""
        length = recheck.encoding.length
        seconds = self.compute.expected_seconds
        return next((r for r in STEP_ROWS if seconds(recheck.key, r, length) <= STEP_SECONDS), 1)


def _judge(
    recheck: Recheck, removed: Bools, operators: tuple[RemovalOperator, ...], margins: Floats
) -> Mapping[MapKind, Truth]:
    rounding = rounding_of(recheck.noise)
    estimate = estimate_effects(removed, operators, margins, lambdas=TRUTH_LAMBDA, rounding=rounding)
    return judge_truth(recheck.decided, estimate, recheck.policy)
