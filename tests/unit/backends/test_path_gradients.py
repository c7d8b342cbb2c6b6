"""Gradients at the word embeddings against Captum, against finite differences, and against what they must sum to."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from captum.attr import LayerGradientXActivation, LayerIntegratedGradients
from numpy.testing import assert_allclose

from rollcall.attribution.integrated_gradients import integrated_gradients, midpoints
from rollcall.backends.base import PathGradients
from rollcall.backends.embedding_gradients import EmbeddingGradients
from rollcall.backends.replays import Call
from rollcall.backends.tensors import Packed
from rollcall.domain.decision import Decision, Task
from rollcall.domain.inputs import Encoding, TextInput
from rollcall.domain.maps import Floats
from tests.tiny import TEXT, Tiny, Zoo
from tests.unit.backends import stock
from tests.unit.backends.stock import Batch

TARGET = 1
DECISION = Decision(task=Task.SINGLE_LABEL, target=TARGET)
POINTS = 12


def encoded(tiny: Tiny) -> Encoding:
    """A sentence with words of one and of several pieces."""
    return tiny.backend.encode(TextInput(text=TEXT))


def masked_ids(tiny: Tiny, encoding: Encoding) -> tuple[int, ...]:
    """The same input with every unit's tokens masked, special tokens untouched."""
    tokenizer = tiny.backend._encoder.tokenizer
    special = set(tokenizer.all_special_ids)
    return tuple(int(i) if int(i) in special else tokenizer.mask_token_id for i in encoding.input_ids)


def log_odds(tiny: Tiny) -> Callable[[torch.Tensor], torch.Tensor]:
    """Log-odds [B] of the target on the stock model, as Captum calls it."""

    def margins(ids: torch.Tensor) -> torch.Tensor:
        batch = Batch(ids=ids, mask=torch.ones_like(ids), types=torch.zeros_like(ids))
        chances = tiny.sdpa(**stock.arguments(tiny, batch)).logits.softmax(dim=-1)[:, TARGET]
        odds: torch.Tensor = (chances / (1 - chances)).log()
        return odds

    return margins


def numbers(found: PathGradients) -> tuple[Floats, Floats]:
    """Along and at, as numpy."""
    return found.along.double().numpy(), found.at.double().numpy()


def close(found: Floats, expected: Floats) -> None:
    """Equal up to float32 sums of both signs."""
    assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_input_times_gradient_is_captums(tiny: Tiny) -> None:
    """Gradient times embedding at the input, summed over the dimensions, is what Captum says of the stock model."""
    encoding = encoded(tiny)
    ids = torch.from_numpy(encoding.input_ids).unsqueeze(0)
    captum = LayerGradientXActivation(log_odds(tiny), tiny.sdpa.get_input_embeddings())
    expected = captum.attribute(ids)[0].sum(dim=-1).detach().double().numpy()
    _, at = numbers(tiny.backend.path_gradients(encoding, DECISION, (1.0,)))
    close(at[0], expected)
    assert np.abs(expected).max() > 1e-4


def test_integrated_gradients_are_captums(tiny: Tiny) -> None:
    """By the same rule from the same baseline, Captum's layer integrated gradients are the same for every token."""
    encoding = encoded(tiny)
    ids, baseline = (torch.tensor([list(each)]) for each in (encoding.input_ids.tolist(), masked_ids(tiny, encoding)))
    captum = LayerIntegratedGradients(log_odds(tiny), tiny.sdpa.get_input_embeddings())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Captum's own
        expected = captum.attribute(ids, baseline, n_steps=POINTS, method="riemann_middle")
    along, _ = numbers(tiny.backend.path_gradients(encoding, DECISION, midpoints(POINTS)))
    close(integrated_gradients(along), expected[0].sum(dim=-1).detach().double().numpy())


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "electra", "albert"])
def test_integrated_gradients_are_complete(zoo: Zoo, family: str) -> None:
    """They sum to what masking everything does to the margin; the error of the midpoint rule falls with its points."""
    tiny = zoo.precise(family)
    encoding = encoded(tiny)
    rows = Batch.of(tuple(encoding.input_ids.tolist()), masked_ids(tiny, encoding))
    own, baseline = DECISION.margins(stock.stock_logits(tiny, tiny.sdpa, rows).double().numpy())
    errors = []
    for points in (16, 256):
        along, _ = numbers(tiny.backend.path_gradients(encoding, DECISION, midpoints(points)))
        errors.append(abs(integrated_gradients(along).sum() - (own - baseline)) / abs(own - baseline))
    assert errors[1] <= max(errors[0] / 4, 1e-6)
    assert errors[1] < 0.02


@pytest.mark.parametrize("family", ["bert", "distilbert", "albert"])
def test_gradients_along_the_way_are_slopes(zoo: Zoo, family: str) -> None:
    """Summed over all tokens, the gradient along the way is how the margin moves when one takes a small step on it."""
    tiny, step = zoo.precise(family), 1e-5
    encoding = encoded(tiny)
    words, masked = tiny.sdpa.get_input_embeddings(), torch.tensor([masked_ids(tiny, encoding)])
    ids = torch.from_numpy(encoding.input_ids).unsqueeze(0)
    with torch.no_grad():
        start, end = words(masked), words(ids)

        def margin(point: float) -> float:
            embedded = start + point * (end - start)
            types = {"token_type_ids": torch.zeros_like(ids)} if tiny.family in stock.TYPED else {}
            return DECISION.margin(tiny.sdpa(inputs_embeds=embedded, **types).logits[0].double().numpy())

        slopes = [(margin(p + step) - margin(p - step)) / (2 * step) for p in (0.5, 0.9)]
    along, _ = numbers(tiny.backend.path_gradients(encoding, DECISION, (0.5, 0.9)))
    assert_allclose(along.sum(axis=1), slopes, rtol=1e-5)
    special = encoding.unit_of_token < 0
    assert np.abs(along[:, special]).max() == 0


def test_points_do_not_depend_on_their_company(tiny: Tiny) -> None:
    """A point's gradient is the same among others and alone, up to rounding."""
    encoding = encoded(tiny)
    together, _ = numbers(tiny.backend.path_gradients(encoding, DECISION, (0.1, 0.5, 1.0)))
    alone, _ = numbers(tiny.backend.path_gradients(encoding, DECISION, (0.5,)))
    close(together[1], alone[0])


@pytest.mark.parametrize(
    "decision",
    [
        Decision(task=Task.MULTI_LABEL, target=2),
        Decision(task=Task.SINGLE_LABEL, target=0, threshold=0.9, negated=True, by_sign=True),
    ],
)
def test_the_question_decides_the_sign(bert: Tiny, decision: Decision) -> None:
    """What speaks for "not the target" speaks against the target; a label among several is asked about alone."""
    encoding = encoded(bert)
    found, _ = numbers(bert.backend.path_gradients(encoding, decision, (0.5,)))
    ids, masked = (torch.tensor([list(each)]) for each in (encoding.input_ids.tolist(), masked_ids(bert, encoding)))
    words = bert.sdpa.get_input_embeddings()
    embedded = ((words(ids) + words(masked)) / 2).detach().requires_grad_()
    logits = bert.sdpa(inputs_embeds=embedded).logits[0]
    others = torch.logsumexp(logits[[c for c in range(3) if c != decision.target]], dim=0)
    asked = logits[2] if decision.task is Task.MULTI_LABEL else -(logits[0] - others)
    (gradient,) = torch.autograd.grad(asked, embedded)
    expected = (gradient * (words(ids) - words(masked)))[0].sum(dim=-1)
    close(found[0], expected.detach().double().numpy())


def test_nothing_is_left_behind(bert: Tiny) -> None:
    """After a gradient, also after one that failed, the model has no new hook, no gradient, and the same answers."""
    encoding, words = encoded(bert), bert.backend._model.get_input_embeddings()
    batch = Batch.of(tuple(encoding.input_ids.tolist()))
    before = stock.stock_logits(bert, bert.backend._model, batch)
    bert.backend.path_gradients(encoding, DECISION, (0.5,))
    broken = Decision(task=Task.SINGLE_LABEL, target=99)
    with pytest.raises(IndexError):
        bert.backend.path_gradients(encoding, broken, (0.5,))
    assert not words._forward_hooks
    assert all(p.grad is None and not p.requires_grad for p in bert.backend._model.parameters())
    assert torch.equal(before, stock.stock_logits(bert, bert.backend._model, batch))


def test_a_model_that_goes_another_way_is_an_error(bert: Tiny) -> None:
    """Where the forward never asks for these embeddings, no number is made up."""
    encoding = encoded(bert)
    ids = encoding.input_ids
    twice = np.repeat(np.stack([ids, ids, ids])[:, None], 2, axis=1)
    numbers = Packed.of({"inputs": twice, "points": np.ones(1)}, "cpu")
    elsewhere = EmbeddingGradients(
        words=torch.nn.Embedding(400, 4),
        forward=lambda _: torch.zeros(1, 3),
        see=bert.backend._see,
        device="cpu",
        tokens=len(ids),
    )
    with pytest.raises(RuntimeError, match="did not go through its word embeddings"):
        elsewhere.run(Call(device="cpu"), numbers, DECISION)
