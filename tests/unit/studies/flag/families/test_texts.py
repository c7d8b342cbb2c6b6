"""Generated texts: what is planted where, and that nothing trained on is asked about."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from rollcall.studies.flag.families.texts import (
    WORDS,
    Text,
    chance_of,
    drawn,
    held_out,
    made_up_words,
    planted,
    rows_of,
)
from rollcall.training.pieces import SPECIAL_PIECES, piece_tokenizer


def coin(chance: random.Random) -> Text:
    """One of two texts."""
    return Text(words=(chance.choice(("heads", "tails")),), label=0)


def test_evidence_is_where_the_decisive_words_stand_in_the_text() -> None:
    """The characters of the text as it is sent spell the decisive words."""
    text = Text(words=("so", "very", "nice", "x"), label=1, decisive=(1, 3))
    assert [text.input.text[start:end] for start, end in text.evidence] == ["very", "x"]


@given(st.integers(0, 2**32), st.integers(0, 4))
def test_planted_words_stand_in_their_order_among_fillers(seed: int, count: int) -> None:
    """All other words are fillers, and the length is one of those allowed."""
    wanted = [f"planted{number}" for number in range(count)]
    words, places = planted(["filler"], wanted, chance_of(seed))
    assert [words[place] for place in places] == wanted
    assert places == sorted(places)
    assert words.count("filler") == len(words) - count
    assert len(words) in WORDS


def test_made_up_words_are_distinct() -> None:
    """Two meanings never share a word."""
    assert len(set(made_up_words(2000, chance_of(0)))) == 2000


def test_held_out_texts_are_distinct_and_new() -> None:
    """None equals another, nor one trained on; where no more are left there are fewer."""
    assert {text.words for text in held_out(coin, 5, chance_of("test"))} == {("heads",), ("tails",)}
    assert held_out(coin, 5, chance_of("test"), apart_from=[Text(words=("heads",), label=0)]) == [
        Text(words=("tails",), label=0)
    ]


def test_the_first_texts_do_not_depend_on_how_many_are_asked_for() -> None:
    """A study with more instances contains the smaller one."""
    assert drawn(coin, 20, chance_of("test"))[:5] == drawn(coin, 5, chance_of("test"))


def test_rows_mark_the_tokens_of_decisive_words() -> None:
    """Token by token, special tokens among them."""
    tokenizer = piece_tokenizer([*SPECIAL_PIECES, "a", "b"], positions=8)
    rows = rows_of([Text(words=("a", "b"), label=1, decisive=(1,))], tokenizer)
    assert rows.words == [[0, 1, 2, 0]]
    assert rows.secret == [[False, False, True, False]]
    assert rows.labels == [1]
