"""Lines of a terminal: what fits, what is clipped, and what never gets through."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rollcall_client._screen import Span, Style, clip, flow, paint, table, width_of


def test_wide_and_combining_characters_are_counted_as_drawn() -> None:
    """Columns stay columns in every script."""
    assert (width_of("abc"), width_of("漢字"), width_of("e\u0301")) == (3, 4, 1)


def test_styles_are_left_out_without_colour() -> None:
    """The same lines, with and without."""
    lines = [(Span("a", Style.BOLD), Span("b", Style.BOLD), Span("c"))]
    assert paint(lines, color=True) == "\x1b[1mab\x1b[0mc\n"
    assert paint(lines, color=False) == "abc\n"


def test_a_span_cannot_command_the_terminal() -> None:
    """Escape sequences in a text are shown."""
    assert paint([(Span("\x1b[2J"),)], color=False) == "\\x1b[2J\n"


def test_lines_break_at_spaces_and_keep_what_sticks_together() -> None:
    """Punctuation is never left alone at the start of a line; a newline always breaks."""
    chunks = [("", Span("thin")), ("", Span(",")), (" ", Span("but funny")), ("\n", Span("end"))]
    lines = flow(chunks, 9)
    assert ["".join(span.text for span in line) for line in lines] == ["thin, but", "funny", "end"]


@given(st.text(max_size=40), st.integers(1, 20))
def test_clipping_keeps_to_the_width(text: str, width: int) -> None:
    """Nothing is wider than its column."""
    assert width_of(clip(Span(text).text, width)) <= width


@given(st.lists(st.tuples(st.text(max_size=60), st.text(max_size=8)), min_size=1, max_size=5))
def test_tables_keep_to_the_width(rows: list[tuple[str, str]]) -> None:
    """The widest column gives way."""
    lines = table([tuple(Span(text) for text in row) for row in rows], 100, numbers=frozenset({1}))
    assert {sum(width_of(span.text) for span in line) for line in lines} <= set(range(101))
    assert len({sum(width_of(span.text) for span in line) for line in lines}) == 1
