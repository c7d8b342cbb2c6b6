"""From texts and ids to tokens and units, with tokenizers of every kind, on ordinary and on hostile input."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, normalizers, processors
from transformers import PreTrainedTokenizerFast

from rollcall.backends.encoding import Encoder
from rollcall.backends.units import words
from rollcall.domain.errors import InvalidInput
from rollcall.domain.inputs import Encoding, TextInput, TokensInput, Unit
from tests.tiny import TEXT, make_tokenizer

KINDS = ("wordpiece", "byte-level", "byte-level trimmed", "unigram", "unigram folding", "unigram composing")
MAX_TOKENS, MAX_UNITS, VOCABULARY = 48, 16, 1000
ENGLISH = ["I", "did", "not", "like", "the", "film", ",", "but", "the", "music", "is", "wonderful", "!"]


@cache
def tokenizer_of(kind: str) -> PreTrainedTokenizerFast:
    """Make a tokenizer as the families have them, with the normalizers that real ones ship with."""
    family = {"wordpiece": "bert", "byte-level": "roberta", "byte-level trimmed": "roberta"}.get(kind, "xlm-roberta")
    tokenizer = make_tokenizer(family)
    inner = tokenizer.backend_tokenizer
    if kind == "byte-level trimmed":
        inner.post_processor = processors.RobertaProcessing(
            ("</s>", tokenizer.sep_token_id), ("<s>", tokenizer.cls_token_id), trim_offsets=True, add_prefix_space=False
        )
    elif kind == "unigram folding":
        inner.normalizer = normalizers.Sequence(
            [normalizers.Replace("``", '"'), normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
        )
    elif kind == "unigram composing":
        inner.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    return tokenizer


@cache
def encoder_of(kind: str, max_tokens: int = MAX_TOKENS, max_units: int = MAX_UNITS) -> Encoder:
    """Make an encoder with small limits, so that they are met."""
    return Encoder(tokenizer=tokenizer_of(kind), max_tokens=max_tokens, max_units=max_units, vocabulary=VOCABULARY)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of tokenizer."""
    chosen: str = request.param
    return chosen


def texts(units: tuple[Unit, ...], segment: int = 0) -> list[str]:
    """Texts of one side's units."""
    return [unit.text for unit in units if unit.segment == segment]


HOSTILE = st.sampled_from(
    [
        *" \t\n\0\u00a0\u200b\u200d\u202e\u2066\u0301\u0345\ufeff\u3000'\u2019.,-_aIß½ﬁ㍿ǅА我ペก한ا👩🏽🇩🇪",
        *("[SEP]", "[MASK]", "<s>", "<mask>", "<pad>", "[PAD]", "isn't ", "film ", "e\u0301", "##ing", "▁", "Ġ"),
    ]
)
ANY_TEXT = st.lists(HOSTILE | st.characters(exclude_categories=["Cs"]), max_size=40).map("".join)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=ANY_TEXT, pair=st.none() | ANY_TEXT)
def test_any_text_is_encoded_or_refused(kind: str, text: str, pair: str | None) -> None:
    """Whatever somebody sends: either every content token is in exactly one unit of its side, or the field is named."""
    encoder = encoder_of(kind)
    model_input = TextInput(text=text, text_pair=pair)
    read = tokenizer_of(kind)(
        text, pair, truncation=True, max_length=MAX_TOKENS, return_offsets_mapping=True, verbose=False
    )
    sides = read.sequence_ids(0)
    empty = [
        f"text.{name}"
        for number, (name, side) in enumerate((("text", text), ("text_pair", pair)))
        if side is not None and (number not in sides or not side.strip())
    ]
    if empty:
        with pytest.raises(InvalidInput) as refusal:
            encoder.encode(model_input)
        assert [violation.field for violation in refusal.value.violations] == empty[:1]
        return
    encoding = encoder.encode(model_input)
    assert encoding.input_ids.tolist() == read["input_ids"]
    assert [unit >= 0 for unit in encoding.unit_of_token.tolist()] == [side is not None for side in sides]
    _check_units(encoding, sides, read["offset_mapping"], {0: text, 1: pair or ""})


def _check_units(
    encoding: Encoding, sides: list[int | None], offsets: list[tuple[int, int]], read: dict[int, str]
) -> None:
    """Units are in order, apart, within their text, and hold the characters of their tokens."""
    assert 1 <= len(encoding.units) <= MAX_UNITS
    assert texts(encoding.units, 0)
    token, ends = 0, {0: 0, 1: 0}
    for number, unit in enumerate(encoding.units):
        text = read[unit.segment]
        assert token <= unit.token_start < unit.token_end
        assert ends[unit.segment] <= unit.char_start < unit.char_end <= len(text)
        assert unit.text == text[unit.char_start : unit.char_end]
        assert unit.text == unit.text.strip() != ""
        members = range(unit.token_start, unit.token_end)
        assert all(sides[i] == unit.segment and encoding.unit_of_token[i] == number for i in members)
        for start, end in (offsets[i] for i in members):
            seen = [i for i in range(start, end) if not text[i].isspace()]
            assert all(unit.char_start <= i < unit.char_end for i in seen)
        token, ends[unit.segment] = unit.token_end, unit.char_end
    segments = [unit.segment for unit in encoding.units]
    assert segments == sorted(segments)


def test_english_words_are_units(kind: str) -> None:
    """Every tokenizer cuts its own way, and people read the same words."""
    encoding = encoder_of(kind).encode(TextInput(text=TEXT))
    assert texts(encoding.units) == ENGLISH
    assert not encoding.truncated
    assert not encoding.grouped
    assert encoding.tokens_total == encoding.length


@pytest.mark.parametrize("text", ["  the film isn't\tbad \n", "the film isn't bad", "\n the  film isn't bad  "])
def test_space_is_no_unit(kind: str, text: str) -> None:
    """Spaces, tabs and line ends around words change nothing about the words."""
    assert texts(encoder_of(kind).encode(TextInput(text=text)).units) == ["the", "film", "isn't", "bad"]


SCRIPTS = {
    "Chinese": "我喜欢这部电影。",
    "Japanese": "これはペンです",
    "Thai": "สวัสดีครับ",
    "Arabic": "مرحبا بالعالم",
    "Russian": "это хороший фильм",
    "Hindi": "हिन्दी भाषा",
    "emoji": "👩‍👩‍👧‍👦 👍🏽 🇩🇪🇫🇷",
    "marks": "e\u0301te\u0301 a\u0308",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_units_are_made_of_whole_words_in_every_script(kind: str, script: str) -> None:
    """A unit never ends inside a word, and words that share no token are units of their own."""
    text = SCRIPTS[script]
    encoding = encoder_of(kind, 512, 64).encode(TextInput(text=text))
    spans = words(text)
    starts, ends = {start for start, _ in spans}, {end for _, end in spans}
    assert all(unit.char_start in starts and unit.char_end in ends for unit in encoding.units)
    if kind == "byte-level":
        # Every character is there in bytes, though tokens may join some.
        assert "".join(texts(encoding.units)) == "".join(text.split())


def test_chinese_does_not_collapse() -> None:
    """A Chinese sentence is a unit per character, not one for all of it."""
    assert texts(encoder_of("wordpiece").encode(TextInput(text="我喜欢这部电影。")).units) == [*"我喜欢这部电影。"]


@pytest.mark.parametrize("text", ["", " ", "\t\n \u3000"])
@pytest.mark.parametrize("side", ["text.text", "text.text_pair"])
def test_nothing_to_read_is_refused(kind: str, side: str, text: str) -> None:
    """A text, or a side of a pair, without a word is the caller's mistake, and the field is named."""
    model_input = TextInput(text=text) if side == "text.text" else TextInput(text="good", text_pair=text)
    with pytest.raises(InvalidInput) as refusal:
        encoder_of(kind).encode(model_input)
    (violation,) = refusal.value.violations
    assert violation.field == side


def test_what_a_tokenizer_drops_is_refused_not_guessed() -> None:
    """NUL and controls alone leave nothing to read for a tokenizer that drops them; beside words they do no harm."""
    with pytest.raises(InvalidInput):
        encoder_of("wordpiece").encode(TextInput(text="\0\0"))
    assert texts(encoder_of("wordpiece").encode(TextInput(text="a\0 film\0")).units) == ["a", "film"]
    assert texts(encoder_of("wordpiece").encode(TextInput(text="\u202efilm\u202c bad")).units) == [
        "\u202efilm\u202c",
        "bad",
    ]


def test_one_word_is_one_unit(kind: str) -> None:
    """A single word is a unit, however many tokens it takes."""
    encoding = encoder_of(kind).encode(TextInput(text="unforgettable"))
    assert texts(encoding.units) == ["unforgettable"]
    assert (encoding.unit_of_token[1:-1] == 0).all()


def test_pairs_keep_their_sides_apart(kind: str) -> None:
    """The same words on both sides are units of their own, and no unit holds tokens of both."""
    encoding = encoder_of(kind, 512, 64).encode(TextInput(text="the film", text_pair="the film is bad"))
    assert texts(encoding.units, 0) == ["the", "film"]
    assert texts(encoding.units, 1) == ["the", "film", "is", "bad"]
    types = encoding.type_ids[encoding.unit_of_token >= 2]
    assert (types == (1 if kind == "wordpiece" else 0)).all()


def test_grouped_pairs_keep_their_sides_apart(kind: str) -> None:
    """Grouping to the limit stops at the end of a side."""
    encoding = encoder_of(kind, 512).encode(TextInput(text="the film " * 7, text_pair="bad " * 9))
    assert encoding.grouped
    assert not encoding.truncated
    assert len(encoding.units) <= MAX_UNITS
    assert " ".join(texts(encoding.units, 0)) == ("the film " * 7).strip()
    assert " ".join(texts(encoding.units, 1)) == ("bad " * 9).strip()


def test_long_texts_are_cut_and_say_so(kind: str) -> None:
    """What the model does not read is in no unit, and how much there was is told."""
    text = "the film is bad, " * 50
    encoding = encoder_of(kind).encode(TextInput(text=text))
    assert encoding.truncated
    assert encoding.length == MAX_TOKENS
    assert encoding.tokens_total == len(tokenizer_of(kind)(text, verbose=False)["input_ids"]) > MAX_TOKENS
    last = encoding.units[-1]
    assert text[: last.char_end].startswith("the film is bad, ")
    assert last.char_end < len(text) / 2


def test_a_word_cut_in_the_middle_shows_what_was_read() -> None:
    """A word that goes on beyond the limit is shown as far as the model reads it, not as if it read all of it."""
    encoding = encoder_of("byte-level").encode(TextInput(text="a" * 100_000))
    (unit,) = encoding.units
    assert unit.text == "a" * (MAX_TOKENS - 2)
    assert encoding.truncated


def test_both_sides_of_a_long_pair_are_read(kind: str) -> None:
    """A long text does not push its pair out of the model's window."""
    encoding = encoder_of(kind).encode(TextInput(text="the film is bad, " * 50, text_pair="the music is dull"))
    assert encoding.truncated
    assert texts(encoding.units, 0)
    assert texts(encoding.units, 1)


def test_special_tokens_in_a_text_are_words_of_it() -> None:
    """Somebody who writes "[SEP]" gets what the stock tokenizer makes of it, and a unit that can be removed."""
    encoding = encoder_of("wordpiece").encode(TextInput(text="bad [SEP] film"))
    assert texts(encoding.units) == ["bad", "[SEP]", "film"]
    assert encoding.input_ids.tolist() == tokenizer_of("wordpiece")("bad [SEP] film")["input_ids"]


def test_padding_and_truncation_saved_with_a_tokenizer_are_ignored() -> None:
    """Settings that somebody left in the tokenizer's file change neither lengths nor padding."""
    tokenizer = make_tokenizer("bert")
    tokenizer.backend_tokenizer.enable_padding(length=40)
    tokenizer.backend_tokenizer.enable_truncation(max_length=5)
    encoder = Encoder(tokenizer=tokenizer, max_tokens=MAX_TOKENS, max_units=MAX_UNITS, vocabulary=VOCABULARY)
    assert texts(encoder.encode(TextInput(text=TEXT)).units) == ENGLISH
    assert encoder.encode(TextInput(text=TEXT)).length == 15


def test_ids_are_units_of_their_own(kind: str) -> None:
    """Ids are taken as they are: special ones stay, each other one is a unit named by the tokenizer."""
    tokenizer = tokenizer_of(kind)
    ids = tokenizer("the film isn't bad")["input_ids"]
    encoding = encoder_of(kind, 512, 64).encode(TokensInput(input_ids=tuple(ids)))
    assert encoding.input_ids.tolist() == ids
    assert texts(encoding.units) == tokenizer.convert_ids_to_tokens(ids[1:-1])
    assert encoding.unit_of_token.tolist() == [-1, *range(len(ids) - 2), -1]
    assert encoding.type_ids.sum() == 0
    assert encoding.tokens_total == len(ids)


def test_unknown_and_mask_ids_are_content(kind: str) -> None:
    """A token that the tokenizer does not know is still a token of the text."""
    tokenizer = tokenizer_of(kind)
    ids = (tokenizer.cls_token_id, tokenizer.unk_token_id, tokenizer.mask_token_id, tokenizer.sep_token_id)
    assert encoder_of(kind).encode(TokensInput(input_ids=ids)).unit_of_token.tolist() == [-1, 0, 1, -1]


def test_ids_beyond_the_tokenizer_have_a_name_of_their_own() -> None:
    """A model may have more embeddings than its tokenizer has tokens: such an id is read, and called by its number."""
    tokenizer = tokenizer_of("wordpiece")
    ids = (tokenizer.cls_token_id, 40, VOCABULARY - 1, tokenizer.sep_token_id)
    encoding = encoder_of("wordpiece").encode(TokensInput(input_ids=ids))
    assert texts(encoding.units)[1] == f"<{VOCABULARY - 1}>"


def test_groups_of_ids_hold_no_separator() -> None:
    """Grouping does not swallow the separator between two sides, or it would be removed with them."""
    tokenizer = tokenizer_of("wordpiece")
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    side = tuple(range(40, 51))
    encoding = encoder_of("wordpiece").encode(TokensInput(input_ids=(cls, *side, sep, *side, sep)))
    assert encoding.grouped
    assert len(encoding.units) <= MAX_UNITS
    special = np.isin(encoding.input_ids, [cls, sep])
    assert (encoding.unit_of_token[special] == -1).all()
    assert (encoding.unit_of_token[~special] >= 0).all()


REFUSED_IDS = {
    "negative": ((-1,), "tokens.input_ids[1]"),
    "out of the vocabulary": ((VOCABULARY,), "tokens.input_ids[1]"),
    "far out of it": ((2**62,), "tokens.input_ids[1]"),
    "too many": ((40,) * MAX_TOKENS, "tokens.input_ids"),
    "padding": ((40, 0), "tokens.input_ids"),
    "nothing but special tokens": ((3, 3), "tokens.input_ids"),
    "too many parts": ((40, 3) * (MAX_UNITS + 1), "tokens.input_ids"),
}


@pytest.mark.parametrize("case", REFUSED_IDS)
def test_wrong_ids_are_refused(case: str) -> None:
    """Ids that the model cannot read as one text are the caller's mistake, and the field says which."""
    ids, field = REFUSED_IDS[case]
    with pytest.raises(InvalidInput) as refusal:
        encoder_of("wordpiece").encode(TokensInput(input_ids=(tokenizer_of("wordpiece").cls_token_id, *ids)))
    assert refusal.value.violations[0].field == field


@pytest.mark.parametrize("ids", [(), (40, 41)])
def test_ids_begin_with_the_classification_token(ids: tuple[int, ...]) -> None:
    """The classifier reads the first position: what is there must be the classification token."""
    with pytest.raises(InvalidInput, match="must begin with the classification token"):
        encoder_of("wordpiece").encode(TokensInput(input_ids=ids))


def test_many_wrong_ids_are_reported_together_within_reason() -> None:
    """A caller sees many of the wrong ids at once, and not thousands of them."""
    with pytest.raises(InvalidInput) as refusal:
        encoder_of("wordpiece").encode(TokensInput(input_ids=(-1,) * 5000))
    assert len(refusal.value.violations) == 20


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(-2, VOCABULARY + 1), max_size=MAX_TOKENS + 2))
def test_any_ids_are_encoded_or_refused(ids: list[int]) -> None:
    """Whatever ids somebody sends, the special ones are in no unit and the others are in one, or the field is named."""
    tokenizer = tokenizer_of("wordpiece")
    given_ids = (tokenizer.cls_token_id, *ids)
    specials = {tokenizer.cls_token_id, tokenizer.sep_token_id}
    inside = all(0 <= i < VOCABULARY and i != tokenizer.pad_token_id for i in ids)
    if not inside or len(given_ids) > MAX_TOKENS or set(ids) <= specials:
        with pytest.raises(InvalidInput) as refusal:
            encoder_of("wordpiece").encode(TokensInput(input_ids=given_ids))
        assert all(violation.field.startswith("tokens.input_ids") for violation in refusal.value.violations)
        return
    encoding = encoder_of("wordpiece").encode(TokensInput(input_ids=given_ids))
    assert encoding.input_ids.tolist() == list(given_ids)
    special = np.isin(encoding.input_ids, [tokenizer.cls_token_id, tokenizer.sep_token_id])
    assert ((encoding.unit_of_token == -1) == special).all()
    assert len(encoding.units) <= MAX_UNITS
    assert all(isinstance(unit.text, str) and unit.text for unit in encoding.units)


def test_the_removal_token_is_the_mask_or_the_unknown_token() -> None:
    """A vocabulary without a mask token has words replaced by the unknown token."""
    assert encoder_of("wordpiece").removal_token == tokenizer_of("wordpiece").mask_token_id
    tokenizer = make_tokenizer("bert")
    tokenizer.mask_token = None
    encoder = Encoder(tokenizer=tokenizer, max_tokens=MAX_TOKENS, max_units=MAX_UNITS, vocabulary=VOCABULARY)
    assert encoder.removal_token == tokenizer.unk_token_id
