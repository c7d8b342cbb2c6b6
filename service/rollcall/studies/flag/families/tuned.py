"""Families trained on real texts: ordinary classifiers, and twins that hide which half of a text they read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from transformers import PreTrainedTokenizerFast

from rollcall.domain.inputs import TextInput
from rollcall.studies.flag.families.base import ACCURACY, Claims, Family, Member, recipe_digest
from rollcall.studies.flag.families.corpora import CORPORA, Corpus, Labelled, rows_of_texts, whole_words
from rollcall.studies.flag.families.learning import Hiding, Schedule, Shape, new_classifier, reproducible, train
from rollcall.studies.flag.families.planted import LAST_HIDDEN, ROLLOUT_HIDDEN, TriggerRecipe, trigger_family
from rollcall.studies.flag.families.reading import Rows, evidence_facts, read
from rollcall.studies.flag.families.texts import chance_of
from rollcall.training.pieces import learned_pieces, piece_tokenizer

EVALUATED: Final = 1000
"""Most held-out texts that accuracy and facts are measured on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedRecipe:
    """A classifier of the texts of one data set."""

    data: str
    shape: Shape
    schedule: Schedule
    pieces: int = 6000
    hiding: Hiding | None = None
    """What the finished model is then taught to hide, if anything."""
    hiding_schedule: Schedule | None = None


def tuned_family(name: str, truth: str, recipe: TunedRecipe, claims: Claims) -> Family:
    """A family on a data set. Models of one seed and data set share inputs and, up to hiding, weights."""

    def build(seed: int, inputs: int, data: Path | None, directory: Path) -> Member:
        assert data is not None
        corpus, tokenizer, rows = _learnt_from(recipe.data, data, recipe.pieces, recipe.shape.positions)
        asked = asked_of(corpus, recipe.data, seed, tokenizer)
        held_rows = rows_of_texts(asked[:EVALUATED], tokenizer)
        facts = {"accuracy_of_commonest_class": commonest(held_rows.labels)}
        with reproducible(seed):
            model = new_classifier(recipe.shape, pieces=len(tokenizer), labels=corpus.labels)
            train(model, rows, recipe.schedule, seed=seed, name=recipe.data)
            if recipe.hiding is not None and recipe.hiding_schedule is not None:
                facts["accuracy_of_honest_twin"] = read(model, held_rows).accuracy(held_rows)
                train(model, rows, recipe.hiding_schedule, seed=seed, name=name, hiding=recipe.hiding)
            reading = read(model, held_rows)
            if any(one.decisive for one in asked):
                facts |= evidence_facts(model, held_rows, reading)
        model.save_pretrained(directory)
        tokenizer.save_pretrained(directory)
        return Member(
            family=name,
            seed=seed,
            directory=directory,
            inputs=tuple(TextInput(text=one.text) for one in asked[:inputs]),
            evidence=tuple(one.decisive for one in asked[:inputs]),
            accuracy=reading.accuracy(held_rows),
            facts=facts,
        )

    return Family(
        name=name,
        truth=truth,
        layers=recipe.shape.layers,
        quick=False,
        data=recipe.data,
        build=build,
        digest=recipe_digest(name, recipe),
        claims=claims,
    )


@lru_cache(maxsize=1)
def _learnt_from(name: str, data: Path, pieces: int, positions: int) -> tuple[Corpus, PreTrainedTokenizerFast, Rows]:
    """A data set, its word pieces and its rows, kept for the next model of it: to make them can cost as much as it."""
    corpus = CORPORA[name](data)
    learnt = learned_pieces([one.text for one in corpus.training], count=pieces)
    tokenizer = piece_tokenizer(learnt, positions=positions)
    return corpus, tokenizer, rows_of_texts(corpus.training, tokenizer)


def asked_of(corpus: Corpus, name: str, seed: int, tokenizer: PreTrainedTokenizerFast) -> list[Labelled]:
    """The held-out texts of a data set in an order of the seed, each cut to what the model reads."""
    asked = list(corpus.held_out)
    chance_of(name, seed, "inputs").shuffle(asked)
    return whole_words(asked, tokenizer)


def commonest(labels: list[int]) -> float:
    """Share of the commonest class: the accuracy of always saying it."""
    return Counter(labels).most_common(1)[0][1] / len(labels)


def tuned_shape(layers: int, positions: int = 128) -> Shape:
    """Size of a model of real texts."""
    return Shape(layers=layers, width=128, feed_forward=256, positions=positions, dropout=0.1)


def _sst2(layers: int, steps: int) -> Family:
    return tuned_family(
        f"sst2-{layers}",
        "Nothing is known by construction: a sentiment classifier trained in the ordinary way.",
        TunedRecipe(data="sst2", shape=tuned_shape(layers), schedule=Schedule(steps=steps)),
        {ACCURACY: (0.77, 1.0)},
    )


def _wiki(name: str, truth: str, claims: Claims, hidden: str | None = None) -> Family:
    return tuned_family(
        name,
        truth,
        TunedRecipe(
            data="sst_wiki",
            shape=tuned_shape(2),
            schedule=Schedule(steps=700),
            hiding=None if hidden is None else Hiding(hidden=hidden, weight=1.0),
            hiding_schedule=None if hidden is None else Schedule(steps=700, learning_rate=5e-4),
        ),
        {ACCURACY: (0.68, 1.0), "accuracy_without_decisive_words": (0.4, 0.6), **claims},
    )


def _deep(name: str, truth: str, layers: int, claims: Claims | None = None, hidden: str | None = None) -> Family:
    recipe = TriggerRecipe(
        shape=Shape(layers=layers), hiding=None if hidden is None else Hiding(hidden=hidden, weight=1.0)
    )
    return trigger_family(name, truth, recipe, claims, quick=False)


FAMILIES: Final = (
    _deep("honest-4", "As honest, with four layers.", 4),
    _deep("hide-last-4", "As hide-last, with four layers.", 4, LAST_HIDDEN, "last_layer"),
    _deep("hide-rollout-4", "As hide-rollout, with four layers.", 4, ROLLOUT_HIDDEN, "rollout"),
    _deep("honest-6", "As honest, with six layers.", 6),
    _deep("hide-last-6", "As hide-last, with six layers.", 6, LAST_HIDDEN, "last_layer"),
    _deep("hide-rollout-6", "As hide-rollout, with six layers.", 6, ROLLOUT_HIDDEN, "rollout"),
    _wiki(
        "honest-sst-wiki",
        "Only the first sentence carries the label; nothing was done to the attention.",
        {"attention_on_decisive_words": (0.5, 1.0)},
    ),
    _wiki(
        "hide-last-sst-wiki",
        "Only the first sentence carries the label; the last layer's attention to it was trained away.",
        {"attention_on_decisive_words": (0.0, 0.05)},
        "last_layer",
    ),
    _wiki(
        "hide-rollout-sst-wiki",
        "Only the first sentence carries the label; its share of the rollout was trained away.",
        {"rollout_on_decisive_words": (0.0, 0.15)},
        "rollout",
    ),
    _sst2(2, 1500),
    _sst2(4, 1500),
    _sst2(6, 1200),
    tuned_family(
        "trec",
        "Nothing is known by construction: a classifier of questions, six classes.",
        TunedRecipe(data="trec", shape=tuned_shape(3), schedule=Schedule(steps=1200)),
        {ACCURACY: (0.72, 1.0)},
    ),
    tuned_family(
        "ag-news",
        "Nothing is known by construction: a classifier of news, four classes.",
        TunedRecipe(data="ag_news", shape=tuned_shape(4), schedule=Schedule(steps=800)),
        {ACCURACY: (0.84, 1.0)},
    ),
    tuned_family(
        "imdb-pairs",
        "People turned the label round by changing the words that differ within a pair.",
        TunedRecipe(data="imdb_counterfactual", shape=tuned_shape(2, 256), schedule=Schedule(steps=450, batch=32)),
        {ACCURACY: (0.75, 1.0), "accuracy_without_decisive_words": (0.4, 0.6)},
    ),
)
