"""Models of other tasks than texts: small ones of each do what their families claim, and the service loads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rollcall.backends.base import variants
from rollcall.domain.decision import Task
from rollcall.domain.inputs import ImageInput, Modality, TextInput
from rollcall.domain.maps import MEASURED_MAPS
from rollcall.domain.rows import Row
from rollcall.domain.verdicts import CheckKind, CheckOutcome, Flag, Scope
from rollcall.models.loading import LoadedModel, load_model
from rollcall.studies.flag.families.base import ACCURACY, Family, Member, unmet
from rollcall.studies.flag.families.corpora import Corpus, Labelled
from rollcall.studies.flag.families.learning import Schedule, Shape
from rollcall.studies.flag.families.pairs import Pair, PairRecipe, favoured, pair_family, real_pairs, rows_of_pairs
from rollcall.studies.flag.families.pictures import (
    BLOCK,
    CELLS,
    SIDE,
    PictureRecipe,
    picture_family,
    planted_colour,
    png,
    prepared,
    with_patches_missing,
)
from rollcall.studies.flag.families.planted import TriggerRecipe, trigger_family
from rollcall.studies.flag.families.prompts import VERBS, PromptRecipe, agreement_prompts, prompt_family
from rollcall.studies.flag.families.texts import chance_of
from rollcall.studies.flag.families.unopened import unopened
from rollcall.studies.flag.members import member
from rollcall.studies.flag.run import Runner
from rollcall.studies.flag.sides import side_numbers
from rollcall.training.pieces import piece_tokenizer
from rollcall.verdict.policies import STANDARD

SHAPE = Shape(layers=2, width=32, feed_forward=64)
BRIEF = Schedule(steps=150, batch=32, learning_rate=3e-3)
FEW_WORDS = TriggerRecipe(fillers=20, texts=2000, shape=SHAPE, schedule=BRIEF)
RIGHT = {ACCURACY: (0.9, 1.0)}
SMALL: dict[str, Family] = {
    "pictures": picture_family("pictures", "", PictureRecipe(album="planted-colour", width=32, schedule=BRIEF), RIGHT),
    "prompts": prompt_family(
        "prompts",
        "",
        PromptRecipe(
            source="small",
            tokens=("no", "yes"),
            planted=replace(FEW_WORDS, triggers=1),
            shape=SHAPE,
            schedule=replace(BRIEF, steps=450),
        ),
        RIGHT,
        data=None,
    ),
    "pairs": pair_family(
        "pairs",
        "",
        PairRecipe(
            kind="small",
            pairs=3000,
            shape=replace(SHAPE, positions=96),
            schedule=replace(BRIEF, steps=500, removal_ceiling=0.2),
            planted=replace(FEW_WORDS, triggers=1),
        ),
        RIGHT | {"accuracy_without_decisive_words": (0.3, 0.7)},
    ),
    "texts-unopened": unopened(trigger_family("texts", "", FEW_WORDS)),
}


@pytest.fixture(scope="module")
def built(cache: Path) -> Mapping[str, Member]:
    """One model of each, trained once."""
    return {name: member(family, seed=0, inputs=30, data=None, cache=cache / "other") for name, family in SMALL.items()}


def loaded(one: Member) -> LoadedModel:
    """As the study loads it."""
    return load_model(one.directory, tokens=one.tokens)


@pytest.mark.parametrize("name", SMALL)
def test_a_small_model_is_what_its_family_claims(built: Mapping[str, Member], name: str) -> None:
    """It answers right, passes the service's self-tests, and what is asked of it is what it reads."""
    one = built[name]
    assert unmet(SMALL[name].claims, one) == ()
    model = loaded(one)
    assert model.failed == ()
    for asked in one.inputs:
        assert model.backend.encode(asked).units


@pytest.mark.parametrize("name", SMALL)
def test_what_is_kept_is_what_was_built(built: Mapping[str, Member], cache: Path, name: str) -> None:
    """Pictures, pairs and tokens survive the record."""
    again = member(SMALL[name], seed=0, inputs=30, data=None, cache=cache / "other")
    assert again == built[name]
    kind = ImageInput if name == "pictures" else TextInput
    assert all(isinstance(one, kind) for one in again.inputs)
    assert len(set(again.inputs)) == 30


def test_each_is_of_its_task(built: Mapping[str, Member]) -> None:
    """Pictures, next tokens, two texts, and a graph whose attention is not found."""
    models = {name: loaded(one) for name, one in built.items()}
    assert models["pictures"].modality is Modality.IMAGE
    assert models["prompts"].backend.task is Task.NEXT_TOKEN
    segments = {unit.segment for unit in models["pairs"].backend.encode(built["pairs"].inputs[0]).units}
    assert segments == {0, 1}
    hidden = models["texts-unopened"]
    assert (hidden.scope, set(hidden.maps)) == (Scope.INPUT_ONLY, set(MEASURED_MAPS))


@pytest.mark.parametrize("name", SMALL)
def test_the_checks_are_those_of_the_service(cache: Path, tmp_path: Path, name: str) -> None:
    """Every map has its truth and its looks; of a graph without attention nothing that edits attention was asked."""
    runner = Runner(cache=cache / "other", data=None, out=tmp_path, quiet=True)
    found = runner.measure(SMALL[name], 0, 4)
    for case in found.cases:
        assert all(one.truth is not None and one.looks for one in case.maps.values())
        outcomes = {kind: out for one in case.maps.values() for kind, out in one.outcomes.items()}
        assert outcomes[CheckKind.INSTRUMENT] is CheckOutcome.SUPPORTS
        if name == "texts-unopened":
            assert not case.same
            assert {"leave_one_out", "effect", "shuffled"} <= set(case.maps)
            assert outcomes[CheckKind.REWIRING] is CheckOutcome.SKIPPED
        else:
            assert "raw_attention" in case.maps
        assert ("word_frequency" in case.maps) is (name != "pictures")


def test_each_text_of_a_pair_is_held_against_its_own_truth(cache: Path, tmp_path: Path) -> None:
    """The service's flags of both sides, what is true of each, and what the report counts of them."""
    found = Runner(cache=cache / "other", data=None, out=tmp_path, quiet=True).measure(SMALL["pairs"], 0, 6)
    (told,) = side_numbers([found], STANDARD).values()
    offered = [one for case in found.cases if case.reached for one in case.maps.values() if one.served is not None]
    assert {len(one.sides) for one in offered} == {2}
    assert {text: one["maps"] for text, one in told.items()} == {"first": len(offered), "second": len(offered)}
    for number, text in enumerate(("first", "second")):
        flags = [one.sides[number].served.flag for one in offered]
        assert told[text]["faithful"]["count"] == flags.count(Flag.FAITHFUL)
        right = [one.sides[number].truth for one in offered]
        assert told[text]["truly_right"]["count"] == sum(truth.right(STANDARD) for truth in right if truth is not None)
    whole = [one.truth for one in offered]
    assert [one.sides[0].truth for one in offered] != whole
    assert not any(one.sides for case in found.cases for one in case.maps.values() if one.served is None)
    again = Runner(cache=cache / "other", data=None, out=tmp_path, quiet=True).measure(SMALL["pairs"], 0, 6)
    assert again.cases == found.cases


def test_what_is_planted_in_a_picture_decides() -> None:
    """One block of sixteen is in colour, red or blue as the label says; the same for the same seed."""
    album = planted_colour(3, 5)
    for picture, label in zip(album.asked, album.asked_labels, strict=True):
        blocks = picture.reshape(CELLS, BLOCK, CELLS, BLOCK, 3)[:, 0, :, 0].astype(int)
        coloured = np.ptp(blocks, axis=-1) > 0
        assert coloured.sum() == 1
        assert (blocks[coloured][0].argmax() == 2) == label
    np.testing.assert_array_equal(album.asked, planted_colour(3, 5).asked)
    assert not np.array_equal(album.asked, planted_colour(4, 5).asked)


def test_pixels_are_what_the_service_makes_of_the_file(built: Mapping[str, Member]) -> None:
    """A model learns from the numbers that it will read, and its answer to a file is that to them."""
    picture = planted_colour(0, 1).asked[0]
    backend = loaded(built["pictures"]).backend
    encoding = backend.encode(ImageInput(data=png(picture)))
    assert encoding.pixels is not None
    np.testing.assert_allclose(encoding.pixels, prepared(picture[None])[0].numpy(), atol=1e-6)


def test_missing_patches_show_the_mean_colour() -> None:
    """Whole blocks, only of the rows that lose any; all others are untouched."""
    torch.manual_seed(0)
    pixels = torch.rand(40, 3, SIDE, SIDE)
    seen = with_patches_missing(pixels, share=0.5, ceiling=1.0)
    changed = (seen != pixels).any(dim=1).reshape(40, CELLS, BLOCK, CELLS, BLOCK)
    assert (changed.all(dim=4).all(dim=2) == changed.any(dim=4).any(dim=2)).all()
    touched = changed.flatten(1).any(dim=1)
    assert 5 < int(touched.sum()) < 35
    means = pixels.mean(dim=(2, 3), keepdim=True).expand_as(pixels)
    where = (seen != pixels).any(dim=1, keepdim=True).expand_as(pixels)
    torch.testing.assert_close(seen[where], means[where])


def test_words_are_counted_through_both_texts() -> None:
    """What decides in the second text is marked there, under the service's own segment numbers."""
    tokenizer = piece_tokenizer(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c"), positions=16, pairs=True)
    rows = rows_of_pairs([Pair(first="a b", second="c a", label=1, decisive=(1, 2))], tokenizer)
    assert rows.ids == [[2, 5, 6, 3, 7, 5, 3]]
    assert rows.words == [[0, 1, 2, 0, 3, 4, 0]]
    assert rows.types == [[0, 0, 0, 0, 1, 1, 1]]
    assert rows.secret == [[False, False, True, False, True, False, False]]


def test_the_favourable_opinion_is_where_the_label_says() -> None:
    """In either place, about as often; pairs to be asked about are made of held-out texts alone."""
    some = tuple(Labelled(text=f"{'good' if n % 2 else 'bad'} {n}", label=n % 2) for n in range(40))
    pairs = favoured(some, 200, chance_of("test"))
    assert all((one.second if one.label else one.first).startswith("good") for one in pairs)
    assert 60 < sum(one.label for one in pairs) < 140
    recipe = PairRecipe(kind="sst2", pairs=50, shape=SHAPE, schedule=BRIEF, pieces=100)
    made = real_pairs(recipe, 0, 10, Corpus(labels=("bad", "good"), training=some[:20], held_out=some[20:]))
    held = {one.text for one in some[20:]}
    assert {text for one in made.asked for text in (one.first, one.second)} <= held
    assert not {text for one in made.learned for text in (one.first, one.second)} & held


def test_sentences_end_before_their_verb(tmp_path: Path) -> None:
    """Only sentences whose verb is one of the two are prompts; a prompt that is asked about was not learned."""
    lines = ["attractors\tverb_index\tcorrect\twrong\ttext"]
    for number in range(20):
        lines.append(f"0\t2\t{VERBS[number % 2]}\t{VERBS[1 - number % 2]}\tthe {'dogs' if number % 2 else 'dog'} x y")
        lines.append("0\t2\thas\thave\tthe cat x")
    lines.append("0\t2\tis\tare\tthe cow x")
    (tmp_path / "linzen_test.tsv").write_text("\n".join(lines), encoding="utf-8")
    recipe = PromptRecipe(source="agreement", tokens=VERBS, shape=SHAPE, schedule=BRIEF)
    prompts = agreement_prompts(recipe, 0, tmp_path)
    assert {one.text for one in prompts.asked} == {"the dog", "the dogs", "the cow"}
    assert not {one.text for one in prompts.learned} & {one.text for one in prompts.asked}
    assert {one.text: one.token for one in prompts.asked} == {"the dog": "is", "the dogs": "are", "the cow": "is"}


def test_an_export_answers_as_the_model_it_was_made_of(cache: Path, built: Mapping[str, Member]) -> None:
    """The same weights by another runtime, to 1e-4."""
    family = trigger_family("texts", "", FEW_WORDS)
    stock = load_model(member(family, seed=0, inputs=30, data=None, cache=cache / "other").directory).backend
    exported = loaded(built["texts-unopened"]).backend
    for one in built["texts-unopened"].inputs[:5]:
        first, second = (
            np.asarray(backend.run(variants(backend.encode(one), [Row()])).logits) for backend in (stock, exported)
        )
        np.testing.assert_allclose(first, second, atol=1e-4)
