"""Counts of flags that were checked again, and what they say about the share that is wrong. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from scipy.special import betaincinv

CONFIDENCE = 0.95
"""Of intervals, and of the limit that says that a promise is broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many were checked again, and how many of them were wrong."""

    checked: int = 0
    wrong: int = 0

    def after(self, *, wrong: bool) -> Tally:
        """One more."""
        return Tally(checked=self.checked + 1, wrong=self.wrong + wrong)

    @property
    def interval(self) -> tuple[float, float]:
        """Exact (Clopper-Pearson) two-sided interval of the share that is wrong; 0 to 1 before anything is known."""
        tail = (1 - CONFIDENCE) / 2
        return self._lower(tail), self._upper(tail)

    @property
    def lower_limit(self) -> float:
        """Exact one-sided lower limit of the share that is wrong."""
        return self._lower(1 - CONFIDENCE)

    def _lower(self, tail: float) -> float:
        return float(betaincinv(self.wrong, self.checked - self.wrong + 1, tail)) if self.wrong else 0.0

    def _upper(self, tail: float) -> float:
        right = self.checked - self.wrong
        return float(betaincinv(self.wrong + 1, right, 1 - tail)) if right else 1.0
