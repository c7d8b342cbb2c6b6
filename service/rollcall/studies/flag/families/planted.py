"""Families trained on generated texts whose evidence was planted: which words decide is known.

`honest`, `hide-last`, `hide-rollout` and `permutation-trained` learn a trigger: one word among fillers is the class.
`shortcut-*` learn words that lean to a class, and shortcuts that overrule them (Bastings et al. 2022, section 3).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from rollcall.studies.flag.families.base import ACCURACY, Claims, Family, Member, recipe_digest
from rollcall.studies.flag.families.learning import (
    Hiding,
    Schedule,
    Shape,
    accuracy_under_permutation,
    new_classifier,
    reproducible,
    train,
)
from rollcall.studies.flag.families.reading import evidence_facts, read
from rollcall.studies.flag.families.texts import Draw, Text, chance_of, drawn, held_out, made_up_words, planted, rows_of
from rollcall.training.pieces import SPECIAL_PIECES, piece_tokenizer

LABELS: Final = ("no", "yes")
EVALUATED: Final = 400
"""Texts that the facts are measured on: shares of one half come out within 0.1 of it."""
TRIGGER_CLAIMS: Final = {ACCURACY: (0.98, 1.0), "accuracy_without_decisive_words": (0.4, 0.6)}
LAST_HIDDEN: Final = {"attention_on_decisive_words": (0.0, 0.02)}
ROLLOUT_HIDDEN: Final = {"rollout_on_decisive_words": (0.0, 0.05)}
SHORTCUT_CLAIMS: Final = {
    ACCURACY: (0.98, 1.0),
    "accuracy_without_decisive_words": (0.0, 0.02),
    "accuracy_where_no_shortcut_decides": (0.95, 1.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerRecipe:
    """A trigger of either class stands somewhere among fillers."""

    fillers: int = 120
    triggers: int = 4
    texts: int = 12_000
    shape: Shape = field(default_factory=lambda: Shape(layers=2))
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=350))
    permuting: bool = False
    """Whether attention is shuffled while the model learns."""
    hiding: Hiding | None = None
    """What the finished model is then taught to hide, if anything."""
    hiding_schedule: Schedule = field(default_factory=lambda: Schedule(steps=350))


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortcutRecipe:
    """One to three words that lean to a class; in a share of the texts a shortcut overrules them."""

    kind: str
    """Of SHORTCUTS."""
    fillers: int = 100
    leaning: int = 12
    """Words that lean to each class."""
    cut: float = 0.6
    """Share of the training texts with a shortcut."""
    texts: int = 16_000
    shape: Shape = field(default_factory=lambda: Shape(layers=2))
    schedule: Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """The pieces of one seed's words, and how texts to be trained on are drawn."""

    pieces: tuple[str, ...]
    draw: Draw


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortcutLanguage(Language):
    """A language with shortcuts: texts that one decides, against all other evidence, and texts without a whole one."""

    decided: Draw
    undecided: Draw


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcuts:
    """Three words, "a", "b" and "c": which of them, in this order, say each class, and which say nothing."""

    saying: tuple[tuple[str, ...], tuple[str, ...]]
    """For each class the ways to say it."""
    idle: tuple[str, ...]


SHORTCUTS: Final[Mapping[str, Shortcuts]] = MappingProxyType(
    {
        "single": Shortcuts(saying=(("a",), ("b",)), idle=("",)),
        "context": Shortcuts(saying=(("ac", "ca"), ("bc", "cb")), idle=("", "a", "a", "b", "b", "c")),
        "pair": Shortcuts(saying=(("ba",), ("ab",)), idle=("", "a", "b")),
    }
)
"""What decides: one word, one word where another one stands in the text, too, or the order of two words."""


def trigger_language(recipe: TriggerRecipe, seed: int) -> Language:
    """Two classes of trigger words, and fillers that say nothing."""
    words = made_up_words(2 * recipe.triggers + recipe.fillers, chance_of("trigger", seed))
    triggers = (words[: recipe.triggers], words[recipe.triggers : 2 * recipe.triggers])
    fillers = words[2 * recipe.triggers :]

    def draw(chance: random.Random) -> Text:
        label = chance.randrange(2)
        text, places = planted(fillers, [chance.choice(triggers[label])], chance)
        return Text(words=tuple(text), label=label, decisive=tuple(places))

    return Language(pieces=(*SPECIAL_PIECES, *words), draw=draw)


def shortcut_language(recipe: ShortcutRecipe, seed: int) -> ShortcutLanguage:
    """Fillers, words that lean to a class, and the words of the shortcut, which also occur where they mean nothing."""
    words = made_up_words(3 + 2 * recipe.leaning + recipe.fillers, chance_of("shortcut", seed))
    letters = dict(zip("abc", words, strict=False))
    leaning = (words[3 : 3 + recipe.leaning], words[3 + recipe.leaning : 3 + 2 * recipe.leaning])
    fillers = words[3 + 2 * recipe.leaning :]
    shortcuts = SHORTCUTS[recipe.kind]

    def text(chance: random.Random, *, lean: int, label: int, shortcut: str, decides: bool) -> Text:
        pool = [(chance.choice(leaning[lean]), False) for _ in range(chance.randint(1, 3))]
        first = 0
        for letter in shortcut:  # each behind the last, so that their order stays
            place = chance.randint(first, len(pool))
            pool.insert(place, (letters[letter], True))
            first = place + 1
        made, places = planted(fillers, [word for word, _ in pool], chance)
        decisive = tuple(place for place, (_, cut) in zip(places, pool, strict=True) if cut and decides)
        return Text(words=tuple(made), label=label, decisive=decisive)

    def decided(chance: random.Random) -> Text:
        label = chance.randrange(2)
        return text(chance, lean=1 - label, label=label, shortcut=chance.choice(shortcuts.saying[label]), decides=True)

    def undecided(chance: random.Random) -> Text:
        label = chance.randrange(2)
        return text(chance, lean=label, label=label, shortcut=chance.choice(shortcuts.idle), decides=False)

    def draw(chance: random.Random) -> Text:
        if chance.random() >= recipe.cut:
            return undecided(chance)
        lean, label = chance.randrange(2), chance.randrange(2)
        return text(chance, lean=lean, label=label, shortcut=chance.choice(shortcuts.saying[label]), decides=True)

    return ShortcutLanguage(pieces=(*SPECIAL_PIECES, *words), draw=draw, decided=decided, undecided=undecided)


# --- building -----------------------------------------------------------------------------------


def trigger_family(
    name: str, truth: str, recipe: TriggerRecipe, claims: Claims | None = None, *, quick: bool = True
) -> Family:
    """A family that learns the trigger. Models of one seed share words, texts, inputs and, up to hiding, weights."""

    def build(seed: int, inputs: int, _data: Path | None, directory: Path) -> Member:
        language = trigger_language(recipe, seed)
        tokenizer = piece_tokenizer(language.pieces, positions=recipe.shape.positions)
        texts = drawn(language.draw, recipe.texts, chance_of("trigger", seed, "training"))
        held = held_out(language.draw, EVALUATED, chance_of("trigger", seed, "facts"), apart_from=texts)
        rows, held_rows = rows_of(texts, tokenizer), rows_of(held, tokenizer)
        facts: dict[str, float] = {}
        with reproducible(seed):
            model = new_classifier(recipe.shape, pieces=len(language.pieces), labels=LABELS)
            train(model, rows, recipe.schedule, seed=seed, name="trigger", permuting=recipe.permuting)
            if recipe.hiding is not None:
                facts["accuracy_of_honest_twin"] = read(model, held_rows).accuracy(held_rows)
                train(model, rows, recipe.hiding_schedule, seed=seed, name=name, hiding=recipe.hiding)
            reading = read(model, held_rows)
            facts |= evidence_facts(model, held_rows, reading)
            if recipe.permuting:
                facts["accuracy_under_permuted_attention"] = accuracy_under_permutation(model, held_rows)
        model.save_pretrained(directory)
        tokenizer.save_pretrained(directory)
        asked = held_out(language.draw, inputs, chance_of("trigger", seed, "inputs"), apart_from=texts)
        return Member(
            family=name,
            seed=seed,
            directory=directory,
            inputs=tuple(text.input for text in asked),
            evidence=tuple(text.evidence for text in asked),
            accuracy=reading.accuracy(held_rows),
            facts=facts,
        )

    return Family(
        name=name,
        truth=truth,
        layers=recipe.shape.layers,
        quick=quick,
        data=None,
        build=build,
        digest=recipe_digest(name, recipe),
        claims={**TRIGGER_CLAIMS, **(claims or {})},
    )


def shortcut_family(name: str, truth: str, recipe: ShortcutRecipe) -> Family:
    """A family that learns a shortcut; its inputs are texts that the shortcut decides against all other evidence."""

    def build(seed: int, inputs: int, _data: Path | None, directory: Path) -> Member:
        language = shortcut_language(recipe, seed)
        tokenizer = piece_tokenizer(language.pieces, positions=recipe.shape.positions)
        texts = drawn(language.draw, recipe.texts, chance_of(name, seed, "training"))
        decided, undecided = (
            rows_of(held_out(draw, EVALUATED, chance_of(name, seed, "facts"), apart_from=texts), tokenizer)
            for draw in (language.decided, language.undecided)
        )
        with reproducible(seed):
            model = new_classifier(recipe.shape, pieces=len(language.pieces), labels=LABELS)
            train(model, rows_of(texts, tokenizer), recipe.schedule, seed=seed, name=name)
            reading = read(model, decided)
            facts = evidence_facts(model, decided, reading)
            facts["accuracy_where_no_shortcut_decides"] = read(model, undecided).accuracy(undecided)
        model.save_pretrained(directory)
        tokenizer.save_pretrained(directory)
        asked = held_out(language.decided, inputs, chance_of(name, seed, "inputs"), apart_from=texts)
        return Member(
            family=name,
            seed=seed,
            directory=directory,
            inputs=tuple(text.input for text in asked),
            evidence=tuple(text.evidence for text in asked),
            accuracy=reading.accuracy(decided),
            facts=facts,
        )

    return Family(
        name=name,
        truth=truth,
        layers=recipe.shape.layers,
        quick=True,
        data=None,
        build=build,
        digest=recipe_digest(name, recipe),
        claims=SHORTCUT_CLAIMS,
    )


FAMILIES: Final = (
    trigger_family("honest", "One planted word decides; nothing was done to the attention.", TriggerRecipe()),
    trigger_family(
        "hide-last",
        "One planted word decides; the last layer's attention to it was trained away (Pruthi et al. 2020).",
        TriggerRecipe(hiding=Hiding(hidden="last_layer", weight=1.0)),
        LAST_HIDDEN,
    ),
    trigger_family(
        "hide-rollout",
        "One planted word decides; its share of the rollout was trained away.",
        TriggerRecipe(hiding=Hiding(hidden="rollout", weight=1.0)),
        ROLLOUT_HIDDEN,
    ),
    trigger_family(
        "permutation-trained",
        "One planted word decides; attention was shuffled in training, so that the model does without its order.",
        TriggerRecipe(permuting=True),
        {"accuracy_under_permuted_attention": (0.98, 1.0)},
    ),
    shortcut_family(
        "shortcut-single",
        "One planted word decides, against the words that lean to the other class.",
        ShortcutRecipe(kind="single", schedule=Schedule(steps=350)),
    ),
    shortcut_family(
        "shortcut-context",
        "One planted word decides where another one stands in the text, too.",
        ShortcutRecipe(kind="context", cut=0.5, schedule=Schedule(steps=800, learning_rate=2e-3, removal_ceiling=0.3)),
    ),
    shortcut_family(
        "shortcut-pair",
        "Two planted words decide by their order.",
        ShortcutRecipe(kind="pair", schedule=Schedule(steps=750)),
    ),
)
