"""Answers about one word: which it is, and how people see that."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import canned
from rollcall_client.html import render_page
from rollcall_client.terminal import render

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollcall_client._v1 import explanation_pb2
    from rollcall_client.types import Unit

OPEN, CLOSE, ARROW = "\N{LEFT DOUBLE QUOTATION MARK}", "\N{RIGHT DOUBLE QUOTATION MARK}", "\N{RIGHTWARDS ARROW}"


def asked(index: int) -> Unit:
    """A unit of the canned answer."""
    return canned.explanation().units[index]


def test_the_unit_of_the_word_is_found() -> None:
    """Where units hold several words it is the one around the word's first token."""
    answer = canned.explanation()
    first, second = answer.units[:2]
    assert answer.asked is None
    assert replace(answer, word=second).asked == 1
    wide = replace(first, token_end=second.token_end)
    later = tuple(
        replace(each, token_start=each.token_start + 9, token_end=each.token_end + 9) for each in answer.units
    )
    assert replace(answer, units=(wide, *later[1:]), word=second).asked == 0


def test_a_word_that_lies_nowhere_is_refused() -> None:
    """An answer about a word that its units do not have contradicts itself."""
    with pytest.raises(ValueError, match="lies in none of the units"):
        replace(canned.explanation(), word=replace(asked(0), token_start=900, token_end=901))


@pytest.mark.parametrize("reply", [canned.explain_reply, canned.recommended_instead, canned.not_checked])
def test_both_views_name_and_mark_it(reply: Callable[[], explanation_pb2.ExplainResponse]) -> None:
    """Under any map, faithful or not: which word it is is said, and it is marked where it stands in the text."""
    plain = canned.explanation(reply())
    answer = replace(plain, word=plain.units[1])
    text = answer.units[1].text
    lines, page = render(answer, color=False, width=100), render_page(answer)
    assert f"Label of the word {OPEN}{text}{CLOSE}" in lines
    assert lines.count(f"{ARROW}{text}") == 1
    texts = 1 + len(answer.attributions)  # where it is shown, and once in each map's details
    assert page.count("the word whose label is asked for") == page.count("<u ") == texts
    for shown in (render(plain, color=False, width=100), render_page(plain)):
        assert "Label of the word" not in shown
        assert ARROW + text not in shown


def test_ids_have_no_characters_to_tell() -> None:
    """The word of an input that was cut already is told by its piece alone."""
    answer = replace(canned.explanation(), word=replace(asked(0), char_start=0, char_end=0))
    assert "characters" not in render(answer, color=False, width=100).partition("Label of the word")[2][:40]
