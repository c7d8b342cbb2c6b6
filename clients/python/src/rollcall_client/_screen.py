"""Styled text for a terminal. Every `Span` makes its text visible, so that nothing printed commands the terminal."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import TYPE_CHECKING

from rollcall_client.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_RESET = "\x1b[0m"
_ELLIPSIS = "…"
_NARROWEST = 8


class Style(Enum):
    """How a span looks: its value is the SGR sequence's parameters."""

    PLAIN = ""
    BOLD = "1"
    DIM = "2"
    GOOD = "1;30;42"
    BAD = "1;97;41"
    UNSURE = "1;30;43"
    UNCHECKED = "7"
    TOWARDS = "36"
    AGAINST = "33"
    HEAT_1 = "38;5;16;48;5;195"
    HEAT_2 = "38;5;16;48;5;153"
    HEAT_3 = "38;5;16;48;5;117"
    HEAT_4 = "38;5;16;48;5;75"
    HEAT_5 = "38;5;16;48;5;39"


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of text in one style."""

    text: str
    style: Style = Style.PLAIN

    def __post_init__(self) -> None:
        """Make the text visible, whoever wrote it."""
        object.__setattr__(self, "text", visible(self.text))


Line = tuple[Span, ...]
_START = Span("")


def paint(lines: Iterable[Line], *, color: bool) -> str:
    """The lines as one text, each ended by a newline; without colour, styles are left out."""
    return "".join(f"{_paint_line(line, color=color).rstrip()}\n" for line in lines)


def _paint_line(line: Line, *, color: bool) -> str:
    runs = [(style, "".join(span.text for span in spans)) for style, spans in groupby(line, lambda span: span.style)]
    return "".join(f"\x1b[{style.value}m{text}{_RESET}" if color and style.value else text for style, text in runs)


def width_of(text: str) -> int:
    """Columns that a text takes: two for wide characters, none for combining ones."""
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def clip(text: str, width: int) -> str:
    """The text in at most `width` columns, with an ellipsis if something is missing."""
    if width_of(text) <= width:
        return text
    kept, used = [], width_of(_ELLIPSIS)
    for character in text:
        used += _columns(character)
        if used > width:
            break
        kept.append(character)
    return "".join(kept) + _ELLIPSIS


def flow(chunks: Iterable[tuple[str, Span]], width: int, indent: str = "") -> list[Line]:
    """Fill lines of at most `width` columns with chunks: (what stands before it, span).

    Before a chunk stands nothing (it sticks to the chunk before), a space, or a newline, which always breaks. Lines
    break at spaces only: what is longer than a line overflows rather than being cut.
    """
    lines: list[list[Span]] = []
    room = 0
    for gap, clump in _clumps(chunks):
        size = sum(width_of(span.text) for span in clump)
        if gap.text == " " and size < room:
            lines[-1] += [gap, *clump]
            room -= size + 1
        else:
            lines.append([Span(indent), *clump])
            room = width - width_of(indent) - size
    return [tuple(line) for line in lines]


def _clumps(chunks: Iterable[tuple[str, Span]]) -> Iterable[tuple[Span, list[Span]]]:
    """Spans that stay together, with what stands before them; the first clump starts a line."""
    gap, clump = _START, list[Span]()
    for before, span in chunks:
        first, *others = span.text.split(" ")
        # A space inside of a span looks like the span, one between two spans like nothing. A newline breaks: no space.
        pieces = [(Span(before), Span(first, span.style))]
        pieces += [(Span(" ", span.style), Span(other, span.style)) for other in others]
        for piece_gap, piece in pieces:
            if piece_gap.text and clump:
                yield gap, clump
                gap, clump = piece_gap, []
            clump.append(piece)
    if clump:
        yield gap, clump


def prose(text: str, width: int, style: Style = Style.PLAIN, indent: str = "") -> list[Line]:
    """A paragraph."""
    return flow([("", Span(text, style))], width, indent)


def table(rows: Sequence[Sequence[Span]], width: int, *, numbers: frozenset[int], indent: str = "  ") -> list[Line]:
    """Rows in columns; columns in `numbers` are flush right. Where it gets tight, the widest column is clipped."""
    widths = [max(width_of(span.text) for span in column) for column in zip(*rows, strict=True)]
    while sum(widths) + len(indent) + 2 * (len(widths) - 1) > width and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    return [
        tuple(
            cell
            for position, (span, columns) in enumerate(zip(row, widths, strict=True))
            for cell in (Span("  " if position else indent), _fit(span, columns, right=position in numbers))
        )
        for row in rows
    ]


def _fit(span: Span, width: int, *, right: bool) -> Span:
    text = clip(span.text, width)
    padding = " " * (width - width_of(text))
    return Span(padding + text if right else text + padding, span.style)
