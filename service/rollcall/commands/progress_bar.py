"""How far an explanation is, on a terminal or in a log."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self, TextIO

    from rollcall_client import Progress


@dataclass(slots=True, kw_only=True)
class ProgressBar:
    """Draws how far an explanation is: over and over on one line of a terminal, elsewhere a line for each quarter."""

    stream: TextIO
    width: int
    started: float = field(default_factory=time.monotonic)
    _drawn: bool = False
    _told: tuple[str, int] = ("", -1)

    def show(self, progress: Progress) -> None:
        """Draw the newest state."""
        done = progress.rows / progress.planned_rows if progress.planned_rows else 0.0
        seconds = time.monotonic() - self.started
        counted = f"{progress.rows}/{progress.planned_rows} rows [{seconds:.0f}s, {progress.stage}]"
        if self.stream.isatty():
            cells = max(10, min(40, self.width - len(counted) - 10))
            full = min(cells, int(done * cells))
            line = f"{done:>4.0%}|{'#' * full}{'.' * (cells - full)}| {counted}"
            print(f"\r{line:<{self.width - 1}}"[: self.width], end="", file=self.stream, flush=True)
            self._drawn = True
        elif self._told != (told := (progress.stage, int(4 * done))):
            print(f"rollcall: {done:.0%} {counted}", file=self.stream, flush=True)
            self._told = told

    def __enter__(self) -> Self:
        """Begin with nothing drawn."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the line off the terminal."""
        if self._drawn:
            print("\r" + " " * (self.width - 1), end="\r", file=self.stream, flush=True)
