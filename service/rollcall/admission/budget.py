"""What one explanation may still spend: rows and time. Pure; the clock is passed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

REPLY_SECONDS = 0.01
"""Kept back for the verdict and the reply."""
SAFETY = 1.25
"""Estimates are multiplied by this before they are held against the deadline."""
SMOOTHING = 0.2
"""Weight of the newest batch in the pace."""
FADING_SECONDS = 10.0
"""The pace halves in this time without a batch."""


class Cut(Enum):
    """Why looks were cut."""

    DEADLINE = "deadline"
    MAX_ROWS = "max_rows"


@dataclass(slots=True, kw_only=True)
class Pace:
    """Seconds per token of recent batches of one model, waiting included: what the next batch is expected to take.

    It fades with time: after a burst nobody would dare to run another batch otherwise, and so never learn that it is
    over.
    """

    seconds_per_token: float = 0.0
    observed_at: float = 0.0

    def observe(self, tokens: int, seconds: float, now: float) -> None:
        """Take one batch into account."""
        newest = seconds / tokens
        self.seconds_per_token += (newest - self.seconds_per_token) * (SMOOTHING if self.seconds_per_token else 1.0)
        self.observed_at = now

    def estimate(self, tokens: int, now: float) -> float:
        """Expected seconds for a batch; 0 before the first observation."""
        fading = 0.5 ** (max(0.0, now - self.observed_at) / FADING_SECONDS)
        return float(tokens * self.seconds_per_token * fading)


@dataclass(slots=True, kw_only=True)
class Budget:
    """Counts rows; `cut` remembers why something was refused first."""

    max_rows: int
    deadline: float | None
    clock: Callable[[], float]
    pace: Pace
    length: int
    rows: int = 0
    cut: Cut | None = field(default=None)

    def affords(self, rows: int) -> bool:
        """Whether `rows` more rows fit into rows and time; remembers the reason if not."""
        if self.rows + rows > self.max_rows:
            self.cut = self.cut or Cut.MAX_ROWS
            return False
        if self.deadline is not None:
            now = self.clock()
            needed = SAFETY * self.pace.estimate(rows * self.length, now) + REPLY_SECONDS
            if now + needed > self.deadline:
                self.cut = self.cut or Cut.DEADLINE
                return False
        return True

    def spend(self, rows: int, seconds: float) -> None:
        """Count rows that have been run in `seconds`."""
        self.rows += rows
        self.pace.observe(rows * self.length, seconds, self.clock())
