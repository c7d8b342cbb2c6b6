"""Units: words by Unicode word boundaries (UAX #29), mapped to tokens through the tokenizer's own offsets.

Scripts without spaces fall into their characters or short runs, so a Chinese sentence does not collapse into one unit.
Every content token belongs to exactly one unit; a token that spans several words makes them one unit.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import groupby, pairwise

import regex

from rollcall.domain.inputs import Unit

WORD_BOUNDARY = regex.compile(r"\b", flags=regex.V1 | regex.WORD)
_JOINED = r"[\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}]*+"
FLAG = regex.compile(rf"\p{{RI}}{_JOINED}\p{{RI}}{_JOINED}(?=(?P<next>\p{{RI}}))?", flags=regex.V1)
"""Two regional indicators with what joins them (WB4, WB15); `next` where another one follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A content token: its position in the input and its characters [start, end) in its text."""

    position: int
    start: int
    end: int


def words(text: str) -> list[tuple[int, int]]:
    """Characters [start, end) of each word or punctuation mark; white space is none, nor part of one."""
    cuts = {0, len(text)}
    for start, end in pairwise([0, *_between_flags(text), len(text)]):
        cuts.update(start + match.start() for match in WORD_BOUNDARY.finditer(text[start:end]))
    spans = ((start, text[start:end]) for start, end in pairwise(sorted(cuts)))
    # A combining mark on nothing but a space takes the space into its word.
    return [(start + len(s) - len(s.lstrip()), start + len(s.rstrip())) for start, s in spans if not s.isspace()]


def _between_flags(text: str) -> list[int]:
    """Places between two flags: the boundary search, quadratic in a row of flags, never gets to see a long one."""
    return [match.end() for match in FLAG.finditer(text) if match.start("next") >= 0]


def find_units(text: str, pieces: list[Piece], segment: int) -> list[Unit]:
    """Units of one text in reading order; empty if no token covers a word."""
    spans = words(text)
    if not spans or not pieces:
        return []
    starts = [start for start, _ in spans]
    first = [_word_at(_skip_space(text, piece), starts) for piece in pieces]
    last = [max(i, _word_at(max(piece.end - 1, piece.start), starts)) for i, piece in zip(first, pieces, strict=True)]
    joined = _join(first, last)
    units = []
    for _, members in groupby(range(len(pieces)), key=joined.__getitem__):
        indices = list(members)
        char_start = spans[first[indices[0]]][0]
        char_end = spans[max(last[i] for i in indices)][1]
        units.append(
            Unit(
                text=text[char_start:char_end],
                token_start=pieces[indices[0]].position,
                token_end=pieces[indices[-1]].position + 1,
                char_start=char_start,
                char_end=char_end,
                segment=segment,
            )
        )
    return units


def _skip_space(text: str, piece: Piece) -> int:
    start = piece.start
    while start < piece.end and text[start].isspace():
        start += 1
    return start


def _word_at(character: int, starts: list[int]) -> int:
    return max(0, bisect_right(starts, character) - 1)


def _join(first: list[int], last: list[int]) -> list[int]:
    """Give every piece the number of its unit: pieces whose words touch share one."""
    numbers: list[int] = []
    number, reach = -1, -1
    for start, end in zip(first, last, strict=True):
        if start > reach:
            number += 1
        reach = max(reach, end)
        numbers.append(number)
    return numbers


def group_units(sides: list[tuple[str, list[Unit]]], most: int) -> tuple[list[Unit], bool]:
    """Group consecutive units evenly until at most `most` are left, one per side at least; say if it was needed."""
    size = 1
    while sum(-(-len(units) // size) for _, units in sides) > max(most, len(sides)):
        size += 1
    grouped = [_merged(text, units[i : i + size]) for text, units in sides for i in range(0, len(units), size)]
    return grouped, size > 1


def _merged(text: str, units: list[Unit]) -> Unit:
    first, last = units[0], units[-1]
    if first is last:
        return first
    # Units made of token ids have no characters: their texts are joined instead.
    whole = text[first.char_start : last.char_end] or " ".join(unit.text for unit in units)
    return Unit(
        text=whole,
        token_start=first.token_start,
        token_end=last.token_end,
        char_start=first.char_start,
        char_end=last.char_end,
        segment=first.segment,
    )
