"""Training changes the model and nothing else, the same way every time."""

from __future__ import annotations

import pytest
import torch
from transformers import BertForSequenceClassification

from rollcall.studies.flag.families.learning import (
    Hiding,
    Schedule,
    Shape,
    accuracy_under_permutation,
    new_classifier,
    permuted_keys,
    reproducible,
    shuffled_places,
    train,
)
from rollcall.studies.flag.families.reading import Rows, read, secret_mass
from rollcall.training.pieces import CLS_ID, PAD_ID, SEP_ID, SPECIAL_PIECES

FIRST = len(SPECIAL_PIECES)
SHAPE = Shape(layers=1, width=16, heads=2, feed_forward=16, positions=16)
SCHEDULE = Schedule(steps=60, batch=16, learning_rate=1e-2)


def rows() -> Rows:
    """Texts of four words, of which the first decides: an even one says no, an odd one yes."""
    texts = [[FIRST + number % 8, *(FIRST + 8 + (number + k) % 5 for k in range(3))] for number in range(80)]
    return Rows(
        ids=[[CLS_ID, *text, SEP_ID] for text in texts],
        words=[[0, 1, 2, 3, 4, 0]] * len(texts),
        labels=[(text[0] - FIRST) % 2 for text in texts],
        secret=[[False, True, False, False, False, False]] * len(texts),
    )


def trained(seed: int, hiding: Hiding | None = None) -> BertForSequenceClassification:
    """A model that learned the texts."""
    with reproducible(seed):
        model = new_classifier(SHAPE, pieces=FIRST + 13, labels=("no", "yes"))
        train(model, rows(), SCHEDULE, seed=seed, name="test", hiding=hiding)
    return model


def test_training_is_the_same_every_time() -> None:
    """Whatever was drawn before; another seed gives another model."""
    logits = []
    for seed in (1, 1, 2):
        torch.rand(3)
        logits.append(read(trained(seed), rows()).logits)
    assert torch.equal(logits[0], logits[1])
    assert not torch.equal(logits[0], logits[2])


def test_a_model_learns_its_texts() -> None:
    """Every text gets its label, and the model is left in evaluation mode."""
    model = trained(0)
    assert read(model, rows()).accuracy(rows()) == 1.0
    assert not model.training


def test_hiding_takes_the_map_off_the_secret() -> None:
    """The penalty outweighs what the attention to it is worth."""
    hidden = read(trained(0, Hiding(hidden="last_layer", weight=2.0)), rows())
    plain = read(trained(0), rows())
    assert secret_mass(hidden.attention, rows()) < min(0.1, secret_mass(plain.attention, rows()))


def test_nothing_global_is_left_changed() -> None:
    """Also where training fails: draws go on as if nothing had been, with as many threads as before."""
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()

    def fail() -> None:
        with reproducible(5):
            torch.rand(10)
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fail()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert torch.are_deterministic_algorithms_enabled() == deterministic


def test_places_are_shuffled_among_the_visible_alone() -> None:
    """Each visible place is dealt out once, and hidden ones stay where they are."""
    visible = torch.tensor([[True, False, True, True, False]]).repeat(50, 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        places = shuffled_places(visible)
    assert (places[:, [1, 4]] == torch.tensor([1, 4])).all()
    assert (places.sort(dim=1).values == torch.arange(5)).all()
    assert len({tuple(row.tolist()) for row in places}) == 6


def test_keys_are_permuted_inside_the_block_alone() -> None:
    """Afterwards the model reads as before, also after a failure."""
    model = trained(0)
    ids = torch.tensor(rows().ids)
    seen = (ids != PAD_ID).long()

    def fail() -> torch.Tensor:
        with permuted_keys(model, seen):
            inside: torch.Tensor = model(input_ids=ids, attention_mask=seen).logits
            assert not torch.equal(inside, before)
            raise ArithmeticError

    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        before = model(input_ids=ids, attention_mask=seen).logits
        with pytest.raises(ArithmeticError):
            fail()
        after = model(input_ids=ids, attention_mask=seen).logits
    assert torch.equal(before, after)


def test_a_model_that_needs_its_attention_fails_without_its_order() -> None:
    """One layer reads the deciding word by attending to it."""
    with reproducible(0):
        share = accuracy_under_permutation(trained(0), rows())
    assert share < 0.95
