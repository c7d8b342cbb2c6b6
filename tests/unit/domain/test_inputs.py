"""What comes in, and how it is shared by all later steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rollcall.domain.inputs import Encoding, TextInput, TokensInput, Unit
from tests.subjects import encoding

WORDS_OF_TWO = Encoding(
    input_ids=np.arange(7),
    type_ids=np.zeros(7, dtype=np.int64),
    unit_of_token=np.array([-1, 0, 0, 1, 2, 2, -1]),
    units=tuple(
        Unit(text="secret", token_start=a, token_end=b, char_start=0, char_end=1, segment=0)
        for a, b in ((1, 3), (3, 4), (4, 6))
    ),
    tokens_total=7,
    grouped=False,
)


@pytest.mark.parametrize(
    ("units", "tokens"),
    [([], []), ([0], [1, 2]), ([1], [3]), ([0, 2], [1, 2, 4, 5]), ([0, 1, 2], [1, 2, 3, 4, 5])],
)
def test_removing_words_removes_all_their_tokens_and_no_others(units: list[int], tokens: list[int]) -> None:
    """A word goes with every piece of it; the special tokens always stay."""
    removed = np.zeros(3, dtype=np.bool_)
    removed[units] = True
    assert np.flatnonzero(WORDS_OF_TWO.tokens_of(removed)).tolist() == tokens


def test_a_text_without_words_has_nothing_to_remove() -> None:
    """Special tokens alone cannot be removed."""
    assert not encoding(0).tokens_of(np.zeros(0, dtype=np.bool_)).any()


def test_truncation_is_visible() -> None:
    """A text that was longer than the model reads says so."""
    assert not WORDS_OF_TWO.truncated
    assert replace(WORDS_OF_TWO, tokens_total=8).truncated
    assert WORDS_OF_TWO.length == 7


def test_texts_are_not_printed() -> None:
    """What a log might print of a request never holds its text or its ids."""
    printed = [TextInput(text="secret", text_pair="secret"), TokensInput(input_ids=(4711,)), WORDS_OF_TWO]
    assert not any("secret" in repr(value) or "4711" in repr(value) for value in (*printed, WORDS_OF_TWO.units[0]))
