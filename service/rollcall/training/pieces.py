"""Uncased WordPiece tokenizers over a vocabulary of one's own.

Whole words are pieces, too: a tokenizer over words alone reads word by word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL_PIECES: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
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
    """Learn ``count`` word pieces from ``texts``."""
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 - a piece, no password
    learner.normalizer = uncased()
    learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=count,
        special_tokens=list(SPECIAL_PIECES),
        initial_alphabet=[c for c in plain_characters() if len(c) == 1],
        limit_alphabet=100,
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    return sorted(learner.get_vocab(), key=lambda piece: learner.get_vocab()[piece])


def piece_tokenizer(pieces: Sequence[str], *, positions: int) -> PreTrainedTokenizerFast:
    """Return an uncased WordPiece tokenizer over ``pieces``, whose first are the special ones."""
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
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # the library leaves it so
        tokenizer_object=fast,
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
