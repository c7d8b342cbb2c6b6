"""Medians with quartiles, and actions that are timed in turn so that a slow minute of the machine is slow for all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Median and quartiles."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Take them of at least one value."""
        if len(values) < 2:
            return cls(middle=values[0], low=values[0], high=values[0])
        low, middle, high = quantiles(values, n=4, method="inclusive")
        return cls(middle=middle, low=low, high=high)

    @classmethod
    def of_ratios(cls, values: Sequence[float], others: Sequence[float]) -> Spread:
        """Take them of ratios of what was measured in the same turn."""
        return cls.of([value / other for value, other in zip(values, others, strict=True)])

    def text(self, digits: int = 2) -> str:
        """Write it."""
        return f"{self.middle:,.{digits}f} [{self.low:,.{digits}f}, {self.high:,.{digits}f}]"


def in_turn(
    actions: Mapping[str, Callable[[], object]], *, repeats: int, clock: Callable[[], float] = time.process_time
) -> dict[str, list[float]]:
    """Do each action in each repeat, each going first in its turn; return seconds by name, one per repeat.

    Seconds are of processor time, of all threads of this process.
    """
    names = list(actions)
    spent: dict[str, list[float]] = {name: [] for name in names}
    for repeat in range(repeats):
        first = repeat % len(names)
        for name in [*names[first:], *names[:first]]:
            started = clock()
            actions[name]()
            spent[name].append(clock() - started)
    return spent
