"""Generated texts: made-up words, and which of a text's words decide its class."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice, product
from typing import Final

from transformers import PreTrainedTokenizerFast

from rollcall.domain.inputs import TextInput
from rollcall.studies.flag.families.base import Span
from rollcall.studies.flag.families.reading import Rows
from rollcall.training.pieces import encoded

WORDS: Final = range(6, 41)
"""Lengths of texts."""
PATIENCE: Final = 10_000
"""After so many draws of texts that were there before, there is no other."""
_SYLLABLES: Final = tuple(a + b for a, b in product("bdfgklmnprstvz", "aeiou"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text word by word, its class, and the positions of the words that decide it."""

    words: tuple[str, ...]
    label: int
    decisive: tuple[int, ...] = ()

    @property
    def evidence(self) -> tuple[Span, ...]:
        """Where the decisive words stand in the text as it is sent."""
        ends = list(accumulate(len(word) + 1 for word in self.words))
        return tuple((ends[at] - 1 - len(self.words[at]), ends[at] - 1) for at in self.decisive)

    @property
    def input(self) -> TextInput:
        """As a caller sends it."""
        return TextInput(text=" ".join(self.words))


Draw = Callable[[random.Random], Text]


def chance_of(*parts: object) -> random.Random:
    """Draws of their own for each purpose, the same whenever the parts are."""
    return random.Random("/".join(map(str, parts)))  # noqa: S311 - a seeded draw, no secret


def made_up_words(count: int, chance: random.Random) -> list[str]:
    """Distinct words of two syllables."""
    return ["".join(pair) for pair in chance.sample(list(product(_SYLLABLES, repeat=2)), count)]


def drawn(draw: Draw, count: int, chance: random.Random) -> list[Text]:
    """Draw so many texts; the first are the same whatever the count."""
    return [draw(chance) for _ in range(count)]


def distinct(draw: Draw, chance: random.Random, *, apart_from: Sequence[Text] = ()) -> Iterator[Text]:
    """Draw texts that are neither equal to each other nor to those, until no new one turns up."""
    seen = {text.words for text in apart_from}
    in_vain = 0
    while in_vain < PATIENCE:
        text = draw(chance)
        in_vain += 1
        if text.words not in seen:
            seen.add(text.words)
            in_vain = 0
            yield text


def held_out(draw: Draw, count: int, chance: random.Random, *, apart_from: Sequence[Text] = ()) -> list[Text]:
    """The first `count` distinct texts that no model was trained on; fewer where there are no more."""
    return list(islice(distinct(draw, chance, apart_from=apart_from), count))


def planted(filler: Sequence[str], planted_words: Sequence[str], chance: random.Random) -> tuple[list[str], list[int]]:
    """A text of filler words with these words, in this order, at random positions; and the positions."""
    length = chance.choice(WORDS)
    positions = sorted(chance.sample(range(length), len(planted_words)))
    words = chance.choices(filler, k=length)
    for position, word in zip(positions, planted_words, strict=True):
        words[position] = word
    return words, positions


def rows_of(texts: Sequence[Text], tokenizer: PreTrainedTokenizerFast) -> Rows:
    """Texts as the model reads them; every word must be a piece of its own."""
    limit = int(tokenizer.model_max_length)
    ids, words = encoded(tokenizer, [text.input.text for text in texts], limit=limit)
    return Rows(
        ids=ids,
        words=words,
        labels=[text.label for text in texts],
        secret=[
            [number - 1 in text.decisive for number in numbers] for text, numbers in zip(texts, words, strict=True)
        ],
    )
