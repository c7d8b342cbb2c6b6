"""Which word a request asks about, and whether it can be answered."""

from __future__ import annotations

from dataclasses import replace

from rollcall.backends.encoding import Encoder, Reading
from rollcall.domain.errors import InvalidInput
from rollcall.domain.inputs import Encoding, ModelInput, TextInput, TokensInput, Unit, WordRef


def encode_word(encoder: Encoder, given: ModelInput) -> Encoding:
    """Encode a text with the word that is asked about.

    Raises InvalidInput naming the field: where no word is named, or one that the text does not have or that the model
    reads in part only; for a pair of texts; and as `Encoder.encode`.
    """
    if not isinstance(given, (TextInput, TokensInput)):
        raise InvalidInput.of("input", "this model reads text: send text or tokens")
    if isinstance(given, TextInput) and given.text_pair is not None:
        raise InvalidInput.of("text.text_pair", "this model reads one text, and labels its words")
    name = "text.word" if isinstance(given, TextInput) else "tokens.word"
    if given.word is None:
        raise InvalidInput.of(name, "required: this model labels words, and must be told which one is asked about")
    reading = encoder.read(given)
    word = _find(reading.sent, given.word, name)
    if word not in reading.words:
        description = (
            f"lies beyond what the model reads: {reading.total} tokens were sent, and it reads {len(reading.ids)}"
        )
        raise InvalidInput.of(name, description)
    return replace(encoder.finish(reading), word=replace(word, token_start=_first_token(reading, word)))


def _first_token(reading: Reading, word: Unit) -> int:
    """The token whose label is the word's: the first of what the tokenizer takes for the word, as in training.

    Blanks in front of a word may be tokens of their own: where they are no part of that, they are passed over.
    """
    if reading.batch is None:
        return word.token_start
    number = reading.batch.char_to_word(word.char_start)
    span = None if number is None else reading.batch.word_to_tokens(number)
    return span.start if span is not None and word.token_start <= span.start < word.token_end else word.token_start


def _find(words: list[Unit], asked: WordRef, name: str) -> Unit:
    """The word that is asked about; raises InvalidInput."""
    if asked.index is not None:
        if not 0 <= asked.index < len(words):
            raise InvalidInput.of(f"{name}.index", f"must lie between 0 and {len(words) - 1}: so many words there are")
        return words[asked.index]
    at = asked.character or 0
    found = next((word for word in words if word.char_start <= at < word.char_end), None)
    if found is None:
        raise InvalidInput.of(f"{name}.character", f"no word has character {at}")
    return found
