"""What the stock library says of an input, and the maps that the papers make of it.

Everything here is computed from the stock model's own outputs and weights, by the papers' formulas written out in
numpy in float64: whole products of T x T matrices, whole T x T x E arrays of transformed vectors. Nothing is shared
with the service. `EXPLICIT` is the stock library's own extension point, with a softmax that the tests can edit.

Shapes: B batch, L layer, H head, T token, D width of a head, E width of the model, C class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from rollcall.domain.maps import Floats
from tests.tiny import Tiny

TYPED = ("bert", "electra", "albert", "deberta-v2")
"""Families that take type ids."""
SINGLE_SOFTMAX = ("modernbert",)
"""Families whose own explicit attention is in single precision, whatever the model's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch as the stock library takes it: ids, mask and types [B, T]."""

    ids: torch.Tensor
    mask: torch.Tensor
    types: torch.Tensor

    @classmethod
    def of(cls, *rows: tuple[int, ...], pad: int = 0) -> Batch:
        """Rows of ids, the shorter ones padded at the end."""
        longest = max(len(row) for row in rows)
        ids = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        return cls(ids=ids, mask=mask, types=torch.zeros_like(ids))


def random_ids(tiny: Tiny, length: int, seed: int = 0) -> tuple[int, ...]:
    """Ids of `length` tokens, classification and separator token included, without other special ones."""
    tokenizer = tiny.backend._encoder.tokenizer
    ordinary = sorted(set(range(len(tokenizer))) - set(tokenizer.all_special_ids))
    chosen = np.random.default_rng(seed).choice(ordinary, size=length - 2)
    return (tokenizer.cls_token_id, *(int(i) for i in chosen), tokenizer.sep_token_id)


def arguments(tiny: Tiny, batch: Batch) -> dict[str, torch.Tensor]:
    """Arguments of a stock forward."""
    types = {"token_type_ids": batch.types} if tiny.family in TYPED else {}
    return {"input_ids": batch.ids, "attention_mask": batch.mask, **types}


@torch.no_grad()
def stock_logits(tiny: Tiny, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """Logits [B, C]."""
    logits: torch.Tensor = model(**arguments(tiny, batch)).logits
    return logits


EXPLICIT = "explicit_in_tests"
Edit = Callable[[int, torch.Tensor], torch.Tensor]
"""From the number of a layer and its probabilities [B, H, T, T] to those that are used instead."""


@dataclass(slots=True, kw_only=True)
class Editing:
    """Edits the probabilities of one forward, layer after layer."""

    edit: Edit
    layer: int = 0

    def __call__(self, probabilities: torch.Tensor) -> torch.Tensor:
        """Edit the next layer's."""
        self.layer += 1
        return self.edit(self.layer - 1, probabilities)


def attend_explicitly(
    module: torch.nn.Module,  # noqa: ARG001 - the interface's signature
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    editing: Editing,
    scaling: float | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Softmax by hand, then the edit, then the product with the values."""
    scores = torch.einsum("bhqd,bhkd->bhqk", query, key) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = scores if attention_mask is None else scores + attention_mask
    exponentials = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    probabilities = editing(exponentials / exponentials.sum(dim=-1, keepdim=True))
    return torch.einsum("bhqk,bhkd->bqhd", probabilities, value), None


AttentionInterface.register(EXPLICIT, attend_explicitly)
AttentionMaskInterface.register(EXPLICIT, eager_mask)


@torch.no_grad()
def edited(tiny: Tiny, model: PreTrainedModel, batch: Batch, edit: Edit) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [B, C] and read-out states [B, E] of a stock model with EXPLICIT attention, under an edit."""
    output = model(**arguments(tiny, batch), editing=Editing(edit=edit), output_hidden_states=True)
    return output.logits, output.hidden_states[-1][:, 0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The stock eager model's outputs for one row: `attention` [L, H, T, T], `states` [L + 1, T, E], `logits` [C]."""

    attention: Floats
    states: Floats
    logits: Floats


@torch.no_grad()
def read(tiny: Tiny, batch: Batch, row: int = 0) -> Reading:
    """Run the stock eager model; the row's padding is cut off."""
    output = tiny.eager(**arguments(tiny, batch), output_attentions=True, output_hidden_states=True)
    length = int(batch.mask[row].sum())
    attention = torch.stack([layer[row, :, :length, :length] for layer in output.attentions])
    states = torch.stack([layer[row, :length] for layer in output.hidden_states])
    return Reading(
        attention=attention.double().numpy(), states=states.double().numpy(), logits=output.logits[row].double().numpy()
    )


def gradients_of_log_odds(tiny: Tiny, batch: Batch, target: int) -> tuple[Floats, Floats]:
    """Attention, and the gradient of log(p / (1 - p)) at it, both [L, H, T, T], as torch differentiates stock eager."""
    arrays = arguments(tiny, batch)
    embedded = tiny.eager.get_input_embeddings()(arrays.pop("input_ids")).detach().requires_grad_()
    output = tiny.eager(inputs_embeds=embedded, **arrays, output_attentions=True)
    chance = output.logits[0].double().softmax(dim=-1)[target]
    gradients = torch.autograd.grad((chance / (1 - chance)).log(), output.attentions)
    return (
        torch.stack([layer[0] for layer in output.attentions]).detach().double().numpy(),
        torch.stack([layer[0] for layer in gradients]).double().numpy(),
    )


def raw_attention(attention: Floats) -> Floats:
    """Last layer, read-out row, mean over heads [T]."""
    return np.asarray(attention[-1, :, 0].mean(axis=0))


def attention_rollout(attention: Floats) -> Floats:
    """Abnar and Zuidema 2020: the product of (A + I) / 2 over all layers, read-out row [T]."""
    length = attention.shape[-1]
    product = np.eye(length)
    for layer in attention.mean(axis=1):
        product = (layer + np.eye(length)) / 2 @ product
    return np.asarray(product[0])


def gradient_rollout(attention: Floats, gradients: Floats) -> Floats:
    """Chefer et al. 2021b: R = I, then R += mean over heads of (gradient * attention)+ times R; row of R - I [T]."""
    length = attention.shape[-1]
    relevance = np.eye(length)
    for layer, gradient in zip(attention, gradients, strict=True):
        relevance += (gradient * layer).clip(min=0).mean(axis=0) @ relevance
    return np.asarray((relevance - np.eye(length))[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockWeights:
    """Weights of one block, by what they do."""

    value: Floats
    value_bias: Floats
    out: Floats
    out_bias: Floats
    first_gain: Floats
    second_gain: Floats


_NAMES = {
    "distilbert": (
        "distilbert.transformer.layer.{}.",
        ("attention.v_lin", "attention.out_lin", "sa_layer_norm", "output_layer_norm"),
    ),
    "albert": (
        "albert.encoder.albert_layer_groups.0.albert_layers.0.",
        ("attention.value", "attention.dense", "attention.LayerNorm", "full_layer_layer_norm"),
    ),
}
_BERT_NAMES = ("attention.self.value", "attention.output.dense", "attention.output.LayerNorm", "output.LayerNorm")
_PREFIXES = {
    "bert": "bert",
    "electra": "electra",
    "roberta": "roberta",
    "xlm-roberta": "roberta",
    "camembert": "roberta",
}


def block_weights(tiny: Tiny, layer: int) -> BlockWeights:
    """Weights of layer number `layer`, from the stock model's state dictionary."""
    if tiny.family in _NAMES:
        prefix, names = _NAMES[tiny.family]
    else:
        prefix, names = f"{_PREFIXES[tiny.family]}.encoder.layer.{{}}.", _BERT_NAMES
    weights = tiny.eager.state_dict()
    value, out, first, second = (prefix.format(layer) + name for name in names)

    def array(name: str) -> Floats:
        return np.asarray(weights[name].double().numpy())

    return BlockWeights(
        value=array(f"{value}.weight"),
        value_bias=array(f"{value}.bias"),
        out=array(f"{out}.weight"),
        out_bias=array(f"{out}.bias"),
        first_gain=array(f"{first}.weight"),
        second_gain=array(f"{second}.weight"),
    )


def norm_rollout(tiny: Tiny, reading: Reading) -> Floats:
    """GlobEnc (Modarressi et al. 2022) without the feed-forward part: every transformed vector is built, T x T x E.

    What query i takes from key j is sum_h A[h, i, j] W_o^h (W_v^h x_j + b_v^h), and x_i itself where i = j. A layer
    norm takes its mean out, scales it by the gain, and divides it by the standard deviation of what is normalised.
    """
    layers, heads, length, _ = reading.attention.shape
    product = np.eye(length)
    for layer in range(layers):
        weights, states = block_weights(tiny, layer), reading.states[layer]
        values = (states @ weights.value.T + weights.value_bias).reshape(length, heads, -1)
        out = weights.out.reshape(weights.out.shape[0], heads, -1)
        transformed = np.einsum("hij,jhd,ehd->ije", reading.attention[layer], values, out)
        transformed[np.arange(length), np.arange(length)] += states
        summed = transformed.sum(axis=1) + weights.out_bias
        centred = transformed - transformed.mean(axis=-1, keepdims=True)
        normed = centred / summed.std(axis=-1)[:, None, None] * weights.first_gain
        again = (normed - normed.mean(axis=-1, keepdims=True)) * weights.second_gain
        norms = np.linalg.norm(again, axis=-1)
        product = norms / norms.sum(axis=-1, keepdims=True) @ product
    return np.asarray(product[0])


def over_content(weights: Floats) -> tuple[Floats, float]:
    """Weights of the tokens between the first and the last, renormalised, and the share that lay on those two."""
    content = weights[1:-1]
    return content / content.sum(), float(1 - content.sum() / weights.sum())
