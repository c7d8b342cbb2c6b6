"""Reviews in pairs: people changed as few words as turn the opinion round (Kaushik et al. 2020)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from rollcall.domain.inputs import Unit
from rollcall.domain.maps import Floats
from rollcall.studies.flag.families.base import Family
from rollcall.studies.flag.families.corpora import CORPORA, Labelled
from rollcall.studies.flag.families.learning import Schedule, Shape
from rollcall.studies.flag.families.texts import chance_of
from rollcall.studies.flag.families.tuned import TunedRecipe, tuned_family

DATA: Final = "imdb_counterfactual"
_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A review and its revision, of opposite opinions; which is which the data do not say."""

    number: int
    texts: tuple[Labelled, Labelled] = field(repr=False)


def review_family() -> Family:
    """The classifier that is asked: it reads short reviews whole, and of long ones the beginning."""
    return tuned_family(
        "small-imdb-pairs",
        "People turned the label round by changing the words that differ within a pair.",
        TunedRecipe(
            data=DATA,
            shape=Shape(layers=2, width=64, feed_forward=128, positions=128, dropout=0.1),
            schedule=Schedule(steps=250, batch=32, learning_rate=2e-3),
            pieces=4000,
        ),
        {},
    )


def held_out_pairs(data: Path, seed: int) -> list[Pair]:
    """Pairs that no model learned from, in a seeded order. ValueError where a pair is not one of opposite opinions."""
    texts = CORPORA[DATA](data).held_out
    pairs = [
        Pair(number=number, texts=(one, other))
        for number, (one, other) in enumerate(zip(texts[::2], texts[1::2], strict=True))
    ]
    odd = [pair.number for pair in pairs if pair.texts[0].label == pair.texts[1].label]
    if odd:
        message = f"{data}: pair {odd[0]} of the held-out texts does not have two opinions"
        raise ValueError(message)
    chance_of("pairs", seed).shuffle(pairs)
    return pairs


def word_counts(data: Path) -> Mapping[str, int]:
    """How often each word stands in the texts to learn from."""
    return Counter(word for one in CORPORA[DATA](data).training for word in _WORD.findall(one.text.lower()))


def rarity(units: Sequence[Unit], counts: Mapping[str, int]) -> Floats:
    """A control that knows the language and not the model: each unit by its rarest word [n]."""
    return np.array(
        [max((1 / (1 + counts.get(w, 0)) for w in _WORD.findall(u.text.lower())), default=0) for u in units]
    )
