"""What the studies measure on one input, against the papers' formulas written in numpy on a model of known weights."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from rollcall.domain.distances import jensen_shannon
from rollcall.domain.inputs import TextInput
from rollcall.domain.maps import Floats, MapKind
from rollcall.domain.rows import AttentionEdit, Row
from rollcall.models.loading import load_model
from rollcall.studies.laboratory import NAME, Laboratory
from rollcall.studies.papers.inquiry import Inquiry
from rollcall.studies.papers.jain_wallace.measure import Effort
from rollcall.studies.papers.jain_wallace.measure import measure as jain_wallace
from rollcall.studies.papers.recurrent.network import EncoderKind
from rollcall.studies.papers.serrano_smith.measure import ORDERS
from rollcall.studies.papers.serrano_smith.measure import measure as serrano_smith
from rollcall.studies.papers.vashishth.study import replaced
from rollcall.verdict.policies import STANDARD
from tests import toys
from tests.tiny import make_model
from tests.unit.studies.papers.recurrent.small import TEXT, answer, backend, loaded, parts, softmax

WORDS = TEXT.text.split()


def laboratory(kind: EncoderKind = EncoderKind.PROJECTION) -> Laboratory:
    """Of the small model."""
    return Laboratory(model=loaded(backend(kind)), policy=STANDARD, kinds=(MapKind.RAW_ATTENTION,))


def probability(logits: Floats) -> float:
    """Of the second class."""
    return float(1 / (1 + np.exp(logits[0] - logits[1])))


def test_leave_one_out_is_the_change_of_the_shorter_text() -> None:
    """|dy| when a word is taken out of the text and everything is computed anew."""
    found = laboratory(EncoderKind.LSTM)
    inquiry = Inquiry.of(found, TEXT)
    whole = probability(inquiry.subject.base.logits)
    for number, change in enumerate(inquiry.leave_one_out()):
        rest = TextInput(text=" ".join(WORDS[:number] + WORDS[number + 1 :]))
        assert change == pytest.approx(abs(probability(Inquiry.of(found, rest).subject.base.logits) - whole), abs=1e-6)


def test_tau_is_kendalls_and_of_nothing_where_there_is_no_order() -> None:
    """As scipy has it; attention that is all alike has no order."""
    inquiry = Inquiry.of(laboratory(), TEXT)
    reference = np.array([0.3, 0.1, 0.5, 0.2, 0.4])
    expected = kendalltau(inquiry.attention.scores, reference)
    assert inquiry.tau(inquiry.attention.scores, reference) == pytest.approx((expected.statistic, expected.pvalue))
    assert inquiry.tau(np.full(5, 0.2), reference) is None


def test_the_gradient_by_attention_is_what_each_state_says() -> None:
    """The margin is linear in the weights: its gradient by one is that state's part of it."""
    found = backend()
    inquiry = Inquiry.of(Laboratory(model=loaded(found), policy=STANDARD, kinds=(MapKind.RAW_ATTENTION,)), TEXT)
    states, _ = parts(found, inquiry.subject.encoding.input_ids[1:-1].tolist())
    direction = inquiry.subject.decision.gradient(inquiry.subject.base.logits)
    expected = states @ (found.network.classifier.weight.numpy().T @ direction)
    np.testing.assert_allclose(inquiry.attention_gradient(), expected, atol=1e-6)


def test_the_furthest_attention_keeps_the_prediction_and_more_tolerance_does_not_shorten_it() -> None:
    """Within ln 2, at least as far as the drawn rows that keep it."""
    inquiry = Inquiry.of(laboratory(EncoderKind.LSTM), TEXT)
    near, far = (inquiry.furthest(t, restarts=4, steps=60, step_size=0.2) for t in (0.001, 0.5))
    assert 0 <= near <= far + 0.05
    assert 0.1 < far <= math.log(2)


def test_jain_and_wallaces_numbers_of_one_input() -> None:
    """Taus by the formula, permutations within the bounds, and nothing said of two words."""
    found = laboratory()
    case = jain_wallace(found, TEXT, Effort(steps=20, step_size=0.3))
    assert case is not None
    inquiry = Inquiry.of(found, TEXT)
    expected = kendalltau(inquiry.attention.scores, inquiry.leave_one_out())
    assert case["taus"]["leave_one_out"][0] == pytest.approx(expected.statistic)
    assert 0 <= case["median_change"] <= 1
    assert case["same"] <= case["counting"] <= 100
    assert case["largest"] == pytest.approx(inquiry.attention.scores.max())
    assert jain_wallace(found, TextInput(text="good film"), Effort(steps=1, step_size=0.1)) is None


@pytest.mark.parametrize("text", ["very good film not bad", "bad film good plot very not", "not not bad good"])
def test_erasure_is_zeroing_and_renormalising(text: str) -> None:
    """The share of words that have to go by the order of attention, word by word in numpy; and the top word alone."""
    found = backend()
    case = serrano_smith(
        Laboratory(model=loaded(found), policy=STANDARD, kinds=(MapKind.RAW_ATTENTION,)), TextInput(text=text)
    )
    assert case is not None
    ids = found.encode(TextInput(text=text)).input_ids[1:-1].tolist()
    states, scores = parts(found, ids)
    base = answer(found, softmax(scores), states)
    order = np.argsort(-softmax(scores), kind="stable")
    n, expected = len(ids), 1.0
    for erased in range(n - 1, 0, -1):
        left = softmax(np.where(np.isin(np.arange(n), order[:erased]), -np.inf, scores))
        if answer(found, left, states).argmax() != base.argmax():
            expected = erased / n
    assert case["fractions"]["attention"] == pytest.approx(expected)
    without = answer(found, softmax(np.where(np.arange(n) == order[0], -np.inf, scores)), states)
    assert case["top"]["flips"] == (without.argmax() != base.argmax())
    assert case["top"]["js"] == pytest.approx(float(jensen_shannon(softmax(base), softmax(without))), abs=1e-6)
    assert set(ORDERS) < set(case["fractions"])


def test_the_gradient_by_attention_of_a_transformer_is_the_step_of_a_bias(tmp_path: Path) -> None:
    """By the chain rule through the softmax a bias moves the margin by a (g - sum of a g), head by head.

    So what is left of the gradient after the steps over the weights is the same for every word.
    """
    model = load_model(make_model("bert", tmp_path / "m"))
    found = Laboratory(model=model, policy=STANDARD, kinds=(MapKind.RAW_ATTENTION,))
    inquiry = Inquiry.of(found, TextInput(text="a dull film"))
    subject, step, backend_shape = inquiry.subject, 0.1, model.backend.shape
    shape = (backend_shape.layers, backend_shape.heads, subject.encoding.length)
    backend = found.engine.differentiable(NAME)
    weights = backend.biased(subject.encoding, torch.zeros(1, *shape)).probabilities[-1][0, :, 0].numpy()
    gradient = inquiry.attention_gradient()
    left = gradient.copy()
    for unit, head in np.ndindex(subject.n, backend_shape.heads):
        tokens = np.flatnonzero(subject.encoding.tokens_of(subject.selection((unit,))))
        for token in tokens:
            bias = np.zeros(shape)
            bias[-1, head, token] = step
            up, down = inquiry.bench.run([Row(edit=AttentionEdit.BIASED, bias=sign * bias) for sign in (1, -1)])
            moved = (subject.decision.margin(up.logits) - subject.decision.margin(down.logits)) / (2 * step)
            left[unit] -= moved / weights[head, token] / len(tokens)
    assert np.ptp(gradient) > 0
    assert np.ptp(left) < 0.02 * np.ptp(gradient)


def test_erasure_of_a_transformer_is_in_its_last_layer() -> None:
    """A model whose one layer is its mechanism: without its top word the answer is another one."""
    found = Laboratory(model=toys.selector(), policy=STANDARD, kinds=(MapKind.RAW_ATTENTION,))
    case = serrano_smith(found, TextInput(text=" ".join([*toys.SALIENCE][:6])))
    assert case is not None
    assert case["top"]["js"] > 0


def test_replaced_attention_answers_as_the_formula_does() -> None:
    """Uniform attention is the mean state; one's own attention is oneself; every share is one."""
    found = backend()
    texts = [TextInput(text=text) for text in ("very good film", "bad plot not good", "film", "not very bad plot")]
    labels = []
    for text in texts:
        states, scores = parts(found, found.encode(text).input_ids[1:-1].tolist())
        labels.append(int(answer(found, np.full(len(scores), 1 / len(scores)), states).argmax()))
    said = replaced(loaded(found), texts, labels)
    assert said["uniform"]["accuracy"] == 1.0
    assert said["own"]["same"] == 1.0
    assert all(0 <= share <= 1 for one in said.values() for share in one.values())
