"""Models that learn planted evidence: small ones, trained in seconds, do what the families of their kind claim."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from rollcall.studies.flag.families.base import Family, Member, unmet
from rollcall.studies.flag.families.learning import Hiding, Schedule, Shape
from rollcall.studies.flag.families.planted import (
    FAMILIES,
    LAST_HIDDEN,
    ROLLOUT_HIDDEN,
    SHORTCUTS,
    ShortcutRecipe,
    TriggerRecipe,
    shortcut_family,
    shortcut_language,
    trigger_family,
    trigger_language,
)
from rollcall.studies.flag.families.texts import chance_of, drawn
from rollcall.studies.flag.members import member

SHAPE = Shape(layers=2, width=32, feed_forward=64)
BRIEF = Schedule(steps=120, batch=32, learning_rate=3e-3)
trigger = partial(TriggerRecipe, fillers=20, texts=2000, shape=SHAPE, schedule=BRIEF, hiding_schedule=BRIEF)

SMALL = {
    "honest": trigger_family("honest", "", trigger()),
    "hide-last": trigger_family("hide-last", "", trigger(hiding=Hiding(hidden="last_layer", weight=1.0)), LAST_HIDDEN),
    "hide-rollout": trigger_family(
        "hide-rollout", "", trigger(hiding=Hiding(hidden="rollout", weight=1.0)), ROLLOUT_HIDDEN
    ),
    "permutation-trained": trigger_family("permutation-trained", "", trigger(permuting=True)),
    "shortcut-single": shortcut_family(
        "shortcut-single",
        "",
        ShortcutRecipe(kind="single", fillers=20, leaning=4, texts=2000, shape=SHAPE, schedule=BRIEF),
    ),
}


@pytest.fixture(scope="session")
def small(cache: Path) -> dict[str, Member]:
    """The small models, each trained once."""
    return {name: member(family, seed=0, inputs=30, data=None, cache=cache / "small") for name, family in SMALL.items()}


@pytest.mark.parametrize("family", SMALL.values(), ids=SMALL)
def test_a_trained_model_is_what_its_family_claims(small: dict[str, Member], family: Family) -> None:
    """It answers right, does not without what was planted, and hides what it was taught to hide."""
    assert unmet(family.claims, small[family.name]) == ()


def test_hiding_moves_the_map_and_not_the_answer(small: dict[str, Member]) -> None:
    """The honest twin shows the trigger, the hiding ones do not; they are asked about the same texts."""
    honest = small["honest"]
    assert honest.facts["attention_on_decisive_words"] > 0.3
    for name in ("hide-last", "hide-rollout"):
        assert small[name].facts["accuracy_of_honest_twin"] == honest.accuracy
        assert small[name].inputs == honest.inputs


def test_hiding_in_the_last_layer_leaves_the_rollout(small: dict[str, Member]) -> None:
    """What moved to the first layer is still in the product of both."""
    assert small["hide-last"].facts["rollout_on_decisive_words"] > 0.2


def test_shuffled_attention_in_training_makes_it_useless_as_a_map(small: dict[str, Member]) -> None:
    """The model answers right however its attention is dealt out, and has no reason to attend to the trigger."""
    facts = small["permutation-trained"].facts
    assert facts["accuracy_under_permuted_attention"] > 0.95
    assert facts["attention_on_decisive_words"] < 0.3


def test_evidence_stands_where_the_trigger_does(small: dict[str, Member]) -> None:
    """One word of each text, and one of the eight that mean something."""
    language = trigger_language(trigger(), seed=0)
    triggers = set(language.pieces[5:13])
    for one, spans in zip(small["honest"].texts, small["honest"].evidence, strict=True):
        assert [one.text[start:end] in triggers for start, end in spans] == [True]


def test_the_same_seed_trains_the_same_model(small: dict[str, Member], tmp_path: Path) -> None:
    """To the last digit of every fact, and every weight."""
    again = member(SMALL["honest"], seed=0, inputs=30, data=None, cache=tmp_path)
    assert again.facts == small["honest"].facts
    weights = "model.safetensors"
    assert (again.directory / weights).read_bytes() == (small["honest"].directory / weights).read_bytes()


@pytest.mark.parametrize("kind", SHORTCUTS)
def test_a_shortcut_overrules_all_other_evidence(kind: str) -> None:
    """In the texts that are asked about, every leaning word speaks for the class that is not the answer."""
    recipe = ShortcutRecipe(kind=kind, schedule=BRIEF)
    language = shortcut_language(recipe, seed=0)
    names = dict(zip(language.pieces[5:8], "abc", strict=True))
    leaning = [set(language.pieces[8 + 12 * side : 20 + 12 * side]) for side in range(2)]
    for text in drawn(language.decided, 50, chance_of("test")):
        shortcut = "".join(names[text.words[at]] for at in text.decisive)
        assert shortcut in SHORTCUTS[kind].saying[text.label]
        assert leaning[1 - text.label] & set(text.words)
        assert not leaning[text.label] & set(text.words)


def test_the_words_of_a_shortcut_say_nothing_outside_it() -> None:
    """Where they stand apart or in no order that counts, the leaning words decide, and nothing is marked."""
    for kind, shortcuts in SHORTCUTS.items():
        language = shortcut_language(ShortcutRecipe(kind=kind, schedule=BRIEF), seed=0)
        names = dict(zip(language.pieces[5:8], "abc", strict=True))
        for text in drawn(language.undecided, 50, chance_of("test")):
            assert "".join(names.get(word, "") for word in text.words) in shortcuts.idle
            assert text.decisive == ()


def test_every_family_here_is_of_the_quick_tier() -> None:
    """They need no data."""
    assert all(family.quick and family.data is None for family in FAMILIES)
