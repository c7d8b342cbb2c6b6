"""Requests that ask the same thing at the same time share one answer.

Whoever comes second waits for the first one's answer, unless the first may have less time: then a look could be cut
that the second had time for. A caller that leaves takes nothing from the others; when all have left the work stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from math import inf
from typing import Generic, TypeVar

from rollcall.domain.errors import CapacityError, DeadlineTooShort, Overloaded

Answer = TypeVar("Answer")


@dataclass(slots=True, kw_only=True, eq=False)
class _Flight(Generic[Answer]):
    question: Hashable
    task: asyncio.Task[Answer]
    deadline: float
    waiting: int = 0

    def serves(self, until: float) -> bool:
        """Whether a caller with time until then may join: with no less time, and with an end if the first has one."""
        return until == inf if self.deadline == inf else until >= self.deadline


@dataclass(slots=True, kw_only=True)
class InFlight(Generic[Answer]):
    """Answers being worked out, by what was asked. Used from one event loop. `joined` counts those that shared one."""

    flights: dict[Hashable, _Flight[Answer]] = field(default_factory=dict)
    joined: int = 0

    async def share(
        self,
        question: Hashable,
        deadline: float | None,
        work_out: Callable[[], Awaitable[Answer]],
        too_early: Callable[[Answer], bool],
    ) -> tuple[Answer, bool]:
        """The answer, and whether it was worked out for somebody else.

        An answer that came `too_early`, for want of time that the second caller had, is worked out again, and so is a
        refusal for such want. Where there is no time left for that either, the early answer is the best there is.
        """
        until = inf if deadline is None else deadline
        flight = self.flights.get(question)
        if flight is None or not flight.serves(until):
            return await self._wait(self._start(question, until, work_out)), False
        self.joined += 1
        early: list[Answer] = []
        try:
            answer = await self._wait(flight)
        except DeadlineTooShort:
            pass
        except Overloaded:
            if flight.deadline == until:  # with more time the wait may be worth it
                raise
        else:
            if not too_early(answer):
                return answer, True
            early.append(answer)
        try:
            return await self._wait(self._start(question, until, work_out)), False
        except CapacityError:
            if not early:
                raise
            return early[0], True

    def _start(self, question: Hashable, until: float, work_out: Callable[[], Awaitable[Answer]]) -> _Flight[Answer]:
        flight = _Flight(question=question, task=asyncio.ensure_future(work_out()), deadline=until)
        if self.flights.setdefault(question, flight) is flight:
            flight.task.add_done_callback(lambda _: self._landed(flight))
        return flight

    async def _wait(self, flight: _Flight[Answer]) -> Answer:
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._landed(flight)
                flight.task.cancel()

    def _landed(self, flight: _Flight[Answer]) -> None:
        if self.flights.get(flight.question) is flight:
            del self.flights[flight.question]
