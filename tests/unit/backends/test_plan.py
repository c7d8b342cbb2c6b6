"""The operators on attention, one layer at a time, against attention worked out by hand, query by query.

Shapes: B batch, H head, Q query, K key, D width of a head, R selected rows, E explicit rows, L layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from rollcall.backends.arrangement import LEAST_ROWS
from rollcall.backends.attention_hook import attend
from rollcall.backends.plan import (
    BatchPlan,
    Blend,
    ExplicitRows,
    LayerEdit,
    MapSource,
    Permutation,
    Tail,
    attention_probabilities,
)
from rollcall.domain.maps import Floats, Ints

Tensor = torch.Tensor

ROWS, HEADS, LENGTH, WIDTH = 4, 3, 7, 5
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


class Encoder(torch.nn.Module):
    """What a bidirectional model's attention module says of itself."""

    is_causal = False


@dataclass(slots=True, kw_only=True)
class Watcher:
    """Keeps what it is shown."""

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

    def first_rows(self, count: int) -> Layer:
        """The first rows alone."""
        mask = None if self.mask is None else self.mask[:count]
        return Layer(query=self.query[:count], key=self.key[:count], value=self.value[:count], mask=mask)

    def after(self, context: Tensor) -> Layer:
        """A second layer, whose queries are the context [B, Q, H, D] of the first."""
        return Layer(query=context.transpose(1, 2), key=self.key, value=self.value, mask=self.mask)


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
    mask: Tensor | None = None
    if request.param == "padded":
        mask = visible_keys()
    elif request.param == "scores":
        generator = torch.Generator().manual_seed(5)
        mask = torch.randn(ROWS, HEADS, LENGTH, LENGTH, dtype=dtype, generator=generator)
        mask = mask.masked_fill(~visible_keys(), torch.finfo(dtype).min)
    return random_layer(dtype, mask)


def random_layer(dtype: torch.dtype, mask: Tensor | None) -> Layer:
    """A layer of random queries, keys and values."""
    generator = torch.Generator().manual_seed(1)
    query, key, value = (
        torch.randn(ROWS, HEADS, LENGTH, WIDTH, dtype=dtype, generator=generator) * 2 for _ in range(3)
    )
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


def plain_attention(query: Tensor, layer: Layer) -> Tensor:
    """Probabilities [B, H, Q, K] of plain attention in torch, for autograd to differentiate."""
    scores = query @ layer.key.transpose(2, 3) * WIDTH**-0.5
    if layer.mask is not None and layer.mask.dtype is torch.bool:
        scores = scores.masked_fill(~layer.mask, -torch.inf)
    elif layer.mask is not None:
        scores = scores + layer.mask
    probabilities: Tensor = scores.softmax(dim=-1)
    return probabilities


def visible_permutations(layer: Layer, row: int, layers: int, seed: int) -> Ints:
    """Permutations [L, H, K] of the keys that a row sees, among themselves."""
    seen = np.flatnonzero(by_hand(layer)[row, 0, 0] > 0)
    orders = np.tile(np.arange(LENGTH), (layers, HEADS, 1))
    orders[..., seen] = np.random.default_rng(seed).permuted(np.tile(seen, (layers, HEADS, 1)), axis=-1)
    return orders


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
    watcher = Watcher()
    explicit = layer.under(BatchPlan(observer=watcher, explicit=ExplicitRows(first=0)))
    beside = Watcher()
    fused = layer.under(BatchPlan(observer=beside, gradients=True))
    expected = by_hand(layer)
    for found in (watcher.seen[0], beside.seen[0]):
        assert close(found, expected)
        assert (found[torch.from_numpy(expected) == 0] == 0).all()
    assert close(explicit, context(expected, layer))
    assert close(fused, context(expected, layer))
    assert torch.equal(watcher.values[0], layer.value)
    assert torch.equal(beside.values[0], layer.value)


def test_scaling_is_the_models(layer: Layer) -> None:
    """A model that scales its scores in its own way is captured in its own way."""
    expected = by_hand(layer, scale=0.3)
    for rest in ({"explicit": ExplicitRows(first=0)}, {"gradients": True}):
        watcher = Watcher()
        assert close(layer.under(BatchPlan(observer=watcher, **rest), scaling=0.3), context(expected, layer))
        assert close(watcher.seen[0], expected)


@pytest.mark.parametrize("first", range(ROWS + 1))
def test_observers_see_the_explicit_rows_only(layer: Layer, first: int) -> None:
    """Only the rows that somebody asked for are computed explicitly; the others are the fused kernel's, to the bit."""
    watcher = Watcher()
    found = layer.under(BatchPlan(observer=watcher, explicit=ExplicitRows(first=first)))
    if first == ROWS:
        assert watcher.seen == []
    else:
        assert close(watcher.seen[0], by_hand(layer)[first:])
        assert torch.equal(watcher.values[0], layer.value[first:])
    if first:
        assert torch.equal(found[:first], layer.first_rows(first).under(None))
    assert close(found, context(by_hand(layer), layer))


def test_an_observer_alone_sees_nothing(layer: Layer) -> None:
    """Where no row is explicit there is nothing to observe, and nothing changes."""
    watcher = Watcher()
    assert torch.equal(layer.under(BatchPlan(observer=watcher)), layer.under(None))
    assert watcher.seen == []


def test_own_map_put_back_changes_nothing(layer: Layer) -> None:
    """Identity replay is the identity: explicit rows without an edit, and the edits that are none."""
    kept = torch.arange(LENGTH).expand(2, HEADS, LENGTH)
    rows = (
        ExplicitRows(first=2),
        ExplicitRows(first=2, orders={0: kept}),
        ExplicitRows(first=2, orders={1: kept.flip(-1)}),
        ExplicitRows(first=2, uniform=torch.zeros(2, 1, dtype=torch.bool)),
    )
    for explicit in rows:
        assert close(layer.under(BatchPlan(explicit=explicit)), context(by_hand(layer), layer))


@pytest.mark.parametrize("padded", [False, True])
def test_explicit_rows_are_edited_by_layer(dtype: torch.dtype, padded: bool) -> None:  # noqa: FBT001 - drawn
    """Each explicit row has a permutation and a uniform flag for each layer; observers see what was done."""
    layer = random_layer(dtype, visible_keys() if padded else None)
    layers, explicit = 3, 2
    orders = np.stack([visible_permutations(layer, row, layers, seed=row) for row in (2, 3)])
    orders[0, 1] = np.arange(LENGTH)
    uniform = torch.tensor([[False, False, False], [False, False, True]])
    watcher = Watcher()
    by_layer = {at: torch.from_numpy(orders[:, at]) for at in range(layers)}
    rows = ExplicitRows(first=ROWS - explicit, orders=by_layer, uniform=uniform)
    plan = BatchPlan(observer=watcher, explicit=rows)
    for at in range(layers):
        expected = by_hand(layer)
        for number, row in enumerate((2, 3)):
            for head in range(HEADS):
                expected[row, head] = expected[row, head][:, orders[number, at, head]]
            if uniform[number, at]:
                seen = by_hand(layer)[row] > 0
                expected[row] = seen / seen.sum(axis=-1, keepdims=True)
        assert close(layer.under(plan), context(expected, layer))
        assert close(watcher.seen[at], expected[2:])
    assert plan.calls == layers


def test_a_uniform_row_is_uniform_whatever_else_was_planned_for_it(layer: Layer) -> None:
    """Uniform attention has no order to permute, and leaves hidden keys their 0."""
    orders = torch.from_numpy(visible_permutations(layer, 3, 1, seed=0))
    rows = ExplicitRows(first=3, orders={0: orders}, uniform=torch.tensor([[True]]))
    watcher = Watcher()
    layer.under(BatchPlan(observer=watcher, explicit=rows))
    seen = by_hand(layer)[3] > 0
    assert close(watcher.seen[0], (seen / seen.sum(axis=-1, keepdims=True))[None])
    assert (watcher.seen[0][0][torch.from_numpy(~seen)] == 0).all()


def test_explicit_rows_may_share_one_mask(dtype: torch.dtype) -> None:
    """A mask that all rows share serves fused, explicit and uniform rows alike."""
    layer = random_layer(dtype, visible_keys()[1:2])
    watcher = Watcher()
    rows = ExplicitRows(first=1, uniform=torch.tensor([[False], [True], [False]]))
    found = layer.under(BatchPlan(observer=watcher, explicit=rows))
    expected = by_hand(layer)
    expected[2] = np.where(np.arange(LENGTH) < 4, 0.25, 0.0)
    assert close(found, context(expected, layer))
    assert close(watcher.seen[0], expected[1:])


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
    """A permutation moves columns of the map, by row and head, without the map being built."""
    orders = np.random.default_rng(3).permuted(np.tile(np.arange(LENGTH), (2, HEADS, 1)), axis=-1)
    expected = by_hand(layer)
    for at, row in enumerate((0, 2)):
        for head in range(HEADS):
            expected[row, head] = expected[row, head][:, orders[at, head]]
    edit = LayerEdit(permutation=Permutation(rows=rows_of(0, 2), order=torch.from_numpy(orders)))
    assert close(layer.edited(edit), context(expected, layer))


@pytest.mark.parametrize("heads", [1, HEADS])
def test_a_knocked_out_key_is_renormalised(layer: Layer, heads: int) -> None:
    """A key that is knocked out gets nothing, and the others what it had, in proportion; heads may differ."""
    bias = torch.zeros(ROWS, heads, 1, LENGTH, dtype=layer.query.dtype)
    bias[1, :, :, 2] = torch.finfo(layer.query.dtype).min
    bias[2, -1, :, :3] = torch.finfo(layer.query.dtype).min
    edits = {0: LayerEdit(key_bias=bias)}
    expected = by_hand(layer, bias)
    assert close(layer.under(BatchPlan(edits=edits)), context(expected, layer))
    for rest in ({"explicit": ExplicitRows(first=0)}, {"gradients": True}):
        watcher = Watcher()
        assert close(layer.under(BatchPlan(edits=edits, observer=watcher, **rest)), context(expected, layer))
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
    watcher = Watcher()
    explicit = layer.under(BatchPlan(observer=watcher, explicit=ExplicitRows(first=0)))
    assert close(watcher.seen[0], np.full((1, 1, 2, 2), 0.5))
    assert close(explicit, context(np.full((1, 1, 2, 2), 0.5), layer))
    hidden = torch.full((1, 1, 1, 2), torch.finfo(dtype).min, dtype=dtype)
    for edit in (_uniform(0), LayerEdit(key_bias=hidden)):
        twice = Watcher()
        assert layer.under(BatchPlan(edits={0: edit})).isfinite().all()
        found = layer.under(BatchPlan(edits={0: edit}, observer=twice, explicit=ExplicitRows(first=0)))
        assert found.isfinite().all()
        assert close(twice.seen[0], np.full((1, 1, 2, 2), 0.5))
    uniform = ExplicitRows(first=0, uniform=torch.tensor([[True]]))
    assert layer.under(BatchPlan(explicit=uniform)).isfinite().all()
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
    """The gradient at each layer's attention is that of plain attention; the values are the fused kernel's own."""
    watcher = Watcher()
    plan = BatchPlan(observer=watcher, gradients=True)
    first = layer.under(plan)
    second = layer.after(first).under(plan)
    gradients = torch.autograd.grad(second.square().sum(), watcher.seen)
    fused = layer.under(None)
    assert torch.equal(first.detach(), fused)
    assert torch.equal(second.detach(), layer.after(fused).under(None))
    lower = plain_attention(layer.query, layer).requires_grad_()
    upper = plain_attention((lower @ layer.value), layer)
    expected = torch.autograd.grad((upper @ layer.value).square().sum(), (lower, upper))
    for found, plain in zip(gradients, expected, strict=True):
        assert close(found / plain.abs().max(), (plain / plain.abs().max()).double().numpy())
        assert plain.abs().max() > 0


def test_gradients_are_only_computed_where_they_are_wanted(layer: Layer) -> None:
    """Without autograd the same plan captures the same values, and nothing keeps the graph alive."""
    watcher = Watcher()
    with torch.no_grad():
        found = layer.under(BatchPlan(observer=watcher, gradients=True))
    assert torch.equal(found, layer.under(None))
    assert close(watcher.seen[0], by_hand(layer))
    assert not watcher.seen[0].requires_grad
    assert not found.requires_grad


def in_heads(projected: Tensor) -> Tensor:
    """[..., T, E] to [..., H, T, D]."""
    return projected.view(*projected.shape[:-1], HEADS, WIDTH).transpose(-3, -2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Blocks of attention and a residual on states [B, T, E], run with or without a plan."""

    states: Tensor
    visible: Tensor
    """Keys that each row may see [B, 1, T, T]."""
    projections: tuple[tuple[torch.nn.Linear, torch.nn.Linear, torch.nn.Linear], ...]

    def under(self, plan: BatchPlan) -> Tensor:
        """States after all blocks, each entered through the plan as the hook enters it."""
        states = self.states
        with torch.no_grad():
            for query, key, value in self.projections:
                states = plan.enter(states)
                q, k, v = (in_heads(linear(states)) for linear in (query, key, value))
                context, _ = attend(Encoder(), q, k, v, self.visible, rollcall_plan=plan)
                states = states + context.flatten(2)
        return states

    def by_hand(self, row: int, edit: Callable[[int, Tensor], Tensor] = lambda _, p: p) -> Tensor:
        """States [T, E] of one row, its probabilities [H, T, T] edited in each layer."""
        states = self.states[row]
        with torch.no_grad():
            for number, projections in enumerate(self.projections):
                query, key, value = (in_heads(linear(states)) for linear in projections)
                scores = query @ key.transpose(1, 2) * WIDTH**-0.5
                probabilities = edit(number, scores.masked_fill(~self.visible[row], -torch.inf).softmax(dim=-1))
                states = states + (probabilities @ value).transpose(0, 1).flatten(1)
        return states

    def last(self, query: int = 0) -> Tail:
        """The last layer for one query alone."""
        _, key, value = self.projections[-1]
        return Tail(layer=len(self.projections) - 1, query=query, heads=HEADS, key=key, value=value)


@pytest.fixture
def stack(dtype: torch.dtype) -> Stack:
    """Three blocks, and four rows of which two are padded."""
    generator = torch.Generator().manual_seed(6)
    width = HEADS * WIDTH

    def linear() -> torch.nn.Linear:
        made = torch.nn.Linear(width, width, dtype=dtype).requires_grad_(requires_grad=False)
        made.weight.copy_(torch.randn(width, width, dtype=dtype, generator=generator) * 0.2)
        return made

    return Stack(
        states=torch.randn(ROWS, LENGTH, width, dtype=dtype, generator=generator),
        visible=visible_keys(),
        projections=tuple((linear(), linear(), linear()) for _ in range(3)),
    )


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "one query"])
def test_a_row_joins_as_a_copy_at_its_layer(stack: Stack, cut: bool) -> None:  # noqa: FBT001 - drawn
    """Rows that join are copies of the rows named, as far as they have come; their mask comes along."""
    order = torch.tensor([3, 2, 1, 0, 4, 5, 6])
    kept = torch.arange(LENGTH)
    orders = {
        layer: torch.stack([order, order if layer else kept, kept, kept]).unsqueeze(1).repeat(1, HEADS, 1)
        for layer in range(3)
    }
    uniform = torch.zeros(4, 3, dtype=torch.bool)
    uniform[2, 2] = uniform[3, 2] = True
    watcher = Watcher()
    plan = BatchPlan(
        explicit=ExplicitRows(first=3, orders=orders, uniform=uniform),
        observer=watcher,
        joins={1: torch.tensor([1]), 2: torch.tensor([1, 0])},
        tail=stack.last() if cut else None,
    )
    visible = visible_keys()
    visible[3] = visible[1]
    found = Stack(states=stack.states, visible=visible, projections=stack.projections)
    states = found.under(plan)

    def permuted(first: int) -> Callable[[int, Tensor], Tensor]:
        return lambda layer, p: p[..., order] if layer >= first else p

    def spread(layer: int, p: Tensor) -> Tensor:
        return p if layer < 2 else (p > 0).to(p.dtype) / (p > 0).sum(dim=-1, keepdim=True)

    expected = [
        *(found.by_hand(row) for row in range(3)),
        found.by_hand(3, permuted(0)),
        found.by_hand(1, permuted(1)),
        found.by_hand(1, spread),
        found.by_hand(0, spread),
    ]
    assert len(states) == 7
    assert states.shape[1] == (1 if cut else LENGTH)
    for state, by_hand_ in zip(states, expected, strict=True):
        assert close(state, by_hand_[: len(state)].double().numpy())
    assert [seen.shape[0] for seen in watcher.seen] == [1, 1, 1]
    assert [value.shape[0] for value in watcher.values] == [1, 1, 1]


@pytest.mark.parametrize("query", [0, LENGTH - 1])
@pytest.mark.parametrize("rows", [1, 2, 3, 4])
@pytest.mark.parametrize("explicit", [None, 0, 1])
def test_the_last_layer_computes_one_query(stack: Stack, rows: int, explicit: int | None, query: int) -> None:
    """Of the last layer only the query that the head reads is computed; a few rows too many may come back behind."""
    few = Stack(states=stack.states[:rows], visible=stack.visible[:rows], projections=stack.projections)
    watcher = Watcher()
    first = None if explicit is None else ExplicitRows(first=explicit)
    states = few.under(BatchPlan(tail=stack.last(query), explicit=first, observer=watcher))
    assert states.shape[:2] == (max(rows, LEAST_ROWS), 1)
    for row in range(rows):
        assert close(states[row, 0], few.by_hand(row)[query].double().numpy())
    shown = 0 if explicit is None else rows - explicit
    assert [len(seen) for seen in watcher.seen] == ([shown] * 3 if shown else [])
    if shown:
        assert watcher.seen[-1].shape[2] == 1


def test_a_single_layer_may_be_the_last_one(stack: Stack) -> None:
    """In a model of one layer the last one is the first one, and rows that start there are explicit there."""
    one = Stack(states=stack.states, visible=stack.visible, projections=stack.projections[:1])
    watcher = Watcher()
    uniform = torch.tensor([[True], [False]])
    plan = BatchPlan(tail=one.last(), explicit=ExplicitRows(first=2, uniform=uniform), observer=watcher)
    states = one.under(plan)

    def spread(_: int, p: Tensor) -> Tensor:
        return (p > 0).to(p.dtype) / (p > 0).sum(dim=-1, keepdim=True)

    for row, expected in enumerate((one.by_hand(0), one.by_hand(1), one.by_hand(2, spread), one.by_hand(3))):
        assert close(states[row, 0], expected[0].double().numpy())
    assert len(watcher.seen[0]) == 2


def test_a_plan_that_shares_nothing_leaves_a_blocks_input_alone(stack: Stack) -> None:
    """Entering a block is free where nobody joins and no query is singled out: the very same tensor."""
    for plan in (BatchPlan(), BatchPlan(joins={1: torch.tensor([0])}), BatchPlan(tail=stack.last())):
        assert plan.enter(stack.states) is stack.states


def _uniform(*rows: int) -> LayerEdit:
    return LayerEdit(blends=(Blend(rows=rows_of(*rows), gate=1.0, source=MapSource.UNIFORM),))
