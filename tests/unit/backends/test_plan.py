"""The operators on attention, one layer at a time, against attention worked out by hand, query by query.

Shapes: B batch, H head, Q query, K key, D width of a head, R selected rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from rollcall.backends.attention_hook import attend
from rollcall.backends.plan import (
    BatchPlan,
    Blend,
    LayerEdit,
    MapSource,
    Permutation,
    attention_probabilities,
    permuted_probabilities,
)
from rollcall.domain.maps import Floats

Tensor = torch.Tensor

ROWS, HEADS, LENGTH, WIDTH = 4, 3, 7, 5
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


class Encoder(torch.nn.Module):
    """What a bidirectional model's attention module says of itself."""

    is_causal = False


@dataclass(slots=True, kw_only=True)
class Watcher:
    """Keeps what it is shown."""

    rows: Tensor
    seen: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)

    def observe(self, probabilities: Tensor, value: Tensor) -> None:
        """Keep one layer."""
        self.seen.append(probabilities)
        self.values.append(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Queries, keys and values of one layer [B, H, T, D], and its mask."""

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None

    def under(self, plan: BatchPlan | None, scaling: float | None = None) -> Tensor:
        """Context [B, Q, H, D] under a plan."""
        context, weights = attend(
            Encoder(), self.query, self.key, self.value, self.mask, scaling=scaling, rollcall_plan=plan
        )
        assert weights is None
        return context

    def edited(self, edit: LayerEdit) -> Tensor:
        """Context under one edit."""
        return self.under(BatchPlan(edits={0: edit}))


MASKS = ("none", "padded", "scores")


def visible_keys() -> Tensor:
    """Two padded rows, the second one down to a single key."""
    visible = torch.ones(ROWS, 1, LENGTH, LENGTH, dtype=torch.bool)
    visible[1, ..., 4:] = False
    visible[3, ..., 1:] = False
    return visible


@pytest.fixture(params=[torch.float64, torch.float32], ids=["double", "single"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """Both precisions."""
    chosen: torch.dtype = request.param
    return chosen


@pytest.fixture(params=MASKS)
def layer(request: pytest.FixtureRequest, dtype: torch.dtype) -> Layer:
    """A layer without a mask, with padding, and with padding and scores in an additive mask."""
    generator = torch.Generator().manual_seed(1)
    query, key, value = (
        torch.randn(ROWS, HEADS, LENGTH, WIDTH, dtype=dtype, generator=generator) * 2 for _ in range(3)
    )
    mask: Tensor | None = None
    if request.param == "padded":
        mask = visible_keys()
    elif request.param == "scores":
        mask = torch.randn(ROWS, HEADS, LENGTH, LENGTH, dtype=dtype, generator=generator)
        mask = mask.masked_fill(~visible_keys(), torch.finfo(dtype).min)
    return Layer(query=query, key=key, value=value, mask=mask)


def by_hand(layer: Layer, bias: Tensor | None = None, scale: float = WIDTH**-0.5) -> Floats:
    """Probabilities [B, H, Q, K], each query on its own: a softmax over the keys that it may see."""
    query, key = layer.query.double().numpy(), layer.key.double().numpy()
    lowest = torch.finfo(layer.query.dtype).min / 2
    found = np.zeros((ROWS, HEADS, LENGTH, LENGTH))
    for row, head, i in np.ndindex(ROWS, HEADS, LENGTH):
        scores = np.array([scale * query[row, head, i] @ key[row, head, j] for j in range(LENGTH)])
        for extra in (layer.mask, bias):
            if extra is not None:
                added = extra.expand(ROWS, HEADS, LENGTH, LENGTH)[row, head, i]
                scores += np.where(added.numpy(), 0, -np.inf) if added.dtype is torch.bool else added.double().numpy()
        scores[scores < lowest] = -np.inf
        weights = np.exp(scores - scores.max())
        found[row, head, i] = weights / weights.sum()
    return found


def context(probabilities: Floats, layer: Layer) -> Floats:
    """Context [B, Q, H, D]."""
    return np.asarray(np.einsum("bhqk,bhkd->bqhd", probabilities, layer.value.double().numpy()))


def close(found: Tensor, expected: Floats) -> bool:
    """Whether two arrays are equal up to rounding, and the first one is of numbers."""
    return bool(np.abs(found.detach().double().numpy() - expected).max() <= TOLERANCE[found.dtype])


def rows_of(*rows: int) -> Tensor:
    """Select rows."""
    return torch.tensor(rows)


def test_no_plan_is_the_stock_call_bit_for_bit(layer: Layer) -> None:
    """Traffic that asks for nothing special is attended to by the stock library's own function."""
    expected, _ = sdpa_attention_forward(Encoder(), layer.query, layer.key, layer.value, layer.mask)
    assert torch.equal(layer.under(None), expected)
    assert torch.equal(layer.under(BatchPlan()), expected)
    assert torch.equal(layer.under(BatchPlan(edits={1: _uniform(0)})), expected)


def test_explicit_attention_is_softmax_attention(layer: Layer) -> None:
    """What is captured is what the fused kernel computes but does not tell."""
    watcher = Watcher(rows=rows_of(0, 1, 2, 3))
    explicit = layer.under(BatchPlan(observer=watcher, explicit=True))
    beside = Watcher(rows=rows_of(0, 1, 2, 3))
    fused = layer.under(BatchPlan(observer=beside))
    expected = by_hand(layer)
    for found in (watcher.seen[0], beside.seen[0]):
        assert close(found, expected)
        assert (found[torch.from_numpy(expected) == 0] == 0).all()
    assert close(explicit, context(expected, layer))
    assert close(fused, context(expected, layer))


def test_scaling_is_the_models(layer: Layer) -> None:
    """A model that scales its scores in its own way is captured in its own way."""
    watcher = Watcher(rows=rows_of(0, 1, 2, 3))
    assert close(layer.under(BatchPlan(observer=watcher), scaling=0.3), context(by_hand(layer, scale=0.3), layer))
    assert close(watcher.seen[0], by_hand(layer, scale=0.3))


def test_observers_see_their_rows_only(layer: Layer) -> None:
    """Only the rows that somebody asked for are computed explicitly."""
    watcher = Watcher(rows=rows_of(1, 3))
    layer.under(BatchPlan(observer=watcher))
    assert close(watcher.seen[0], by_hand(layer)[[1, 3]])
    assert torch.equal(watcher.values[0], layer.value[[1, 3]])


def test_own_map_put_back_changes_nothing(layer: Layer) -> None:
    """Identity replay is the identity."""
    edit = LayerEdit(blends=(Blend(rows=rows_of(0, 1), gate=1.0, source=MapSource.OWN),))
    assert close(layer.edited(edit), context(by_hand(layer), layer))


def test_uniform_attention_spreads_over_visible_keys(layer: Layer) -> None:
    """Uniform attention gives each visible key the same weight, and padding none."""
    expected = by_hand(layer)
    seen = expected[1] > 0
    expected[1] = seen / seen.sum(axis=-1, keepdims=True)
    assert close(layer.edited(_uniform(1)), context(expected, layer))


def test_a_blend_is_gated_by_head(layer: Layer) -> None:
    """A given map is mixed in by each row's and head's own share; a share of 0 leaves the head alone."""
    given = torch.rand(2, HEADS, LENGTH, LENGTH, dtype=layer.query.dtype, generator=torch.Generator().manual_seed(2))
    given = given / given.sum(dim=-1, keepdim=True)
    gate = torch.tensor([[0.0, 0.25, 1.0], [0.5, 0.0, 0.125]], dtype=layer.query.dtype).reshape(2, HEADS, 1, 1)
    expected = by_hand(layer)
    for at, row in enumerate((2, 0)):
        for head in range(HEADS):
            share = float(gate[at, head])
            expected[row, head] = (1 - share) * expected[row, head] + share * given[at, head].double().numpy()
    edit = LayerEdit(blends=(Blend(rows=rows_of(2, 0), gate=gate, source=given),))
    assert close(layer.edited(edit), context(expected, layer))


def test_a_given_map_may_be_shared(layer: Layer) -> None:
    """One row of weights can serve all heads and all queries."""
    given = torch.softmax(torch.arange(LENGTH, dtype=layer.query.dtype), dim=0).reshape(1, 1, 1, LENGTH)
    expected = by_hand(layer)
    expected[2] = given.double().numpy()
    edit = LayerEdit(blends=(Blend(rows=rows_of(2), gate=1.0, source=given),))
    assert close(layer.edited(edit), context(expected, layer))


def test_permuted_keys_are_permuted_columns(layer: Layer) -> None:
    """A permutation moves columns of the map, by row and head; observers see the moved ones."""
    orders = np.random.default_rng(3).permuted(np.tile(np.arange(LENGTH), (2, HEADS, 1)), axis=-1)
    expected = by_hand(layer)
    for at, row in enumerate((0, 2)):
        for head in range(HEADS):
            expected[row, head] = expected[row, head][:, orders[at, head]]
    watcher = Watcher(rows=rows_of(0, 1, 2))
    edit = LayerEdit(permutation=Permutation(rows=rows_of(0, 2), order=torch.from_numpy(orders)))
    found = layer.under(BatchPlan(edits={0: edit}, observer=watcher))
    assert close(found, context(expected, layer))
    assert close(watcher.seen[0], expected[:3])


@pytest.mark.parametrize("heads", [1, HEADS])
def test_a_knocked_out_key_is_renormalised(layer: Layer, heads: int) -> None:
    """A key that is knocked out gets nothing, and the others what it had, in proportion; heads may differ."""
    bias = torch.zeros(ROWS, heads, 1, LENGTH, dtype=layer.query.dtype)
    bias[1, :, :, 2] = torch.finfo(layer.query.dtype).min
    bias[2, -1, :, :3] = torch.finfo(layer.query.dtype).min
    watcher = Watcher(rows=rows_of(0, 1, 2, 3))
    found = layer.under(BatchPlan(edits={0: LayerEdit(key_bias=bias)}, observer=watcher))
    expected = by_hand(layer, bias)
    assert close(found, context(expected, layer))
    assert close(watcher.seen[0], expected)
    assert (watcher.seen[0][1, :, :, 2] == 0).all()


def test_a_bias_shifts_the_scores(layer: Layer) -> None:
    """A bias adds to the scores of a key before the softmax, so that a search can turn attention gradually."""
    bias = torch.randn(ROWS, HEADS, LENGTH, LENGTH, dtype=layer.query.dtype, generator=torch.Generator().manual_seed(4))
    assert close(layer.edited(LayerEdit(key_bias=bias)), context(by_hand(layer, bias), layer))


def test_edits_belong_to_their_layer(layer: Layer) -> None:
    """A plan for the second layer leaves the first and the third one alone, bit for bit."""
    plan = BatchPlan(edits={1: _uniform(0)})
    first, second, third = (layer.under(plan) for _ in range(3))
    assert torch.equal(first, layer.under(None))
    assert torch.equal(third, first)
    assert torch.equal(second, layer.edited(_uniform(0)))
    assert plan.calls == 3


def test_edits_leave_other_rows_alone_bit_for_bit(layer: Layer) -> None:
    """An edit of two rows is invisible to the other ones."""
    order = torch.arange(LENGTH).flip(0).expand(1, HEADS, LENGTH)
    edit = LayerEdit(
        permutation=Permutation(rows=rows_of(0), order=order),
        blends=(Blend(rows=rows_of(2), gate=1.0, source=MapSource.UNIFORM),),
    )
    untouched, found = layer.under(None), layer.edited(edit)
    assert torch.equal(found[[1, 3]], untouched[[1, 3]])
    assert (found[[0, 2]] - untouched[[0, 2]]).abs().amax(dim=(1, 2, 3)).min() > 0.01


def test_a_map_given_to_a_permuted_row_weighs_the_values_as_they_were(layer: Layer) -> None:
    """A map that replaces permuted attention is about the tokens themselves, not about permuted ones."""
    order = torch.arange(LENGTH).flip(0).expand(1, HEADS, LENGTH)
    given = torch.softmax(torch.arange(LENGTH, dtype=layer.query.dtype), dim=0).reshape(1, 1, 1, LENGTH)
    edit = LayerEdit(
        permutation=Permutation(rows=rows_of(0), order=order),
        blends=(Blend(rows=rows_of(0), gate=1.0, source=given),),
    )
    expected = by_hand(layer)
    expected[0] = given.double().numpy()
    assert close(layer.edited(edit), context(expected, layer))


def test_nothing_visible_is_no_nan(dtype: torch.dtype) -> None:
    """A row whose keys are all hidden gets numbers: equal weights where weights are made, and never NaN."""
    layer = Layer(
        query=torch.randn(1, 1, 2, WIDTH, dtype=dtype),
        key=torch.randn(1, 1, 2, WIDTH, dtype=dtype),
        value=torch.randn(1, 1, 2, WIDTH, dtype=dtype),
        mask=torch.zeros(1, 1, 2, 2, dtype=torch.bool),
    )
    watcher = Watcher(rows=rows_of(0))
    explicit = layer.under(BatchPlan(observer=watcher, explicit=True))
    assert close(watcher.seen[0], np.full((1, 1, 2, 2), 0.5))
    assert close(explicit, context(np.full((1, 1, 2, 2), 0.5), layer))
    hidden = torch.full((1, 1, 1, 2), torch.finfo(dtype).min, dtype=dtype)
    for edit in (_uniform(0), LayerEdit(key_bias=hidden)):
        twice = Watcher(rows=rows_of(0))
        assert layer.under(BatchPlan(edits={0: edit}, observer=twice)).isfinite().all()
        assert close(twice.seen[0], np.full((1, 1, 2, 2), 0.5))
    shown = Layer(query=layer.query, key=layer.key, value=layer.value, mask=None)
    assert close(shown.edited(LayerEdit(key_bias=hidden)), context(np.full((1, 1, 2, 2), 0.5), layer))


def test_equal_scores_share_exactly(dtype: torch.dtype) -> None:
    """Keys that cannot be told apart get exactly the same weight, however large their scores."""
    query = torch.full((1, 1, 1, WIDTH), 1e4, dtype=dtype)
    key = torch.full((1, 1, 4, WIDTH), 1e4, dtype=dtype)
    found = attention_probabilities(query, key, None, 1.0)
    assert torch.equal(found, torch.full((1, 1, 1, 4), 0.25, dtype=dtype))


def test_huge_scores_overflow_nothing(dtype: torch.dtype) -> None:
    """Scores far beyond what exp can take become a choice of one key, beside a padded one."""
    query = torch.full((1, 1, 1, 1), 3e4, dtype=dtype)
    key = torch.tensor([3e4, 1.0, -3e4, 3e4], dtype=dtype).reshape(1, 1, 4, 1)
    mask = torch.tensor([True, True, True, False]).reshape(1, 1, 1, 4)
    assert attention_probabilities(query, key, mask, 1.0).flatten().tolist() == [1, 0, 0, 0]


def test_gradients_reach_every_layers_probabilities(layer: Layer) -> None:
    """An explicit plan lets the caller differentiate with respect to the attention of each layer."""
    watcher = Watcher(rows=rows_of(0, 1, 2, 3))
    plan = BatchPlan(observer=watcher, explicit=True)
    first = layer.under(plan)
    again = Layer(query=first.transpose(1, 2), key=layer.key, value=layer.value, mask=layer.mask)
    gradients = torch.autograd.grad(again.under(plan).square().sum(), watcher.seen)
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_permuting_observed_rows_keeps_the_others() -> None:
    """Of the observed rows only the permuted ones are permuted, whichever of them they are."""
    probabilities = torch.arange(12.0).reshape(3, 1, 1, 4)
    permutation = Permutation(rows=rows_of(5, 9), order=torch.tensor([[[3, 2, 1, 0]], [[1, 0, 2, 3]]]))
    found = permuted_probabilities(probabilities, rows_of(2, 5, 9), permutation)
    assert found.flatten().tolist() == [0, 1, 2, 3, 7, 6, 5, 4, 9, 8, 10, 11]


def _uniform(*rows: int) -> LayerEdit:
    return LayerEdit(blends=(Blend(rows=rows_of(*rows), gate=1.0, source=MapSource.UNIFORM),))
