"""Units: what counts as a word in the world's scripts, and how tokens become words."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollcall.backends.units import Piece, _between_flags, find_units, group_units, words
from rollcall.domain.inputs import Unit

WORDS = {
    "contraction": ("isn't it", ["isn't", "it"]),
    "typographic apostrophe": ("I don\u2019t know", ["I", "don\u2019t", "know"]),
    "several apostrophes": ("can't've", ["can't've"]),
    "quotes": ("'quoted' \"twice\"", ["'", "quoted", "'", '"', "twice", '"']),
    "numbers": ("3.14 and 1,000.50", ["3.14", "and", "1,000.50"]),
    "dots and joiners": ("U.S.A. e-mail foo_bar", ["U.S.A", ".", "e", "-", "mail", "foo_bar"]),
    "emoji family": ("👩‍👩‍👧‍👦 ok", ["👩‍👩‍👧‍👦", "ok"]),
    "emoji with a skin tone": ("👍🏽!", ["👍🏽", "!"]),
    "two flags": ("🇩🇪🇫🇷", ["🇩🇪", "🇫🇷"]),
    "three flags and a half": ("🇩🇪🇫🇷🇩🇪🇫", ["🇩🇪", "🇫🇷", "🇩🇪", "🇫"]),
    "flags joined by a mark": ("🇩\u0301🇪🇫🇷", ["🇩\u0301🇪", "🇫🇷"]),
    "Chinese": ("我喜欢这部电影。", ["我", "喜", "欢", "这", "部", "电", "影", "。"]),
    "Japanese": ("これはペンです", ["こ", "れ", "は", "ペン", "で", "す"]),
    "Korean": ("한국어 텍스트", ["한국어", "텍스트"]),
    "Thai": ("สวัสดี", ["ส", "วั", "ส", "ดี"]),
    "Arabic": ("مرحبا بالعالم، كيف", ["مرحبا", "بالعالم", "،", "كيف"]),
    "Hebrew with gershayim": ("צה״ל שלום", ["צה״ל", "שלום"]),
    "Hindi": ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
    "combining marks": ("e\u0301te\u0301 a\u0308", ["e\u0301te\u0301", "a\u0308"]),
    "a mark on nothing": ("\u0301abc", ["\u0301abc"]),
    "marks on spaces": ("\u0301 a \U0001f3fd b", ["\u0301", "a", "\U0001f3fd", "b"]),
    "NUL": ("a\0b", ["a", "\0", "b"]),
    "bidi controls": ("\u202eabc\u202c d", ["\u202eabc\u202c", "d"]),
    "zero-width space": ("a\u200bb", ["a", "\u200b", "b"]),
    "spaces around": ("  a  b\t\r\n c ", ["a", "b", "c"]),
    "no-break space": ("a\u00a0b\u3000c", ["a", "b", "c"]),
    "only punctuation": ("?!...", ["?", "!", ".", ".", "."]),
    "nothing but spaces": (" \t\n\u3000", []),
    "nothing": ("", []),
}


@pytest.mark.parametrize("case", WORDS)
def test_words_are_what_unicode_says(case: str) -> None:
    """A word is a word in every script, by UAX #29; a script without spaces does not collapse into one."""
    text, expected = WORDS[case]
    assert [text[start:end] for start, end in words(text)] == expected


@given(st.text())
def test_words_and_white_space_make_up_the_text(text: str) -> None:
    """Nothing that can be seen falls between two words, and no word holds nothing."""
    spans = words(text)
    assert spans == sorted(spans)
    kept = "".join(text[start:end] for start, end in spans)
    assert [c for c in kept if not c.isspace()] == [c for c in text if not c.isspace()]
    assert all(text[start:end] == text[start:end].strip() != "" for start, end in spans)
    gaps = zip([0, *(end for _, end in spans)], [*(start for start, _ in spans), len(text)], strict=True)
    assert all(not text[end:start].strip() for end, start in gaps)


@pytest.mark.parametrize("flag", ["\U0001f1e9", "\U0001f1e9\u0301", "\U0001f1e9\u200d\U0001f1ea\u0301"])
def test_a_long_row_of_flags_is_cut_before_it_is_searched(flag: str) -> None:
    """The boundary search is quadratic in a row of flags: it sees one at a time, so that nobody can hold up others."""
    text = "so " + flag * 1000 + " good"
    cuts = _between_flags(text)
    assert max(end - start for start, end in pairwise([*cuts, len(text)])) <= 2 * len(flag) + len(" good")
    assert len(words(text)) == 2 + len(cuts) + 1


def unit(text: str, first: int, last: int, start: int, *, segment: int = 0) -> Unit:
    """Build a unit of tokens `first` to `last`."""
    return Unit(
        text=text, token_start=first, token_end=last + 1, char_start=start, char_end=start + len(text), segment=segment
    )


def pieces(*spans: tuple[int, int]) -> list[Piece]:
    """Tokens at positions 1, 2, ..."""
    return [Piece(position=i, start=start, end=end) for i, (start, end) in enumerate(spans, start=1)]


def test_sub_words_make_a_word() -> None:
    """The tokens of a word are one unit, punctuation is another."""
    found = find_units("unbelievable!", pieces((0, 2), (2, 7), (7, 12), (12, 13)), 0)
    assert found == [unit("unbelievable", 1, 3, 0), unit("!", 4, 4, 12)]


def test_a_token_over_several_words_joins_them() -> None:
    """Words that share a token are one unit, since one cannot be removed without the other."""
    found = find_units("a b c", pieces((0, 3), (4, 5)), 0)
    assert found == [unit("a b", 1, 1, 0), unit("c", 2, 2, 4)]
    assert find_units("ab cd", pieces((0, 1), (1, 4), (4, 5)), 0) == [unit("ab cd", 1, 3, 0)]
    assert find_units("a b c", pieces((0, 5), (0, 1), (4, 5)), 0) == [unit("a b c", 1, 3, 0)]


def test_spaces_before_a_token_are_not_its_word() -> None:
    """Tokenizers that count the space before a word to it name the same units as those that do not."""
    loose = find_units("so good", pieces((0, 2), (2, 7)), 0)
    assert loose == find_units("so good", pieces((0, 2), (3, 7)), 0) == [unit("so", 1, 1, 0), unit("good", 2, 2, 3)]


def test_words_without_tokens_are_no_units() -> None:
    """What the tokenizer drops cannot be removed, and is no unit."""
    assert find_units("a \0 b", pieces((0, 1), (4, 5)), 0) == [unit("a", 1, 1, 0), unit("b", 2, 2, 4)]
    assert find_units("abc", [], 0) == []
    assert find_units("   ", pieces((0, 1)), 0) == []


def test_space_behind_a_word_is_not_shown() -> None:
    """A token for the space at the end belongs to the last word, and the word is shown without it."""
    assert find_units("so good \n", pieces((0, 2), (2, 7), (7, 9)), 0) == [unit("so", 1, 1, 0), unit("good", 2, 3, 3)]


def test_tokens_without_characters_belong_to_a_neighbour() -> None:
    """A token that stands for no character is still in a unit, or it could never be removed."""
    found = find_units("a b", pieces((0, 0), (0, 1), (1, 1), (2, 3)), 1)
    assert found == [unit("a", 1, 3, 0, segment=1), unit("b", 4, 4, 2, segment=1)]


def line(count: int, *, segment: int = 0, first: int = 1) -> tuple[str, list[Unit]]:
    """Make a side of so many one-letter words."""
    text = " ".join("x" * count)
    return text, [unit("x", first + i, first + i, 2 * i, segment=segment) for i in range(count)]


def test_few_units_stay_as_they_are() -> None:
    """Up to the limit nothing is grouped."""
    side = line(64)
    assert group_units([side], 64) == (side[1], False)


def test_many_units_are_grouped_in_reading_order() -> None:
    """Beyond the limit neighbours are grouped evenly, and their text is the text between them."""
    grouped, needed = group_units([line(65)], 64)
    assert needed
    assert len(grouped) == 33
    assert grouped[0] == unit("x x", 1, 2, 0)
    assert grouped[-1] == unit("x", 65, 65, 128)


@given(st.lists(st.integers(1, 200), min_size=1, max_size=3), st.integers(1, 64))
@settings(deadline=None)
def test_groups_cover_all_tokens_and_never_cross_sides(counts: list[int], most: int) -> None:
    """However long the sides are, groups stay within theirs, and every token stays in one."""
    firsts = [1 + sum(counts[:i]) + i for i in range(len(counts))]
    sides = [line(count, segment=i, first=firsts[i]) for i, count in enumerate(counts)]
    grouped, needed = group_units(sides, most)
    assert needed == (sum(counts) > max(most, len(counts)))
    assert len(grouped) <= max(most, len(counts))
    tokens = [token for group in grouped for token in range(group.token_start, group.token_end)]
    assert tokens == [u.token_start for _, units in sides for u in units]
    for group in grouped:
        text = sides[group.segment][0]
        assert group.text == text[group.char_start : group.char_end]


def test_units_without_characters_are_named_together() -> None:
    """Units made of ids have no text to cut from: their names are put side by side."""
    named = [
        Unit(text=t, token_start=i, token_end=i + 1, char_start=0, char_end=0, segment=0) for i, t in enumerate("ab")
    ]
    (group,), _ = group_units([("", named)], 1)
    assert (group.text, group.token_start, group.token_end) == ("a b", 0, 2)
