"""What one explanation may still spend: rows and time. Pure; the clock and the estimate are passed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

REPLY_SECONDS = 0.01
"""Kept back for the verdict and the reply."""
SAFETY = 1.25
"""Estimates are multiplied by this before they are held against the deadline."""


class Cut(Enum):
    """Why looks were cut."""

    DEADLINE = "deadline"
    MAX_ROWS = "max_rows"


def in_time(seconds: float, deadline: float | None, now: float) -> bool:
    """Whether what is estimated to take so long can be answered before the deadline."""
    return deadline is None or now + SAFETY * seconds + REPLY_SECONDS <= deadline


@dataclass(slots=True, kw_only=True)
class Budget:
    """Counts rows; `cut` remembers why something was refused first, `late` whether time ever was the reason.

    `estimate` says how long so many more rows will take, waiting included; `spent` hears of rows that have been run.
    """

    max_rows: int
    deadline: float | None
    clock: Callable[[], float]
    estimate: Callable[[int], float]
    spent: Callable[[int], None] = lambda _: None
    rows: int = 0
    cut: Cut | None = field(default=None)
    late: bool = False

    def affords(self, rows: int, *, seconds: float = 0.0) -> bool:
        """Whether `rows` more rows fit into rows and time; remembers the reason if not.

        `seconds` are what they will take at least, where more than the estimate is known.
        """
        refused = self.refuses(rows, seconds=seconds)
        self.cut = self.cut or refused
        self.late = self.late or refused is Cut.DEADLINE
        return refused is None

    def refuses(self, rows: int, *, seconds: float = 0.0) -> Cut | None:
        """Why `rows` more rows do not fit; None if they do. Remembers nothing: these are no rows of a look."""
        if self.rows + rows > self.max_rows:
            return Cut.MAX_ROWS
        if not in_time(max(self.estimate(rows), seconds), self.deadline, self.clock()):
            return Cut.DEADLINE
        return None

    def spend(self, rows: int) -> None:
        """Count rows that have been run."""
        self.rows += rows
        self.spent(rows)
