"""Drive several checks at once: each asks for rows, and the rows of all that ask together go out as one batch.

A check that crashes ends with its exception as its result, logged here; the others go on.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rollcall.checks.base import Asking
from rollcall.domain.errors import DeviceMemory, ServiceError
from rollcall.domain.rows import Row, RowResult, all_finite
from rollcall.telemetry import logs

_log = logging.getLogger(__name__)

RunRows = Callable[[list[Row]], Awaitable[list[RowResult]]]


class OutOfBudgetError(Exception):
    """A check asked for rows that the budget does not allow. `results` of those that were run before it was spent."""

    def __init__(self, results: Sequence[RowResult | None] = ()) -> None:
        super().__init__()
        self.results = results


def plain(rows: list[Row]) -> Asking[list[RowResult]]:
    """Ask for rows and return their results."""
    return (yield rows)


async def run_together(
    run: RunRows,
    askings: dict[Any, Asking[Any]],
    *,
    affords: Callable[[int], bool] = lambda _: True,
    finite_only: bool = False,
) -> tuple[dict[Any, Any], bool]:
    """Drive checks in lockstep, the rows of each step as one batch.

    Returns what each found, or the exception that it died of, and whether all rows were finite. With `finite_only` a
    check whose rows are not all finite gets an exception instead of them; one whose rows `affords` refuses ends with
    OutOfBudgetError, and so do those of whose rows some are missing where `run` gives up with it.
    """
    drive = _Lockstep(run=run, affords=affords, finite_only=finite_only)
    for key, asking in askings.items():
        drive.step(key, asking, None)
    while drive.waiting:
        await drive.round()
    return drive.found, drive.all_finite


@dataclass(slots=True, kw_only=True)
class _Lockstep:
    """State of `run_together`: what has been found, and who waits for which rows."""

    run: RunRows
    affords: Callable[[int], bool]
    finite_only: bool
    found: dict[Any, Any] = field(default_factory=dict)
    waiting: dict[Any, tuple[Asking[Any], list[Row]]] = field(default_factory=dict)
    all_finite: bool = True

    def step(self, key: object, asking: Asking[Any], answer: list[RowResult] | Exception | None) -> None:
        """Give one check its answer; note what it asks for next, what it found, or what it died of."""
        try:
            rows = asking.throw(answer) if isinstance(answer, Exception) else asking.send(answer)  # type: ignore[arg-type]
        except StopIteration as finished:
            self.found[key] = finished.value
        except Exception as error:  # noqa: BLE001 - the boundary of a check: a crash is its result
            logs.event(_log, logging.ERROR, "check_crashed", check=str(key), error=error)
            self.found[key] = error
        else:
            self.waiting[key] = (asking, rows)

    async def round(self) -> None:
        """Run what all who wait have asked for, as far as it is affordable."""
        current, self.waiting = self.waiting, {}
        allowed = self._allow(current)
        batch = [row for _, rows in allowed.values() for row in rows]
        try:
            found: Sequence[RowResult | None] = await self.run(batch) if batch else []
        except OutOfBudgetError as error:
            found = error.results or [None] * len(batch)
        except (ServiceError, DeviceMemory) as error:
            logs.event(_log, logging.ERROR, "checks_lost_their_batch", rows=len(batch), error=error)
            self.found |= dict.fromkeys(allowed, error)
            return
        results = iter(found)
        for key, (asking, rows) in allowed.items():
            own = [next(results) for _ in rows]
            answer = [result for result in own if result is not None]
            if len(answer) < len(own):
                asking.close()
                self.found[key] = OutOfBudgetError()
                continue
            finite = all_finite(answer)
            self.all_finite = self.all_finite and finite
            self.step(key, asking, FloatingPointError("not a number") if self.finite_only and not finite else answer)

    def _allow(self, asked: dict[Any, tuple[Asking[Any], list[Row]]]) -> dict[Any, tuple[Asking[Any], list[Row]]]:
        """Refuse, in order, what does not fit into the budget beside what was allowed before it."""
        allowed: dict[Any, tuple[Asking[Any], list[Row]]] = {}
        total = 0
        for key, (asking, rows) in asked.items():
            if self.affords(total + len(rows)):
                allowed[key] = (asking, rows)
                total += len(rows)
            else:
                asking.close()
                self.found[key] = OutOfBudgetError()
        return allowed
