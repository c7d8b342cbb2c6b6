"""Vocabularies that are learned, and tokenizers over them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from rollcall.training.pieces import (
    ALPHABET,
    CLS_ID,
    SEP_ID,
    SPECIAL_PIECES,
    encoded,
    learned_pieces,
    piece_tokenizer,
)

TEXTS = ["the cat sat on the mat", "the dog sat on the log", "déjà vu, again and again", "\u4e2d\u6587 \u0431\u0433"]
LEARN = (
    "import json; from rollcall.training.pieces import learned_pieces; "
    f"print(json.dumps(learned_pieces({TEXTS!r}, count=300)))"
)


def test_the_same_texts_give_the_same_pieces_in_every_process() -> None:
    """Ties are broken by nothing that a process draws for itself, so a model can be trained again."""
    learned = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", LEARN],
                env={**os.environ, "PYTHONHASHSEED": seed},
                capture_output=True,
                check=True,
                text=True,
            ).stdout
        )
        for seed in ("1", "2")
    ]
    assert learned[0] == learned[1] == learned_pieces(TEXTS, count=300)


def test_special_pieces_come_first_and_common_words_are_pieces() -> None:
    """Each piece has one number."""
    pieces = learned_pieces(TEXTS, count=300)
    assert tuple(pieces[: len(SPECIAL_PIECES)]) == SPECIAL_PIECES
    assert len(set(pieces)) == len(pieces)
    assert {"the", "sat", "again"} <= set(pieces)


def test_characters_outside_the_alphabet_have_no_piece() -> None:
    """A text of a thousand different characters does not fill the vocabulary with them."""
    pieces = learned_pieces(["".join(chr(0x4E00 + number) for number in range(1000))], count=1200)
    single = [piece for piece in pieces if len(piece) == 1]
    assert len(single) == ALPHABET


def test_every_plain_word_can_be_spelt() -> None:
    """No word of Latin letters is unknown, whatever was learned from."""
    tokenizer = piece_tokenizer(learned_pieces(TEXTS, count=300), positions=32)
    assert "[UNK]" not in tokenizer.tokenize("Zyzzyva quaffed jinxed wyverns' fjord-bank!")


def test_tokens_know_their_word() -> None:
    """Word by word from 1; special tokens are 0, and the limit counts them."""
    tokenizer = piece_tokenizer([*SPECIAL_PIECES, "a", "b", "##s"], positions=8)
    ids, words = encoded(tokenizer, ["A bs a a"], limit=6)
    assert (ids[0][0], ids[0][-1]) == (CLS_ID, SEP_ID)
    assert words == [[0, 1, 2, 2, 3, 0]]


def test_dress_does_not_matter() -> None:
    """Capitals, accents and curly apostrophes are read as their plain forms."""
    tokenizer = piece_tokenizer(learned_pieces(TEXTS, count=300), positions=32)
    assert tokenizer.tokenize("D\u00e9j\u00e0 don\u2019t") == tokenizer.tokenize("deja don't")
