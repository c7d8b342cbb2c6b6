"""Charts of trends: every piece is where its number says, and says it."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.console.charting import Chart, charts
from rollcall_client import Flag, ReplayOutcome, Trend

FIRST = date(2026, 11, 1)
COUNTS = st.integers(0, 1_000)


def trend(day: int = 0, **told: object) -> Trend:
    """Give a period in which nothing happened but what is told."""
    nothing: dict[str, object] = {
        "start": FIRST + timedelta(days=day), "flags": {}, "reasons": {}, "decisions": 0, "mismatches": 0,
        "usable_for_notice": 0, "reviews_opened": 0, "reviews_closed": 0, "second_opinions": 0, "agreed": 0,
        "replays": {},
    }  # fmt: skip
    return Trend(**(nothing | told))  # type: ignore[arg-type] # as its fields are


@st.composite
def periods(draw: st.DrawFn) -> tuple[Trend, ...]:
    """Draw some periods of anything."""
    found = []
    for day in range(draw(st.integers(1, 6))):
        flags = draw(st.dictionaries(st.sampled_from([each for each in Flag if each.value]), COUNTS))
        decisions = draw(COUNTS)
        found.append(
            trend(
                day,
                flags=flags,
                decisions=decisions,
                mismatches=draw(st.integers(0, sum(flags.values()) + decisions)),
                reviews_opened=draw(COUNTS),
                reviews_closed=draw(COUNTS),
                replays=draw(st.dictionaries(st.sampled_from([each for each in ReplayOutcome if each.value]), COUNTS)),
            )
        )
    return tuple(found)


def named(found: tuple[Chart, ...], title: str) -> Chart:
    """Give the chart with a title."""
    return next(chart for chart in found if chart.title == title)


@given(periods())
def test_every_piece_is_within_its_plot(drawn: tuple[Trend, ...]) -> None:
    """Nothing reaches over the top or into the next period's room, and pieces of a column stand on each other."""
    room = 100 / len(drawn)
    for chart in charts(drawn):
        kinds = {kind for kind, _ in chart.kinds}
        floor: dict[float, float] = {}
        for piece in chart.pieces:
            assert piece.kind in kinds
            assert piece.height > 0
            assert piece.y >= -1e-9
            assert int((piece.x + 1e-9) // room) == int((piece.x + piece.width - 1e-9) // room)
            assert piece.y + piece.height == pytest.approx(floor.get(piece.x, 100.0))
            floor[piece.x] = piece.y
    heights = dict.fromkeys(range(len(drawn)), 0.0)
    for piece in named(charts(drawn), "Flags of the explanations").pieces:
        heights[int(piece.x // room)] += piece.height
    assert list(heights.values()) == pytest.approx([100.0 if each.explanations else 0.0 for each in drawn])


def test_pieces_are_as_high_as_their_numbers_say() -> None:
    """Worked out by hand: three explanations and a decision, beside a day with half as many."""
    first = trend(
        flags={Flag.FAITHFUL: 2, Flag.UNFAITHFUL: 1},
        decisions=1,
        mismatches=1,
        replays={ReplayOutcome.EXACT: 2, ReplayOutcome.VERDICT_CHANGED: 1, ReplayOutcome.NOT_REPLAYABLE: 5},
        reviews_opened=2,
        reviews_closed=1,
    )
    found = charts((first, trend(1, flags={Flag.INCONCLUSIVE: 2})))
    answers = [(each.kind, each.height) for each in named(found, "Recorded answers").pieces]
    assert answers == [("EXPLAINED", 75.0), ("DECIDED", 25.0), ("EXPLAINED", 50.0)]
    flags = named(found, "Flags of the explanations").pieces
    assert [each.kind for each in flags] == ["FAITHFUL", "UNFAITHFUL", "INCONCLUSIVE"]
    assert flags[0].words == "2026-11-01: 2 of 3 faithful (66.7\N{NO-BREAK SPACE}%)"
    mismatches = named(found, "Acted on something else")
    assert (mismatches.top, mismatches.pieces[0].height) == ("25\N{NO-BREAK SPACE}%", 100.0)
    replays = named(found, "Replays").pieces
    assert [(each.kind, round(each.height)) for each in replays] == [("DIFFERED", 33), ("SAME", 67)]
    opened, closed = named(found, "Reviews").pieces
    assert (opened.height, closed.height) == (100.0, 50.0)
    assert closed.x == pytest.approx(opened.x + opened.width)


def test_where_nothing_happened_nothing_is_drawn() -> None:
    """An empty plot has a scale, and no pieces."""
    for chart in charts((trend(), trend(1))):
        assert chart.pieces == ()
        assert chart.top
