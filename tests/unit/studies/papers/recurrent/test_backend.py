"""The recurrent model behind the engine's seams, against the formulas of the papers written in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rollcall.backends.base import Differentiable, variants
from rollcall.domain.compute import Search
from rollcall.domain.inputs import Encoding, TextInput
from rollcall.domain.maps import MapKind, MapOptions
from rollcall.domain.rows import AttentionEdit, RemovalOperator, Row, RowResult
from rollcall.engine.adversary import AdversarySearch
from rollcall.engine.engine import Engine
from rollcall.studies.papers.recurrent.backend import RecurrentBackend
from rollcall.studies.papers.recurrent.network import EncoderKind
from rollcall.training.pieces import MASK_ID
from tests.unit.studies.papers.recurrent.small import DECISION, TEXT, answer, backend, loaded, parts, softmax

CLOSE = 1e-6
NAME = "model"


def run(found: RecurrentBackend, encoding: Encoding, *rows: Row) -> list[RowResult]:
    """Rows through the engine."""
    return Engine(models={NAME: loaded(found)}).run(NAME, variants(encoding, rows))


def test_it_keeps_the_contract_of_a_backend_with_gradients() -> None:
    """The engine's searches ask for it."""
    assert isinstance(backend(), Differentiable)


def test_logits_and_edits_are_the_formulas() -> None:
    """Untouched, uniform, knocked out, cut, silenced, biased: each as written down in numpy."""
    found = backend()
    encoding = found.encode(TEXT)
    states, scores = parts(found, encoding.input_ids[1:-1].tolist())
    own, n = softmax(scores), len(scores)
    units = np.array([True, False, False, True, False])
    bias = np.linspace(-1, 2, encoding.length)
    cases = [
        (Row(), own),
        (Row(edit=AttentionEdit.IDENTITY), own),
        (Row(edit=AttentionEdit.UNIFORM), np.full(n, 1 / n)),
        (Row(edit=AttentionEdit.SILENCED, heads=(0,)), np.zeros(n)),
        (Row(edit=AttentionEdit.KNOCKED_OUT, units=units), softmax(np.where(units, -np.inf, scores))),
        (Row(edit=AttentionEdit.CUT, units=units), np.where(units, 0, own)),
        (Row(edit=AttentionEdit.BIASED, bias=bias[None, None]), softmax(scores + bias[1:-1])),
    ]
    results = run(found, encoding, *(row for row, _ in cases))
    for (row, weights), result in zip(cases, results, strict=True):
        np.testing.assert_allclose(result.logits, answer(found, weights, states), atol=CLOSE, err_msg=str(row.edit))
    np.testing.assert_allclose(results[-1].maps[MapKind.RAW_ATTENTION], softmax(scores + bias[1:-1]), atol=CLOSE)


def test_a_permutation_deals_the_same_weights_to_other_words() -> None:
    """The multiset is kept, special tokens get nothing, and the answer is that of the dealt weights."""
    found = backend()
    encoding = found.encode(TEXT)
    states, scores = parts(found, encoding.input_ids[1:-1].tolist())
    results = run(found, encoding, *(Row(edit=AttentionEdit.PERMUTED, seed=seed) for seed in range(1, 9)))
    maps = [result.maps[MapKind.RAW_ATTENTION] for result in results]
    for result, dealt in zip(results, maps, strict=True):
        np.testing.assert_allclose(np.sort(dealt), np.sort(softmax(scores)), atol=CLOSE)
        np.testing.assert_allclose(result.logits, answer(found, dealt, states), atol=CLOSE)
    assert len({dealt.round(6).tobytes() for dealt in maps}) > 4


@pytest.mark.parametrize("kind", EncoderKind)
def test_removals_are_what_they_say(kind: EncoderKind) -> None:
    """Deletion is the shorter text, the mask token stands in the place of a word; neither depends on the batch."""
    found = backend(kind)
    encoding = found.encode(TEXT)
    removed = np.array([False, False, False, True, False])
    deleted, masked, hidden, whole = run(
        found,
        encoding,
        *(
            Row(removed=removed, operator=operator)
            for operator in (RemovalOperator.DELETION, RemovalOperator.MASK_TOKEN, RemovalOperator.HIDDEN_KEYS)
        ),
        Row(),
    )
    shorter = found.encode(TextInput(text="very good film bad"))
    np.testing.assert_allclose(deleted.logits, run(found, shorter, Row())[0].logits, atol=CLOSE)
    ids = encoding.input_ids.copy()
    ids[4] = MASK_ID
    replaced = Encoding(
        input_ids=ids,
        type_ids=encoding.type_ids,
        unit_of_token=encoding.unit_of_token,
        units=encoding.units,
        tokens_total=encoding.tokens_total,
        grouped=False,
    )
    np.testing.assert_allclose(masked.logits, run(found, replaced, Row())[0].logits, atol=CLOSE)
    knocked_out = run(found, encoding, Row(edit=AttentionEdit.KNOCKED_OUT, units=removed))[0]
    np.testing.assert_allclose(hidden.logits, knocked_out.logits, atol=CLOSE)
    assert np.abs(deleted.logits - whole.logits).max() > CLOSE


@pytest.mark.parametrize("kind", EncoderKind)
def test_gradients_are_differences_of_the_margin(kind: EncoderKind) -> None:
    """Gradient times embedding, through the attention and with it held fast, against a small step along each word."""
    found = backend(kind)
    encoding = found.encode(TEXT)
    ids = torch.from_numpy(encoding.input_ids)[None]
    embedded, step = found.network.embed(ids).detach(), 1e-5
    lengths = torch.tensor([encoding.length])
    words = torch.tensor([[False, *[True] * 5, False]])

    def margin(moved: torch.Tensor, weights: torch.Tensor | None) -> float:
        states = found.network.states(moved, lengths)
        scores = found.network.scores(states).masked_fill(~words, -torch.inf)
        own = scores.softmax(dim=1) if weights is None else weights
        return DECISION.margin(found.network.answer(own, states)[0].detach().numpy())

    states = found.network.states(embedded, lengths)
    fast = found.network.scores(states).masked_fill(~words, -torch.inf).softmax(dim=1)
    for held, gradients in (
        (None, found.path_gradients(encoding, DECISION, (1.0,)).at[0]),
        (fast, found.detached_gradients(encoding, DECISION)),
    ):
        for token in range(encoding.length):
            along = torch.zeros_like(embedded)
            along[0, token] = embedded[0, token] * step
            difference = (margin(embedded + along, held) - margin(embedded - along, held)) / (2 * step)
            assert gradients[token] == pytest.approx(difference, abs=1e-5)


def test_integrated_along_the_way_gradients_sum_to_the_fall() -> None:
    """Completeness, on the way from the masked text to the text (Sundararajan et al. 2017)."""
    found = backend(EncoderKind.LSTM)
    encoding = found.encode(TEXT)
    points = [(i + 0.5) / 64 for i in range(64)]
    along = found.path_gradients(encoding, DECISION, points).along.mean(dim=0).sum()
    everything = np.ones(5, dtype=np.bool_)
    whole, masked = run(found, encoding, Row(), Row(removed=everything))
    assert float(along) == pytest.approx(DECISION.margin(whole.logits) - DECISION.margin(masked.logits), abs=1e-3)


def test_the_engines_adversary_finds_other_attention_with_the_same_answer() -> None:
    """The search runs on this model as on a transformer, and what it proposes keeps the prediction."""
    found = backend(EncoderKind.LSTM)
    encoding = found.encode(TEXT)
    base = run(found, encoding, Row())[0]
    identity = run(found, encoding, Row(edit=AttentionEdit.BIASED, bias=np.zeros((1, 1, encoding.length))))[0]
    own = identity.maps[MapKind.RAW_ATTENTION]
    search = Search(
        kind=MapKind.RAW_ATTENTION,
        original=own,
        logits=base.logits,
        decision=DECISION,
        tolerance=0.05,
        restarts=4,
        steps=60,
        step_size=0.2,
        seed=3,
    )
    adversary = AdversarySearch(backend=found, encoding=encoding, options=MapOptions(), search=search, first=0, count=4)
    for _ in range(60):
        adversary.step()
    proposed = adversary.proposed()
    assert max(adversary.best) > 0.1
    results = run(found, encoding, *(Row(edit=AttentionEdit.BIASED, bias=bias) for bias in proposed))
    assert all(float(DECISION.tvd(base.logits, result.logits)) <= 0.05 for result in results)


def test_what_attention_moves_is_differentiated_by_it() -> None:
    """The gradient of the margin by a weight is the step that its state makes in the margin's direction."""
    found = backend()
    encoding = found.encode(TEXT)
    states, scores = parts(found, encoding.input_ids[1:-1].tolist())
    attended = found.biased(encoding, torch.zeros(1, 1, 1, encoding.length).requires_grad_())
    np.testing.assert_allclose(attended.probabilities[0][0, 0, 0, 1:-1].detach(), softmax(scores), atol=CLOSE)
    direction = DECISION.gradient(attended.logits[0].detach().numpy())
    (gradient,) = torch.autograd.grad(
        attended.logits, attended.probabilities[0], torch.from_numpy(direction)[None].to(attended.logits)
    )
    expected = states @ (found.network.classifier.weight.detach().numpy().T @ direction)
    np.testing.assert_allclose(gradient[0, 0, 0, 1:-1], expected, atol=CLOSE)


def test_frozen_uniform_attention_is_uniform_whatever_the_scores() -> None:
    """As a model that was trained so has it."""
    found = backend(uniform=True)
    encoding = found.encode(TEXT)
    plain, uniform = run(found, encoding, Row(), Row(edit=AttentionEdit.UNIFORM))
    np.testing.assert_allclose(plain.logits, uniform.logits, atol=CLOSE)
