"""Trends as columns of SVG: places and sizes in per cent, so that no policy has to allow styles in elements. Pure.

A picture is hidden from those who cannot see it: everything in it is told beside it, in words and in a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rollcall_client import Flag
from rollcall_client.reading import percent, share
from rollcall_client.trends import Trend

FILLED = 0.8
"""Of a column's room; the rest is between it and the next."""
FLAGS = (Flag.FAITHFUL, Flag.UNFAITHFUL, Flag.INCONCLUSIVE, Flag.NOT_CHECKED)
"""From the bottom up."""
EXPLAINED, DECIDED, MISMATCH, SAME, DIFFERED, OPENED, CLOSED = (
    "EXPLAINED", "DECIDED", "MISMATCH", "SAME", "DIFFERED", "OPENED", "CLOSED",
)  # fmt: skip
TOPS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Shares that the top of a plot may stand for."""

Part: TypeAlias = tuple[str, float, str]
"""A part of a column: of what kind, how high, as a share of the plot, and what it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A rectangle: where it is, in per cent of the plot from its top left, of what kind, and what it says."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One plot: what it shows, what its top stands for, the kinds of its pieces with their words, and the pieces."""

    title: str
    top: str
    kinds: tuple[tuple[str, str], ...]
    pieces: tuple[Piece, ...]


def charts(periods: Sequence[Trend]) -> tuple[Chart, ...]:
    """Draw how many answers there were, with which flags, and what became of them."""
    return _answers(periods), _flags(periods), _mismatches(periods), _replays(periods), _reviews(periods)


def _answers(periods: Sequence[Trend]) -> Chart:
    most = _most(each.answers for each in periods)
    return Chart(
        title="Recorded answers",
        top=f"{most:,}",
        kinds=((EXPLAINED, "explained"), (DECIDED, "decided and not explained")),
        pieces=_columns(
            periods,
            lambda each: [
                (EXPLAINED, each.explanations / most, f"{each.explanations:,} explained"),
                (DECIDED, each.decisions / most, f"{each.decisions:,} decided and not explained"),
            ],
        ),
    )


def _flags(periods: Sequence[Trend]) -> Chart:
    return Chart(
        title="Flags of the explanations",
        top=_whole(1.0),
        kinds=tuple((flag.name, flag.words) for flag in FLAGS),
        pieces=_columns(periods, lambda each: [_flag(each, flag) for flag in FLAGS]),
    )


def _mismatches(periods: Sequence[Trend]) -> Chart:
    top = next(top for top in TOPS if top >= max(share(each.mismatches, each.answers) for each in periods))
    return Chart(
        title="Acted on something else",
        top=_whole(top),
        kinds=((MISMATCH, "share of the answers"),),
        pieces=_columns(
            periods,
            lambda each: [
                (
                    MISMATCH,
                    share(each.mismatches, each.answers) / top,
                    f"{each.mismatches:,} of {each.answers:,} answers",
                )
            ],
        ),
    )


def _replays(periods: Sequence[Trend]) -> Chart:
    most = _most(each.replayed for each in periods)
    return Chart(
        title="Replays",
        top=f"{most:,}",
        kinds=((SAME, "came to the same"), (DIFFERED, "differed")),
        pieces=_columns(
            periods,
            lambda each: [
                (DIFFERED, each.differed / most, f"{each.differed:,} of {each.replayed:,} replays differed"),
                (SAME, (each.replayed - each.differed) / most, f"{each.replayed - each.differed:,} came to the same"),
            ],
        ),
    )


def _reviews(periods: Sequence[Trend]) -> Chart:
    most = _most(max(each.reviews_opened, each.reviews_closed) for each in periods)
    return Chart(
        title="Reviews",
        top=f"{most:,}",
        kinds=((OPENED, "opened"), (CLOSED, "closed")),
        pieces=_columns(
            periods,
            lambda each: [(OPENED, each.reviews_opened / most, f"{each.reviews_opened:,} opened")],
            lambda each: [(CLOSED, each.reviews_closed / most, f"{each.reviews_closed:,} closed")],
        ),
    )


def _flag(each: Trend, flag: Flag) -> Part:
    count = each.flags.get(flag, 0)
    part = share(count, each.explanations)
    return flag.name, part, f"{count:,} of {each.explanations:,} {flag.words} ({percent(part)})"


def _most(counts: Iterable[int]) -> int:
    """The largest, which the top of the plot stands for; of nothing a plot has a height, too."""
    return max(1, *counts)


def _whole(part: float) -> str:
    return f"{100 * part:.0f}\N{NO-BREAK SPACE}%"


def _columns(periods: Sequence[Trend], *stacks: Callable[[Trend], Sequence[Part]]) -> tuple[Piece, ...]:
    """Stand `stacks` beside each other in each period's room."""
    room = 100 / len(periods)
    width = room * FILLED / len(stacks)
    return tuple(
        piece
        for i, each in enumerate(periods)
        for j, parts in enumerate(stacks)
        for piece in _stack(room * (i + (1 - FILLED) / 2) + width * j, width, each, parts(each))
    )


def _stack(x: float, width: float, each: Trend, parts: Sequence[Part]) -> Iterator[Piece]:
    """Stand parts on each other."""
    top = 100.0
    for kind, height, words in parts:
        if height:
            top -= 100 * height
            yield Piece(x=x, y=top, width=width, height=100 * height, kind=kind, words=f"{each.start}: {words}")
