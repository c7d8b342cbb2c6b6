"""Encoders that are not BERT in all but names, edited by hand: the stock model's own softmax is caught and changed.

Nothing is shared with the service but the order that a seed draws. What such a family can do, and what not, is said.

Shapes: B batch, L layer, H head, T token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from rollcall.backends.base import CaptureRequest, variants
from rollcall.domain.decision import Decision, Task
from rollcall.domain.inputs import Encoding, TextInput
from rollcall.domain.maps import Floats, Ints, MapKind, MapOptions
from rollcall.domain.rows import AttentionEdit, KeyScope, QueryScope, Row
from rollcall.domain.seeds import random_permutations
from tests.tiny import OTHERS, TEXT, Tiny, Zoo
from tests.unit.backends import stock
from tests.unit.backends.stock import Batch
from tests.unit.backends.switches import FEATURES

Tensor = torch.Tensor
Edit = Callable[[int, Tensor], Tensor]
HEADS = 4
WITHIN = 1e-5
SEED = 2**64 - 1
LONG = " ".join([TEXT] * 3)
"""Longer than any window."""
CANNOT = {"modernbert": {"readout_row_suffices"}}
"""What is not shared by the rows of a family, beside what rounding decides."""


@pytest.fixture(scope="module", params=OTHERS)
def model(request: pytest.FixtureRequest, zoo: Zoo) -> Tiny:
    """One family's tiny model."""
    return zoo[request.param]


@dataclass
class Softmax(TorchFunctionMode):
    """Catches every softmax of a forward, layer after layer, and puts an edit of its probabilities [B, H, T, T] there.

    A stack of nothing else: each is what a layer's attention is.
    """

    edit: Edit
    layer: int = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401 - torch's own interface
        """Edit what comes out of a softmax."""
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") != "softmax":
            return result
        self.layer += 1
        return self.edit(self.layer - 1, result)


def seen_by(model: Tiny, encoding: Encoding, layer: int) -> Tensor:
    """Which keys each query of a layer sees [T, T]."""
    places = torch.arange(encoding.length)
    distance = (places[:, None] - places).abs()
    config: Any = model.eager.config
    local = model.family == "modernbert" and config.layer_types[layer] == "sliding_attention"
    return torch.le(distance, config.local_attention // 2 if local else encoding.length)


def among(order: Ints, visible: Tensor) -> Ints:
    """Where each visible key goes: where `order` leads first among the visible ones."""
    found: Ints = np.arange(len(order))
    for key in np.flatnonzero(visible):
        found[key] = order[key]
        while not visible[found[key]]:
            found[key] = order[found[key]]
    return found


def edited(model: Tiny, encoding: Encoding, row: Row, layer: int, probabilities: Tensor) -> Tensor:
    """What a row makes of one layer's probabilities [1, H, T, T], by the definition of its edit."""
    visible, changed = seen_by(model, encoding, layer), probabilities.clone()
    if row.edit is AttentionEdit.UNIFORM:
        changed[:] = visible / visible.sum(dim=-1, keepdim=True)
    elif row.edit is AttentionEdit.SILENCED:
        changed[:, list(row.heads)] = 0
    elif row.edit is AttentionEdit.PERMUTED:
        shape = (model.backend.shape.layers, HEADS, encoding.length)
        orders = random_permutations(row.seed, "keys", shape)[layer]
        queries = range(encoding.length) if row.queries is QueryScope.ALL else [0]
        for head, query in product(range(HEADS), queries):
            drawn = torch.from_numpy(among(orders[head], visible[query]))
            changed[0, head, query] = probabilities[0, head, query, drawn]
    elif row.units is not None:
        into = torch.from_numpy(encoding.tokens_of(row.units))
        units = torch.from_numpy(encoding.unit_of_token)
        changed = changed.masked_fill(into[None, :] & (units[:, None] != units[None, :]), 0)
        if row.edit is AttentionEdit.KNOCKED_OUT:
            changed /= changed.sum(dim=-1, keepdim=True)
    elif row.bias is not None:
        scaled = probabilities.double() * torch.from_numpy(row.bias[layer]).exp()[None, :, None]
        changed[:] = scaled / scaled.sum(dim=-1, keepdim=True)
    return changed


def by_hand(model: Tiny, encoding: Encoding, row: Row) -> tuple[Floats, Floats]:
    """Logits [C] and read-out state [E] of the stock model whose probabilities are edited as the row says."""
    layers = model.backend.shape.layers

    def edit(layer: int, probabilities: Tensor) -> Tensor:
        chosen = row.layers is None or layer in row.layers
        return edited(model, encoding, row, layer, probabilities) if chosen else probabilities

    batch = Batch.of(tuple(encoding.input_ids.tolist()))
    types = torch.from_numpy(encoding.type_ids)[None]
    with torch.no_grad(), Softmax(edit=edit) as caught:
        arguments = stock.arguments(model, Batch(ids=batch.ids, mask=batch.mask, types=types))
        output = model.eager(**arguments, output_hidden_states=True)
    assert caught.layer == layers
    return output.logits[0].double().numpy(), output.hidden_states[-1][0, 0].double().numpy()


def edits(model: Tiny, encoding: Encoding) -> list[Row]:
    """Rows of every kind of edit, of all layers and of some."""
    layers, units = model.backend.shape.layers, len(encoding.units)
    some = np.arange(units) % 3 == 0
    bias = np.random.default_rng(0).normal(size=(layers, HEADS, encoding.length))
    return [
        Row(readout=True),
        Row(edit=AttentionEdit.IDENTITY, readout=True),
        *(Row(edit=AttentionEdit.UNIFORM, layers=chosen, readout=True) for chosen in (None, (1,), (0, 2))),
        *(Row(edit=AttentionEdit.PERMUTED, seed=SEED, layers=chosen, readout=True) for chosen in (None, (2,))),
        Row(edit=AttentionEdit.PERMUTED, seed=3, queries=QueryScope.READOUT, readout=True),
        Row(edit=AttentionEdit.SILENCED, layers=(0, 1), heads=(1, 3), readout=True),
        Row(edit=AttentionEdit.KNOCKED_OUT, units=some, readout=True),
        Row(edit=AttentionEdit.CUT, units=some, layers=(1,), readout=True),
        Row(edit=AttentionEdit.BIASED, bias=bias, readout=True),
    ]


@pytest.mark.parametrize(("text", "pair"), [(TEXT, None), (LONG, None), ("a dull story", "the music is wonderful")])
def test_edits_are_those_of_the_stock_models_own_softmax(model: Tiny, text: str, pair: str | None) -> None:
    """Every edit of attention gives the stock model's answer under that edit, in one batch with all others."""
    encoding = model.backend.encode(TextInput(text=text, text_pair=pair))
    rows = edits(model, encoding)
    found = model.backend.run(variants(encoding, rows))
    assert found.readouts is not None
    untouched = found.readouts[0].double().numpy()
    for at, row in enumerate(rows):
        logits, state = by_hand(model, encoding, row)
        np.testing.assert_allclose(found.logits[at].numpy(), logits, atol=WITHIN, err_msg=str(row))
        np.testing.assert_allclose(found.readouts[at].numpy(), state, atol=WITHIN, err_msg=str(row))
        changes = np.abs(state - untouched).max()
        assert (changes < WITHIN) == (row.edit in (AttentionEdit.NONE, AttentionEdit.IDENTITY)), row


def test_keys_move_within_what_a_query_sees(model: Tiny) -> None:
    """A draw gives each query its own weights in another order, none of them to a key that it does not see."""
    encoding = model.backend.encode(TextInput(text=LONG, text_pair=TEXT))
    for scope in KeyScope:
        row = Row(edit=AttentionEdit.PERMUTED, seed=5, keys=scope)
        found = model.backend.run(variants(encoding, [row])).permuted
        assert found is not None
        for layer, fused in enumerate(found.fused):
            assert not fused[0][~seen_by(model, encoding, layer)].any()


def capture(model: Tiny, encoding: Encoding, *kinds: MapKind) -> Any:  # noqa: ANN401 - a capture with what was asked for
    """The untouched text with its maps."""
    request = CaptureRequest(
        maps=frozenset(kinds),
        options=MapOptions(),
        decide=lambda logits: Decision(task=Task.SINGLE_LABEL, target=int(np.argmax(logits))),
        attention=None,
    )
    return model.backend.capture(encoding, request)


@contextmanager
def watched(module: torch.nn.Module, seen: list[Tensor]) -> Iterator[None]:
    """Keep what comes into a module."""
    hook = module.register_forward_pre_hook(
        lambda _, args, named: seen.append(args[0] if args else named["hidden_states"]), with_kwargs=True
    )
    try:
        yield
    finally:
        hook.remove()


@dataclass(frozen=True)
class Weights:
    """How one block of a stock model makes what it adds: `values` [T, H, D] of its input, and `out` [E, H, D]."""

    values: Tensor
    out: Tensor
    gains: tuple[Tensor, ...]
    """Of the norms behind, where they are behind."""


def weights(model: Tiny, layer: int, states: Tensor) -> Weights:
    """From the stock model's own modules."""
    base: Any = model.eager.base_model
    block = base.layers[layer]
    values = block.attn.Wqkv(block.attn_norm(states)).view(len(states), 3, HEADS, -1)[:, 2]
    return Weights(values=values, out=block.attn.Wo.weight.view(32, HEADS, -1), gains=())


def test_norms_are_those_of_what_each_token_adds(model: Tiny) -> None:
    """Against the definition, vector by vector (Kobayashi et al. 2021, Modarressi et al. 2022)."""
    encoding = model.backend.encode(TextInput(text=TEXT))
    found = capture(model, encoding, MapKind.NORM_ROLLOUT).norms
    base: Any = model.eager.base_model
    batch = Batch.of(tuple(encoding.input_ids.tolist()))
    with torch.no_grad():
        attention = stock.read(model, batch).attention
        for layer, module in enumerate(base.layers if hasattr(base, "layers") else base.encoder.layer):
            seen: list[Tensor] = []
            with watched(module, seen):
                model.eager(**stock.arguments(model, batch))
            own = weights(model, layer, seen[0][0])
            given = torch.from_numpy(attention[layer]).float()
            vectors = torch.einsum("hqk,khd,ehd->qke", given, own.values, own.out)
            vectors[range(encoding.length), range(encoding.length)] += seen[0][0]
            for gain in own.gains:
                vectors = (vectors - vectors.mean(dim=-1, keepdim=True)) * gain
            norms = vectors.norm(dim=-1)
            torch.testing.assert_close(found[layer], norms / norms.sum(dim=-1, keepdim=True), atol=1e-5, rtol=1e-4)


def test_a_family_says_what_it_cannot_do(model: Tiny) -> None:
    """All required tests pass, on texts longer than a window; what rows do not share is off and named."""
    assert model.loaded.failed == ()
    features = {test.name: test.passed for test in model.loaded.self_tests if test.name in FEATURES}
    assert {name for name, passed in features.items() if not passed} - {"batch_is_neutral"} == CANNOT[model.family]
    tried = model.backend.trial()
    assert all(length > model.backend.reach + 1 for length in tried.lengths)


def test_a_lost_window_is_found(zoo: Zoo) -> None:
    """With a mask that takes the place of the windows' captured attention is not the model's: trials are long enough."""
    backend = zoo["modernbert"].backend
    assert not backend.fixed
    backend.fixed = True
    try:
        failed = {test.name for test in backend.self_test() if not test.passed}
    finally:
        backend.fixed = False
    assert "capture_is_stock_eager" in failed
