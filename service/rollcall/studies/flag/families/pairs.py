"""Families that read pairs of texts: small cross-encoders whose answer hangs on both.

`planted-pairs`: a word of the right kind in both, or not. `sst2-pairs`: of two real opinions, one good and one bad,
which one is the good one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from transformers import PreTrainedTokenizerFast

from rollcall.domain.inputs import TextInput
from rollcall.studies.flag.families.base import ACCURACY, Claims, Family, Member, recipe_digest
from rollcall.studies.flag.families.corpora import CORPORA, Corpus, Labelled
from rollcall.studies.flag.families.learning import Schedule, Shape, new_classifier, reproducible, train
from rollcall.studies.flag.families.planted import EVALUATED, TriggerRecipe, trigger_language
from rollcall.studies.flag.families.reading import Rows, evidence_facts, read
from rollcall.studies.flag.families.texts import Text, chance_of, held_out
from rollcall.studies.flag.families.tuned import tuned_shape
from rollcall.training.pieces import learned_pieces, piece_tokenizer

MOST_CHARACTERS: Final = 120
"""Real texts of a pair are at most so long, so that both are read whole."""
BOTH: Final = ("not both", "both")
NOT_BOTH: Final = ((0, 1), (1, 0), (0, 0))
FAVOURED: Final = ("the first", "the second")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two texts and their class; of planted ones the numbers, from 0 on through both, of the words that decide."""

    first: str = field(repr=False)
    second: str = field(repr=False)
    label: int
    decisive: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Pairs to learn from, others to be asked about in a seeded order, and the pieces of their texts."""

    labels: tuple[str, str]
    learned: tuple[Pair, ...]
    asked: tuple[Pair, ...]
    pieces: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRecipe:
    """A cross-encoder of one kind of pairs."""

    kind: str
    """Of PAIRINGS; of the planted ones, `planted` says what they are made of."""
    pairs: int
    shape: Shape
    schedule: Schedule
    pieces: int = 6000
    planted: TriggerRecipe | None = None


def planted_pairs(recipe: PairRecipe, seed: int, inputs: int) -> Pairs:
    """Two texts of the trigger's language: does either say yes? As often both do as not."""
    assert recipe.planted is not None
    language = trigger_language(recipe.planted, seed)

    def drawn(purpose: str, count: int) -> tuple[Pair, ...]:
        chance = chance_of(recipe.kind, seed, purpose)
        saying: tuple[list[Text], list[Text]] = ([], [])
        for text in held_out(language.draw, 3 * count, chance):
            saying[text.label].append(text)
        pairs = []
        for _ in range(count):
            label = chance.randrange(2)
            one, other = (saying[said] for said in ((1, 1) if label else chance.choice(NOT_BOTH)))
            first, second = chance.choice(one), chance.choice(other)
            decisive = (*first.decisive, *(len(first.words) + at for at in second.decisive))
            pairs.append(Pair(first=first.input.text, second=second.input.text, label=label, decisive=decisive))
        return tuple(pairs)

    return Pairs(
        labels=BOTH,
        learned=drawn("training", recipe.pairs),
        asked=drawn("inputs", max(inputs, EVALUATED)),
        pieces=language.pieces,
    )


def favoured(some: Sequence[Labelled], count: int, chance: random.Random) -> tuple[Pair, ...]:
    """A good and a bad opinion in either order: which one is the good one?"""
    bad, good = ([one.text for one in some if one.label == label] for label in range(2))
    pairs = []
    for _ in range(count):
        label, texts = chance.randrange(2), (chance.choice(good), chance.choice(bad))
        pairs.append(Pair(first=texts[label], second=texts[1 - label], label=label))
    return tuple(pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """How the labelled texts of a data set become pairs, and what these are called."""

    labels: tuple[str, str]
    make: Callable[[Sequence[Labelled], int, random.Random], tuple[Pair, ...]]


PAIRINGS: Final[Mapping[str, Pairing]] = MappingProxyType({"sst2": Pairing(labels=FAVOURED, make=favoured)})
"""By data set."""


def real_pairs(recipe: PairRecipe, seed: int, inputs: int, corpus: Corpus) -> Pairs:
    """Pairs of the short texts of a data set; those to be asked about are of texts that nothing was learned from."""
    pairing = PAIRINGS[recipe.kind]
    learned, asked = (
        [one for one in part if len(one.text) <= MOST_CHARACTERS] for part in (corpus.training, corpus.held_out)
    )
    return Pairs(
        labels=pairing.labels,
        learned=pairing.make(learned, recipe.pairs, chance_of(recipe.kind, seed, "pairs")),
        asked=pairing.make(asked, max(inputs, EVALUATED), chance_of(recipe.kind, seed, "asked pairs")),
        pieces=tuple(learned_pieces([one.text for one in learned], count=recipe.pieces)),
    )


def rows_of_pairs(pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerFast) -> Rows:
    """Pairs as the model reads them; words are counted through both texts."""
    batch = tokenizer(
        [one.first for one in pairs],
        [one.second for one in pairs],
        truncation=True,
        max_length=int(tokenizer.model_max_length),
    )
    types: list[list[int]] = batch["token_type_ids"]
    words = []
    for row, kinds in enumerate(types):
        within = batch.word_ids(row)
        before = 1 + max(word for word, kind in zip(within, kinds, strict=True) if word is not None and not kind)
        words.append(
            [0 if word is None else 1 + word + kind * before for word, kind in zip(within, kinds, strict=True)]
        )
    return Rows(
        ids=batch["input_ids"],
        words=words,
        labels=[one.label for one in pairs],
        secret=[[word - 1 in one.decisive for word in numbers] for one, numbers in zip(pairs, words, strict=True)],
        types=types,
    )


def pair_family(name: str, truth: str, recipe: PairRecipe, claims: Claims) -> Family:
    """A family of pairs: of a data set, or planted where there is none."""

    def build(seed: int, inputs: int, data: Path | None, directory: Path) -> Member:
        if data is None:
            made = planted_pairs(recipe, seed, inputs)
        else:
            made = real_pairs(recipe, seed, inputs, CORPORA[recipe.kind](data))
        tokenizer = piece_tokenizer(made.pieces, positions=recipe.shape.positions, pairs=True)
        rows, asked = (rows_of_pairs(some, tokenizer) for some in (made.learned, made.asked[:EVALUATED]))
        with reproducible(seed):
            model = new_classifier(recipe.shape, pieces=len(tokenizer), labels=made.labels)
            train(model, rows, recipe.schedule, seed=seed, name=name)
            reading = read(model, asked)
            facts = evidence_facts(model, asked, reading) if recipe.planted is not None else {}
        model.save_pretrained(directory)
        tokenizer.save_pretrained(directory)
        chosen = made.asked[:inputs]
        return Member(
            family=name,
            seed=seed,
            directory=directory,
            inputs=tuple(TextInput(text=one.first, text_pair=one.second) for one in chosen),
            evidence=((),) * len(chosen),
            accuracy=reading.accuracy(asked),
            facts=facts,
        )

    return Family(
        name=name,
        truth=truth,
        layers=recipe.shape.layers,
        quick=False,
        data=None if recipe.planted is not None else recipe.kind,
        build=build,
        digest=recipe_digest(name, recipe),
        claims=claims,
    )


FAMILIES: Final = (
    pair_family(
        "planted-pairs",
        "One word is planted in each text of a pair; the answer is whether both say yes.",
        PairRecipe(
            kind="planted-pairs",
            pairs=16_000,
            shape=Shape(layers=2, positions=96),
            schedule=Schedule(steps=1200, learning_rate=2e-3, removal_ceiling=0.3),
            planted=TriggerRecipe(),
        ),
        {ACCURACY: (0.97, 1.0), "accuracy_without_decisive_words": (0.4, 0.6)},
    ),
    pair_family(
        "sst2-pairs",
        "Nothing is known by construction: of two opinions, which one is the favourable one.",
        PairRecipe(kind="sst2", pairs=24_000, shape=tuned_shape(2), schedule=Schedule(steps=700)),
        {ACCURACY: (0.8, 1.0)},
    ),
)
