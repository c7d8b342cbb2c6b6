"""Maps by layer and mixing, against matrices written out; and what the study says of references that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification

from rollcall.domain.inputs import TextInput
from rollcall.domain.rows import RemovalOperator
from rollcall.models.loading import load_model
from rollcall.studies.laboratory import Laboratory
from rollcall.studies.papers.abnar_zuidema.study import (
    agreement,
    every_token,
    flow_by_layer,
    fused_attention,
    look,
    mixing,
    raw_by_layer,
    rollout_by_layer,
)
from rollcall.verdict.policies import STANDARD
from tests.tiny import TEXT, make_model


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    """A random BERT."""
    directory = make_model("bert", tmp_path_factory.mktemp("model"), classes=2)
    return Laboratory(model=load_model(directory), policy=STANDARD)


def test_rollout_of_each_layer_is_the_product_of_the_layers_below(laboratory: Laboratory) -> None:
    """Half attention, half identity, multiplied out in numpy; over all tokens, so that nothing is dropped."""
    subject = laboratory.open(TextInput(text=TEXT)).subject
    fused = fused_attention(laboratory, subject)
    found = rollout_by_layer(fused, every_token(subject.encoding))
    product = np.eye(fused.shape[-1])
    for layer, attention in enumerate(fused):
        product = (attention + np.eye(len(attention))) / 2 @ product
        np.testing.assert_allclose(found[layer], product[0], atol=1e-6)


def test_after_one_layer_flow_is_rollout_and_over_words_both_are_raw_attention(laboratory: Laboratory) -> None:
    """What the residual adds stands on the read-out token, which is no word: so the paper's figures are over tokens."""
    subject = laboratory.open(TextInput(text=TEXT)).subject
    fused = fused_attention(laboratory, subject)
    for encoding in (subject.encoding, every_token(subject.encoding)):
        np.testing.assert_allclose(flow_by_layer(fused, encoding)[0], rollout_by_layer(fused, encoding)[0], atol=1e-6)
    words, tokens = subject.encoding, every_token(subject.encoding)
    np.testing.assert_allclose(raw_by_layer(fused, words)[0], rollout_by_layer(fused, words)[0], atol=1e-6)
    assert not np.allclose(raw_by_layer(fused, tokens)[0], rollout_by_layer(fused, tokens)[0], atol=1e-2)


def test_references_are_those_of_masking_and_of_the_gradient(laboratory: Laboratory) -> None:
    """One per unit; masking a word out moves the probability by what the stock model says."""
    bench = laboratory.open(TextInput(text=TEXT))
    subject = bench.subject
    seen = look(bench, fused_attention(laboratory, subject))
    assert {len(values) for values in seen.references.values()} == {subject.n}
    (result,) = bench.run([subject.removal((2,), RemovalOperator.MASK_TOKEN)])
    change = abs(subject.probabilities([result])[0] - subject.probabilities([subject.base])[0])
    assert seen.references["blank-out"][2] == pytest.approx(change)


def test_uniform_attention_mixes_everything_at_once_and_none_never() -> None:
    """Two positions under uniform attention: 3/4 and 1/4, then 5/8 and 3/8; under identity they stay ln 2 apart."""
    uniform, identity = np.full((2, 2, 2), 0.5), np.stack([np.eye(2)] * 2)
    _, own = mixing(uniform)
    np.testing.assert_allclose(own, [0.75, 0.625])
    apart, own = mixing(identity)
    np.testing.assert_allclose(apart, [np.log(2)] * 2)
    np.testing.assert_allclose(own, [1.0, 1.0])


def test_what_is_constant_has_no_order() -> None:
    """No correlation, rather than NaN or 0; else ties have the mean of their ranks."""
    assert agreement(np.ones(4), np.arange(4.0)) is None
    assert agreement(np.arange(4.0), np.array([0.0, 1.0, 1.0, 2.0])) == pytest.approx(0.9487, abs=1e-4)


def test_the_gradient_summed_over_an_embedding_is_nothing_before_a_layer_norm(tmp_path: Path) -> None:
    """The paper's input gradient cannot be had here: adding the same to every dimension changes nothing."""
    directory = make_model("bert", tmp_path / "m", classes=2)
    model = BertForSequenceClassification.from_pretrained(directory).train(mode=False)
    words = model.get_input_embeddings()(torch.tensor([[2, 9, 11, 3]])).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model(inputs_embeds=words).logits[0, 0], words)
    assert gradient.abs().max() > 1e-2
    assert gradient.sum(dim=-1).abs().max() < 1e-4 * gradient.abs().sum(dim=-1).max()
