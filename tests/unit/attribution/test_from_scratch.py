"""Every map of a real model against an independent computation from the stock model's own outputs.

NORM_ROLLOUT is computed as its papers define it (Kobayashi et al. 2021, Modarressi et al. 2022): every transformed
value vector is built, T x T x E numbers per layer, and taken through both layer norms as the real forward did.

Shapes: T token, H head, D width of a head, E width of the model, L layer.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from transformers import AutoModelForSequenceClassification

from rollcall.backends.base import CaptureRequest
from rollcall.domain.decision import Decision, Task
from rollcall.domain.inputs import Encoding, TextInput
from rollcall.domain.maps import Floats, MapKind, MapOptions
from rollcall.engine.engine import Engine
from rollcall.models.loading import load_model
from tests.tiny import TEXT, make_model

TARGET = 2

MODULES = {
    "bert": ("attention.self.value", "attention.output.dense", "attention.output.LayerNorm", r"\d.output.LayerNorm"),
    "distilbert": ("attention.v_lin", "attention.out_lin", "sa_layer_norm", "output_layer_norm"),
    "albert": ("attention.value", "attention.dense", "attention.LayerNorm", "full_layer_layer_norm"),
}
"""Ends of the names of value projection, output projection, first and second layer norm, as patterns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """What the stock eager model says of one input."""

    attentions: list[Floats]
    """[H, T, T] per layer."""
    gradients: list[Floats]
    """Of the margin, likewise."""
    calls: dict[str, list[tuple[Any, Floats]]]
    """By end of the name: module and input [T, E] of each call."""


@cache
def observed(family: str) -> tuple[Stock, Encoding, dict[MapKind, Floats]]:
    """One text through the stock model, and the maps that Rollcall makes of it."""
    with TemporaryDirectory() as directory:
        path = make_model(family, Path(directory), seed=3)
        stock = AutoModelForSequenceClassification.from_pretrained(path, attn_implementation="eager")
        loaded = load_model(path)
    encoding = loaded.backend.encode(TextInput(text=TEXT))
    decision = Decision(task=Task.SINGLE_LABEL, target=TARGET)
    request = CaptureRequest(maps=frozenset(MapKind), options=MapOptions(), decide=lambda _: decision, attention=None)
    captured = Engine(models={"": loaded}).capture("", encoding, request)
    return _run(stock.eval(), family, encoding), encoding, {m.kind: m.scores for m in captured.maps}


def _run(model: torch.nn.Module, family: str, encoding: Encoding) -> Stock:
    calls: dict[str, list[tuple[Any, Floats]]] = defaultdict(list)
    for name, module in model.named_modules():
        for end in MODULES[family]:
            if re.search(f"{end}$", name):
                module.register_forward_hook(
                    lambda called, inputs, _, end=end: calls[end].append(
                        (called, inputs[0][0].detach().double().numpy())
                    )
                )
    output = model(input_ids=torch.from_numpy(encoding.input_ids).unsqueeze(0), output_attentions=True)
    logits = output.logits[0]
    others = [c for c in range(len(logits)) if c != TARGET]
    margin = logits[TARGET] - torch.logsumexp(logits[others], dim=0)
    gradients = torch.autograd.grad(margin, output.attentions)
    return Stock(
        attentions=[a[0].detach().double().numpy() for a in output.attentions],
        gradients=[g[0].double().numpy() for g in gradients],
        calls=dict(calls),
    )


def through_norm(norm: Any, full_input: Floats, vectors: Floats) -> Floats:  # noqa: ANN401 - a layer norm
    """Linear part of a layer norm on vectors [T, T, E] that sum, over their second axis, to `full_input` [T, E]."""
    deviation = np.sqrt(full_input.var(axis=1) + norm.eps)
    centred = vectors - vectors.mean(axis=-1, keepdims=True)
    return np.asarray(centred / deviation[:, None, None] * norm.weight.detach().double().numpy())


def norms_from_scratch(family: str) -> list[Floats]:
    """Norms [T, T] of all transformed vectors of each layer, rows summing to 1."""
    stock, _, _ = observed(family)
    value_end, dense_end, first_end, second_end = MODULES[family]
    result = []
    for layer, attention in enumerate(stock.attentions):
        value, states = stock.calls[value_end][layer]
        dense = stock.calls[dense_end][layer][0].weight.detach().double().numpy()
        heads, length, _ = attention.shape
        values = states @ value.weight.detach().double().numpy().T + value.bias.detach().double().numpy()
        vectors = np.zeros((length, length, states.shape[1]))
        for query in range(length):
            for key in range(length):
                weighted = attention[:, query, key, None] * values[key].reshape(heads, -1)
                vectors[query, key] = dense @ weighted.reshape(-1)
            vectors[query, query] += states[query]
        first, first_input = stock.calls[first_end][layer]
        second, second_input = stock.calls[second_end][layer]
        bias = stock.calls[dense_end][layer][0].bias.detach().double().numpy()
        assert_allclose(vectors.sum(axis=1) + bias, first_input, atol=1e-4)
        vectors = through_norm(second, second_input, through_norm(first, first_input, vectors))
        norms = np.linalg.norm(vectors, axis=-1)
        result.append(norms / norms.sum(axis=1, keepdims=True))
    return result


def over_words(weights: Floats, encoding: Encoding) -> Floats:
    """Sum token weights over words and normalise."""
    sums = np.array([weights[unit.token_start : unit.token_end].sum() for unit in encoding.units])
    return np.asarray(sums / sums.sum())


def product(factors: list[Floats]) -> Floats:
    """Read-out row of the product, the first layer rightmost."""
    result = np.eye(len(factors[0]))
    for factor in factors:
        result = factor @ result
    return np.asarray(result[0])


@pytest.mark.parametrize("family", MODULES)
def test_raw_attention_is_the_last_layers(family: str) -> None:
    """Raw attention equals the stock model's own."""
    stock, encoding, maps = observed(family)
    expected = stock.attentions[-1].mean(axis=0)[0]
    assert_allclose(maps[MapKind.RAW_ATTENTION], over_words(expected, encoding), atol=1e-5)


@pytest.mark.parametrize("family", MODULES)
def test_rollout_is_the_product_of_the_layers(family: str) -> None:
    """Rollout equals the product of half attention, half identity."""
    stock, encoding, maps = observed(family)
    expected = product([(a.mean(axis=0) + np.eye(a.shape[1])) / 2 for a in stock.attentions])
    assert_allclose(maps[MapKind.ATTENTION_ROLLOUT], over_words(expected, encoding), atol=1e-5)


@pytest.mark.parametrize("family", MODULES)
def test_gradient_rollout_is_made_of_the_stock_models_gradients(family: str) -> None:
    """Gradient rollout equals the definition applied to gradients that the stock eager model gives."""
    stock, encoding, maps = observed(family)
    relevance = np.eye(encoding.length)
    for attention, gradient in zip(stock.attentions, stock.gradients, strict=True):
        relevance = relevance + np.maximum(attention * gradient, 0).mean(axis=0) @ relevance
    assert_allclose(maps[MapKind.GRADIENT_ROLLOUT], over_words(relevance[0], encoding), atol=1e-5)


@pytest.mark.parametrize("family", MODULES)
def test_norm_rollout_is_made_of_every_transformed_vector(family: str) -> None:
    """The quadratic form that never builds T x T x E gives what building every vector gives."""
    _, encoding, maps = observed(family)
    expected = product(norms_from_scratch(family))
    assert_allclose(maps[MapKind.NORM_ROLLOUT], over_words(expected, encoding), atol=1e-5)


@pytest.mark.parametrize("family", MODULES)
def test_the_four_maps_differ(family: str) -> None:
    """The comparisons above would notice one map in the place of another."""
    maps = list(observed(family)[2].values())
    assert all(np.abs(a - b).max() > 1e-3 for i, a in enumerate(maps) for b in maps[:i])
