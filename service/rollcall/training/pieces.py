"""Uncased WordPiece tokenizers over a vocabulary of one's own.

Whole words are pieces, too: a tokenizer over words alone reads word by word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL_PIECES: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ALPHABET: Final = 100
"""Characters that words can be spelt with."""
PAD_ID, UNK_ID, CLS_ID, SEP_ID, MASK_ID = range(len(SPECIAL_PIECES))


def uncased() -> normalizers.Sequence:
    """Return the normalizer: straight apostrophes, lower case, no accents or control characters.

    The apostrophe matters: many texts spell "don't" with a curly one.
    """
    return normalizers.Sequence(
        [
            normalizers.Replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"),
            normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=True, lowercase=True),
        ]
    )


def plain_characters() -> list[str]:
    """Return printable ASCII but capitals, common typography, and what of these can be inside."""
    characters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    characters += [*"\N{EN DASH}\N{EM DASH}\N{HORIZONTAL ELLIPSIS}"]
    characters += [*"\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}"]
    return [*characters, *(f"##{c}" for c in characters if c.isalnum())]


def learned_pieces(texts: Sequence[str], *, count: int) -> list[str]:
    """Learn ``count`` word pieces from ``texts``, the same ones every time.

    The library breaks ties by the numbers of the pieces and numbers characters in the order of a hash map that is
    seeded anew in every process; so every character is given its number beforehand, as if it were a special piece.
    """
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 - a piece, no password
    learner.normalizer = uncased()
    learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    characters = _characters(texts)
    trainer = trainers.WordPieceTrainer(
        vocab_size=count,
        special_tokens=[*SPECIAL_PIECES, *characters, *(f"##{character}" for character in characters)],
        initial_alphabet=characters,
        limit_alphabet=len(characters),
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    return sorted(learner.get_vocab(), key=lambda piece: learner.get_vocab()[piece])


def _characters(texts: Sequence[str]) -> list[str]:
    """The plain ones, and the commonest of the others in the texts, ALPHABET in all."""
    plain = [piece for piece in plain_characters() if len(piece) == 1]
    normalizer = uncased()
    counts = Counter(character for text in texts for character in normalizer.normalize_str(text))
    others = sorted(
        (character for character in counts if not character.isspace() and character not in plain),
        key=lambda character: (-counts[character], character),
    )
    return [*plain, *others[: max(0, ALPHABET - len(plain))]]


def piece_tokenizer(pieces: Sequence[str], *, positions: int, pairs: bool = False) -> PreTrainedTokenizerFast:
    """Return an uncased WordPiece tokenizer over ``pieces``, whose first are the special ones.

    One for ``pairs`` also says of each token which of the two texts it is of.
    """
    fast = Tokenizer(
        models.WordPiece(
            {piece: number for number, piece in enumerate(pieces)},
            unk_token="[UNK]",  # noqa: S106 - a piece, no password
            max_input_chars_per_word=100,
        )
    )
    fast.normalizer = uncased()
    fast.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    fast.decoder = decoders.WordPiece(prefix="##")
    fast.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", CLS_ID), ("[SEP]", SEP_ID)],
    )
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # the library leaves it so
        tokenizer_object=fast,
        **({"model_input_names": inputs} if pairs else {}),
        model_max_length=positions,
        pad_token="[PAD]",  # noqa: S106 - a piece, no password
        unk_token="[UNK]",  # noqa: S106 - a piece, no password
        cls_token="[CLS]",  # noqa: S106 - a piece, no password
        sep_token="[SEP]",  # noqa: S106 - a piece, no password
        mask_token="[MASK]",  # noqa: S106 - a piece, no password
    )


def encoded(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], *, limit: int
) -> tuple[list[list[int]], list[list[int]]]:
    """Return token ids and, for each token, its word's number from 1; 0 for [CLS] and [SEP]."""
    batch = tokenizer(list(texts), truncation=True, max_length=limit)
    words = [[0 if word is None else word + 1 for word in batch.word_ids(row)] for row in range(len(texts))]
    rows: list[list[int]] = batch["input_ids"]
    return rows, words
