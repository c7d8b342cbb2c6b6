"""What a comparison came to: numbers, and the lines of the inputs that differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rollcall.bringing.comparing import Compared

SHOWN = 20
"""Inputs of a kind that are listed in words; JSON lists them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that were compared. `tolerance`: by how much a probability may differ."""

    found: tuple[Compared, ...]
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether there was something to compare, all was answered, and nothing differs."""
        return bool(self.found) and not (self.failed or self.disagreeing or self.beyond)

    @property
    def largest(self) -> Compared | None:
        """The input whose probabilities differ most."""
        measured = [one for one in self.found if one.difference is not None]
        return max(measured, key=lambda one: one.difference or 0.0, default=None)

    @property
    def failed(self) -> tuple[Compared, ...]:
        """Those that one of the two did not answer."""
        return tuple(one for one in self.found if one.error)

    @property
    def disagreeing(self) -> tuple[Compared, ...]:
        """Those that are decided otherwise."""
        return tuple(one for one in self.found if not one.error and not one.agrees)

    @property
    def beyond(self) -> tuple[Compared, ...]:
        """Those whose probabilities differ by more than is tolerated."""
        return tuple(one for one in self.found if one.difference is not None and one.difference > self.tolerance)

    def to_dict(self) -> dict[str, object]:
        """Everything, ready for JSON."""
        largest = self.largest
        return {
            "inputs": len(self.found),
            "holds": self.holds,
            "tolerance": self.tolerance,
            "largest_difference": None if largest is None else largest.difference,
            "largest_difference_line": None if largest is None else largest.line,
            "beyond_tolerance": [{"line": one.line, "difference": one.difference} for one in self.beyond],
            "disagreeing": [{"line": one.line, "ours": one.ours, "theirs": one.theirs} for one in self.disagreeing],
            "failed": [{"line": one.line, "error": one.error} for one in self.failed],
        }

    def __str__(self) -> str:
        """In words."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        largest = self.largest
        yield f"{len(self.found)} inputs" if self.found else "no inputs: nothing was compared"
        if largest is not None:
            yield f"largest difference of a probability: {largest.difference:.3g}, line {largest.line}"
        elif self.found:
            yield "no probabilities to compare: labels alone"
        yield f"more than {self.tolerance:g} apart: {len(self.beyond)}"
        yield from _few(self.beyond, lambda one: f"{one.difference:.3g}")
        yield f"decided otherwise: {len(self.disagreeing)}"
        yield from _few(self.disagreeing, lambda one: f"{one.ours} here, {one.theirs} there")
        if self.failed:
            yield f"not answered: {len(self.failed)}"
            yield from _few(self.failed, lambda one: one.error)


def _few(found: Sequence[Compared], said: Callable[[Compared], str]) -> Iterator[str]:
    yield from (f"  line {one.line}: {said(one)}" for one in found[:SHOWN])
    if len(found) > SHOWN:
        yield f"  and {len(found) - SHOWN} more (--json lists them)"
