"""Training of recurrent classifiers, on texts whose answer is a single word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rollcall.studies.flag.families.corpora import Labelled
from rollcall.studies.flag.families.reading import Rows
from rollcall.studies.papers.recurrent.learning import Attending, Read, Schedule, divergence, read, weighing
from rollcall.studies.papers.recurrent.library import (
    Books,
    Recipe,
    Trained,
    adversarial,
    trained,
    trained_with,
    vocabulary,
)
from rollcall.studies.papers.recurrent.network import EncoderKind
from rollcall.studies.papers.tasks import Task

FILLERS = ("the", "film", "was", "a", "plot", "of", "its", "time")
SCHEDULE = Schedule(epochs=6, learning_rate=1e-2)


def texts(count: int, seed: int) -> tuple[Labelled, ...]:
    """Fillers with one word that decides."""
    chance = np.random.default_rng(seed)
    made = []
    for number in range(count):
        words = chance.choice(FILLERS, size=7).tolist()
        words[chance.integers(7)] = "good" if number % 2 else "bad"
        made.append(Labelled(text=" ".join(words), label=number % 2))
    return tuple(made)


@pytest.fixture(scope="module")
def books() -> Books:
    """Three parts of the task."""
    return Books(
        Task(
            name="one-word",
            labels=("bad", "good"),
            tokens=12,
            training=texts(200, 0),
            dev=texts(40, 1),
            held_out=texts(60, 2),
        )
    )


@pytest.fixture(scope="module")
def base(books: Books, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Path]:
    """The ordinary model, and where models are kept."""
    models = tmp_path_factory.mktemp("models")
    return trained(books, Recipe(schedule=SCHEDULE), seed=0, models=models), models


def test_every_encoder_learns_the_word_that_decides(books: Books, tmp_path: Path) -> None:
    """With attention that finds it, or with uniform attention."""
    for encoder in EncoderKind:
        for attending in (Attending.LEARNT, Attending.UNIFORM, Attending.RANDOM):
            recipe = Recipe(encoder=encoder, attending=attending, schedule=SCHEDULE)
            found = trained(books, recipe, seed=0, models=tmp_path)
            assert found.read(books.held_out).accuracy(books.held_out) > 0.9, (encoder, attending)


def test_a_kept_model_is_the_one_that_was_trained(books: Books, base: tuple[Trained, Path]) -> None:
    """The same weights from the disk, and the same ones again from nothing."""
    model, models = base
    kept = trained(books, Recipe(schedule=SCHEDULE), seed=0, models=models)
    again = trained(books, Recipe(schedule=SCHEDULE), seed=0, models=models / "elsewhere")
    for other in (kept, again):
        for name, value in model.network.state_dict().items():
            torch.testing.assert_close(other.network.state_dict()[name], value, rtol=0, atol=0)
    assert kept.dev == model.dev
    assert not list((models / "recurrent").glob(".building-*"))


def test_an_adversary_answers_the_same_and_attends_elsewhere(books: Books, base: tuple[Trained, Path]) -> None:
    """On texts that neither has seen, far more so than a copy that is paid nothing."""
    model, models = base
    own = model.read(books.held_out)
    found = adversarial(books, Recipe(schedule=SCHEDULE), model, 0.05, seed=1, models=models).read(books.held_out)
    assert float((found.probabilities - own.probabilities).abs().sum(dim=1).mean() / 2) < 0.1
    apart = [float((a - b).abs().sum() / 2) for a, b in zip(found.weights, own.weights, strict=True)]
    assert np.mean(apart) > 0.5


def test_the_adversarys_loss_is_the_papers() -> None:
    """TVD(y, y_base) - weight * KL(a || a_base), written down in numpy; padding counts for nothing."""
    probabilities, weights = np.array([[0.2, 0.8], [0.6, 0.4]]), np.array([[0.1, 0.9, 0.0], [0.3, 0.3, 0.4]])
    other, attended = np.array([[0.5, 0.5], [0.6, 0.4]]), [np.array([0.5, 0.5]), np.array([0.2, 0.2, 0.6])]
    tvd = np.abs(probabilities - other).sum(axis=1) / 2
    kl = [
        float(sum(p * np.log(p / q) for p, q in zip(own[: len(their)], their, strict=True)))
        for own, their in zip(weights, attended, strict=True)
    ]
    said = Read(probabilities=torch.from_numpy(other), weights=[torch.from_numpy(one) for one in attended])
    found = divergence(torch.from_numpy(probabilities), torch.from_numpy(weights), said, [0, 1], 0.3)
    assert float(found) == pytest.approx(float((tvd - 0.3 * np.array(kl)).mean()), abs=1e-6)


def test_a_guided_model_attends_as_its_guide_does(books: Books, base: tuple[Trained, Path]) -> None:
    """Its weights are the guide's to the last digit, and it learns with them."""
    model, models = base
    pupil = trained_with(books, Recipe(encoder=EncoderKind.PROJECTION, schedule=SCHEDULE), model, seed=0, models=models)
    guide = model.read(books.held_out).weights
    said = read(pupil.network, books.held_out, weighing(pupil.network, Attending.GIVEN, guide))
    for own, given in zip(said.weights, guide, strict=True):
        torch.testing.assert_close(own, given, rtol=0, atol=0)
    assert said.accuracy(books.held_out) > 0.9


def test_f1_is_of_the_last_class() -> None:
    """Two hits, one false alarm and one miss: 2 * 2 / (3 + 3)."""
    said = Read(probabilities=torch.eye(2)[[1, 1, 1, 0, 0]], weights=[])
    rows = Rows(ids=[], words=[], labels=[1, 1, 0, 1, 0], secret=[])
    assert said.f1(rows) == pytest.approx(2 / 3)


def test_words_that_are_in_one_text_alone_are_unknown() -> None:
    """Case and how often within a text are no matter."""
    assert vocabulary(["Good good film", "good plot", "bad plot"]) == ["good", "plot"]
