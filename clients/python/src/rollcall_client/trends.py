"""How the answers of a model went, period by period: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rollcall_client.enums import ReplayOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from rollcall_client.enums import Flag, Reason

DIFFERS = (ReplayOutcome.DIFFERENT, ReplayOutcome.VERDICT_CHANGED)
"""Outcomes of a replay that did not come to the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """What happened in the period that begins with the day `start`, in UTC.

    `flags` counts explanations by the flag of their primary map, `reasons` those of them that are inconclusive;
    `decisions` are predictions that were recorded without one. `mismatches` are answers whose caller acted on something
    else; `usable_for_notice` explanations that may be given to a person as a reason. Reviews count when they were
    opened (for the first time) and closed, `second_opinions` of somebody who did not know the first, `agreed` of them.
    """

    start: date
    flags: Mapping[Flag, int]
    reasons: Mapping[Reason, int]
    decisions: int
    mismatches: int
    usable_for_notice: int
    reviews_opened: int
    reviews_closed: int
    second_opinions: int
    agreed: int
    replays: Mapping[ReplayOutcome, int]

    @property
    def explanations(self) -> int:
        """Explanations, whatever their flag."""
        return sum(self.flags.values())

    @property
    def answers(self) -> int:
        """Explanations and decisions."""
        return self.explanations + self.decisions

    @property
    def replayed(self) -> int:
        """Replays that could be asked again as they were asked then."""
        return sum(count for outcome, count in self.replays.items() if outcome is not ReplayOutcome.NOT_REPLAYABLE)

    @property
    def differed(self) -> int:
        """Replays that did not come to the same."""
        return sum(self.replays.get(outcome, 0) for outcome in DIFFERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trends:
    """Every period, in their order, in a log of so many entries."""

    periods: tuple[Trend, ...]
    log_size: int
