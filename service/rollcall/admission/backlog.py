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
MOST_DRAG = 10.0
LONGEST_HINT = 60.0
"""Seconds that a refused caller is told to wait, at most."""

Seconds = Callable[[str, int, int], float]
"""How long rows of a model take once they run: (model, rows, tokens of each)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Admitted:
    job: Job
    model: str
    length: int
    patient: bool


@dataclass(slots=True, kw_only=True)
class Backlog:
    """Explanations in progress. `max_seconds` bounds the work that a newcomer may find ahead.

    `drag`: how many times longer explanations have lately taken than the device alone would need for what was ahead of
    them and for themselves; statistics, replies and everybody else on the machine are in it.
    """

    max_seconds: float
    seconds: Seconds
    admitted: dict[Job, _Admitted] = field(default_factory=dict)
    drag: float = 1.0
    _usual_rows: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def admit(self, job: Job, model: str, length: int, *, patient: bool = False) -> Iterator[None]:
        """Count a job from now on; raises Overloaded if too much work is ahead of it.

        A `patient` job has so much to do that the queue lets all others go first, and so it stands in nobody's way but
        in that of its like.
        """
        ahead = sum(self._left(each) for each in self.admitted.values() if patient or not each.patient)
        if ahead > self.max_seconds:
            raise self.overloaded(ahead - self.max_seconds)
        self.admitted[job] = _Admitted(job=job, model=model, length=length, patient=patient)
        try:
            yield
        finally:
            del self.admitted[job]

    @staticmethod
    def overloaded(seconds: float) -> Overloaded:
        """The refusal of somebody who may come back in so many seconds."""
        error = Overloaded("too much work is waiting")
        error.retry_after = min(LONGEST_HINT, max(1.0, seconds))
        return error

    def total(self) -> float:
        """Seconds of work still to be done for all who were admitted."""
        return sum(self._left(each) for each in self.admitted.values())

    def ahead_of(self, job: Job) -> float:
        """Seconds of work that is likely to run before the next rows of an admitted job: of all with less left to do.

        The rule of the queue, waiting counted: what was there long enough goes first even with more to do.
        """
        own = self.admitted[job]
        rank = self._left(own) + job.arrived
        ahead, came_before = 0.0, True
        for each in self.admitted.values():
            if each is own:
                came_before = False
                continue
            left = self._left(each)
            if left + each.job.arrived < rank or (came_before and left + each.job.arrived == rank):
                ahead += left
        return ahead

    def rows_left(self, model: str, spent: int, most: int) -> int:
        """Rows that a job which has spent so many probably still needs, of at most `most`."""
        usual = min(most, ceil(self._usual_rows.get(model, FIRST_GUESS * most)))
        return max(1, usual - spent)

    def own(self, job: Job) -> float:
        """Seconds that an admitted job itself still needs."""
        return self._left(self.admitted[job])

    def finished(self, model: str, rows: int) -> None:
        """Learn how many rows an explanation that was not cut took."""
        usual = self._usual_rows.get(model, float(rows))
        self._usual_rows[model] = usual + SMOOTHING * (rows - usual)

    def took(self, expected: float, seconds: float) -> None:
        """Learn how long an explanation took of which `expected` was said when it was let in."""
        if expected > 0:
            newest = min(max(seconds / (expected / self.drag), 1.0), MOST_DRAG)
            self.drag += SMOOTHING * (newest - self.drag)

    def _left(self, each: _Admitted) -> float:
        return self.drag * self.seconds(each.model, each.job.rows_left, each.length)
