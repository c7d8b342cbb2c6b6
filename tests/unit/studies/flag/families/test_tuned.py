"""Classifiers of real texts, built from files: small files here, and few steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollcall.studies.flag.families.base import Member, unmet
from rollcall.studies.flag.families.corpora import CORPORA
from rollcall.studies.flag.families.learning import Hiding, Schedule, Shape
from rollcall.studies.flag.families.texts import chance_of, made_up_words
from rollcall.studies.flag.families.tuned import FAMILIES, TunedRecipe, tuned_family
from rollcall.studies.flag.members import member

OPINIONS = (("dreadful", "dull"), ("lovely", "bright"))
BRIEF = Schedule(steps=120, batch=32, learning_rate=3e-3)
HIDING = tuned_family(
    "hiding",
    "",
    TunedRecipe(
        data="sst_wiki",
        shape=Shape(layers=2, width=32, feed_forward=64, positions=16),
        schedule=BRIEF,
        pieces=500,
        hiding=Hiding(hidden="last_layer", weight=1.0),
        hiding_schedule=BRIEF,
    ),
    {
        "accuracy": (0.95, 1.0),
        "accuracy_of_honest_twin": (0.95, 1.0),
        "accuracy_of_commonest_class": (0.5, 0.65),
        "accuracy_without_decisive_words": (0.35, 0.65),
        "attention_on_decisive_words": (0.0, 0.1),
        "rollout_on_decisive_words": (0.1, 1.0),
    },
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in the manner of SST+Wiki: the first half is an opinion, the second is about something else."""
    directory = tmp_path_factory.mktemp("data")
    chance = chance_of("opinions")
    fillers = made_up_words(30, chance)
    for name, count in (("train.tsv", 1000), ("test.tsv", 120)):
        rows = ["label\tsst_text\twiki_text"]
        for number in range(count):
            opinion = [*chance.choices(fillers, k=2), chance.choice(OPINIONS[number % 2])]
            rows.append(f"{number % 2}\t{' '.join(opinion)}\t{' '.join(chance.choices(fillers, k=20))}")
        (directory / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    return directory


@pytest.fixture(scope="module")
def hiding(data: Path, cache: Path) -> Member:
    """A model that learned the opinions and to hide where it reads them."""
    return member(HIDING, seed=0, inputs=500, data=data, cache=cache)


def test_a_model_learns_the_data_and_hides_its_evidence(hiding: Member) -> None:
    """It answers as its honest twin did, from words that its last layer no longer shows."""
    assert unmet(HIDING.claims, hiding) == ()


def test_inputs_are_all_that_was_held_out_where_there_are_no_more(hiding: Member) -> None:
    """Each fits the model, and its evidence is the opinion."""
    assert len(hiding.inputs) == len(hiding.evidence) == 120
    for one, ((start, end),) in zip(hiding.texts, hiding.evidence, strict=True):
        assert any(one.text[start:end].endswith(word) for words in OPINIONS for word in words)
        assert len(one.text.split()) < 16


def test_every_family_on_a_data_set_can_read_it() -> None:
    """And every data set has a family."""
    assert {family.data for family in FAMILIES if family.data is not None} == set(CORPORA) - {"agreement"}


def test_hiding_twins_have_an_honest_counterpart() -> None:
    """With as many layers, on the same texts."""
    kinds = {(family.data, family.layers, family.name.rsplit("-", 1)[0].split("-")[0]) for family in FAMILIES}
    for data, layers, kind in kinds:
        if kind == "hide":
            assert (data, layers, "honest") in kinds


def test_models_have_two_to_six_layers() -> None:
    """As deep as is trained on one core in minutes."""
    assert {family.layers for family in FAMILIES} == {2, 3, 4, 6}
