"""Counts of flags that were checked again, and what they say about the share that is wrong. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from rollcall.domain import binomial

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
        """Exact two-sided interval of the share that is wrong; 0 to 1 before anything is known."""
        return binomial.interval(self.wrong, self.checked, confidence=CONFIDENCE)

    @property
    def lower_limit(self) -> float:
        """Exact one-sided lower limit of the share that is wrong."""
        return binomial.lower_limit(self.wrong, self.checked, confidence=CONFIDENCE)
