"""The work that explanations in progress still have to do: what a newcomer would wait for. Pure.

It is bounded in seconds: what would wait longer is refused at once, with a hint when to come back, instead of being
let in and failing late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil

from rollcall.domain.compute import Job
from rollcall.domain.errors import Overloaded

SMOOTHING = 0.1
"""Weight of the newest explanation in what one usually takes."""
FIRST_GUESS = 0.75
"""What an explanation takes of what it may, before any has been seen."""
LONGEST_HINT = 60.0
"""Seconds that a refused caller is told to wait, at most."""

Seconds = Callable[[str, int, int], float]
"""How long rows of a model take once they run: (model, rows, tokens of each)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Admitted:
    job: Job
    model: str
    length: int


@dataclass(slots=True, kw_only=True)
class Backlog:
    """Explanations in progress. `max_seconds` bounds the work that a newcomer may find ahead."""

    max_seconds: float
    seconds: Seconds
    admitted: dict[int, _Admitted] = field(default_factory=dict)
    _usual_rows: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def admit(self, job: Job, model: str, length: int) -> Iterator[None]:
        """Count a job from now on; raises Overloaded if too much work is ahead of it."""
        ahead = self.total()
        if ahead > self.max_seconds:
            error = Overloaded("too much work is waiting")
            error.retry_after = min(LONGEST_HINT, max(1.0, ahead - self.max_seconds))
            raise error
        self.admitted[id(job)] = _Admitted(job=job, model=model, length=length)
        try:
            yield
        finally:
            del self.admitted[id(job)]

    def total(self) -> float:
        """Seconds of work still to be done for all who were admitted."""
        return sum(self._left(each) for each in self.admitted.values())

    def ahead_of(self, job: Job) -> float:
        """Seconds of work that is likely to run before the next rows of an admitted job: of all with less left to do.

        The rule of the queue, waiting counted: what was there long enough goes first even with more to do.
        """
        own = self.admitted[id(job)]
        rank = self._left(own) + job.arrived
        others = (each for each in self.admitted.values() if each is not own)
        return sum(left for each in others if (left := self._left(each)) + each.job.arrived < rank)

    def rows_left(self, model: str, spent: int, most: int) -> int:
        """Rows that a job which has spent so many probably still needs, of at most `most`."""
        usual = min(most, ceil(self._usual_rows.get(model, FIRST_GUESS * most)))
        return max(1, usual - spent)

    def finished(self, model: str, rows: int) -> None:
        """Learn how many rows an explanation that was not cut took."""
        usual = self._usual_rows.get(model, float(rows))
        self._usual_rows[model] = usual + SMOOTHING * (rows - usual)

    def _left(self, each: _Admitted) -> float:
        return self.seconds(each.model, each.job.rows_left, each.length)
