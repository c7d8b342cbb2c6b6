"""How far an explanation is, told to all who wait for it.

Identical questions share one piece of work, so that what is told goes by the question, not by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rollcall.domain.explanation import Progress

Tell = Callable[[Progress], None]


@dataclass(slots=True, kw_only=True)
class Board:
    """Who wants to hear of which question. Used from one event loop."""

    listeners: dict[Hashable, list[Tell]] = field(default_factory=dict)

    @contextmanager
    def listening(self, question: Hashable, tell: Tell | None) -> Iterator[None]:
        """Tell somebody of a question's progress for the length of a `with` block."""
        if tell is None:
            yield
            return
        self.listeners.setdefault(question, []).append(tell)
        try:
            yield
        finally:
            self.listeners[question].remove(tell)
            if not self.listeners[question]:
                del self.listeners[question]

    def tell(self, question: Hashable, progress: Progress) -> None:
        """Tell everybody who listens."""
        for tell in self.listeners.get(question, ()):
            tell(progress)


@dataclass(slots=True, kw_only=True)
class Reporter:
    """Tells of one piece of work: its stage, the rows that have run, and about how many there will be."""

    tell: Tell
    planned: int
    stage: str = ""
    rows: int = 0

    def enter(self, stage: str) -> None:
        """Tell that a stage begins."""
        self.stage = stage
        self.ran(self.rows)

    def ran(self, rows: int) -> None:
        """Tell that so many rows have run in all; the plan is never behind what has been done."""
        self.rows, self.planned = rows, max(self.planned, rows)
        self.tell(Progress(stage=self.stage, rows=self.rows, planned_rows=self.planned))
