"""Encoders that are not BERT in all but names, against stock models edited by hand; and what each of them cannot do.

Shapes: B batch, L layer, H head, T token.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from rollcall.backends.base import CaptureRequest, variants
from rollcall.domain.decision import Decision, Task
from rollcall.domain.inputs import Encoding, TextInput
from rollcall.domain.maps import Floats, MapKind, MapOptions
from rollcall.domain.rows import AttentionEdit, KeyScope, Row
from tests.tiny import OTHERS, TEXT, Tiny, Zoo
from tests.unit.backends import stock
from tests.unit.backends.by_hand import HEADS, ByHand, Softmax, edits
from tests.unit.backends.stock import Batch
from tests.unit.backends.switches import FEATURES

Tensor = torch.Tensor
WITHIN = 1e-5
LONG = " ".join([TEXT] * 3)
"""Longer than any window."""
CANNOT = {
    "modernbert": {"readout_row_suffices"},
    "deberta-v2": {"readout_row_suffices", "rows_join_late"},
    "mpnet": {"readout_row_suffices", "rows_join_late"},
}
"""What is not shared by the rows of a family, beside what rounding decides."""


@pytest.fixture(scope="module", params=OTHERS)
def model(request: pytest.FixtureRequest, zoo: Zoo) -> Tiny:
    """One family's tiny model."""
    return zoo[request.param]


def seen_by(model: Tiny, encoding: Encoding, layer: int) -> Tensor:
    """Which keys each query of a layer sees [T, T]."""
    places = torch.arange(encoding.length)
    distance = (places[:, None] - places).abs()
    config: Any = model.eager.config
    local = model.family == "modernbert" and config.layer_types[layer] == "sliding_attention"
    return torch.le(distance, config.local_attention // 2 if local else encoding.length)


def by_hand(model: Tiny, encoding: Encoding, row: Row) -> tuple[Floats, Floats]:
    """Logits [C] and read-out state [E] of the stock model whose probabilities are edited as the row says."""
    layers = model.backend.shape.layers
    edit = ByHand(encoding=encoding, row=row, layers=layers, visible=lambda layer: seen_by(model, encoding, layer))
    batch = Batch.of(tuple(encoding.input_ids.tolist()))
    types = torch.from_numpy(encoding.type_ids)[None]
    with torch.no_grad(), Softmax(edit=edit) as caught:
        arguments = stock.arguments(model, Batch(ids=batch.ids, mask=batch.mask, types=types))
        output = model.eager(**arguments, output_hidden_states=True)
    assert caught.layer == layers
    return output.logits[0].double().numpy(), output.hidden_states[-1][0, 0].double().numpy()


@pytest.mark.parametrize(("text", "pair"), [(TEXT, None), (LONG, None), ("a dull story", "the music is wonderful")])
def test_edits_are_those_of_the_stock_models_own_softmax(model: Tiny, text: str, pair: str | None) -> None:
    """Every edit of attention gives the stock model's answer under that edit, in one batch with all others."""
    encoding = model.backend.encode(TextInput(text=text, text_pair=pair))
    rows = edits(encoding, model.backend.shape.layers)
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
    block: Any = blocks(model)[layer]
    if model.family == "modernbert":
        values = block.attn.Wqkv(block.attn_norm(states)).view(len(states), 3, HEADS, -1)[:, 2]
        return Weights(values=values, out=block.attn.Wo.weight.view(32, HEADS, -1), gains=())
    if model.family == "mpnet":
        values, out = block.attention.attn.v(states), block.attention.attn.o.weight
        norms = (block.attention.LayerNorm.weight, block.output.LayerNorm.weight)
        return Weights(values=values.view(len(states), HEADS, -1), out=out.view(32, HEADS, -1), gains=norms)
    values = block.attention.self.value_proj(states).view(len(states), HEADS, -1)
    norms = (block.attention.output.LayerNorm, block.output.LayerNorm)
    out = block.attention.output.dense.weight
    return Weights(values=values, out=out.view(32, HEADS, -1), gains=tuple(norm.weight for norm in norms))


def blocks(model: Tiny) -> torch.nn.ModuleList:
    """Of the stock model."""
    base: Any = model.eager.base_model
    found: torch.nn.ModuleList = base.layers if model.family == "modernbert" else base.encoder.layer
    return found


def test_norms_are_those_of_what_each_token_adds(model: Tiny) -> None:
    """Against the definition, vector by vector (Kobayashi et al. 2021, Modarressi et al. 2022)."""
    encoding = model.backend.encode(TextInput(text=TEXT))
    found = capture(model, encoding, MapKind.NORM_ROLLOUT).norms
    batch = Batch.of(tuple(encoding.input_ids.tolist()))
    with torch.no_grad():
        attention = stock.read(model, batch).attention
        for layer, module in enumerate(blocks(model)):
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
    """Trials are long enough to notice a mask that takes the place of the windows."""
    backend = zoo["modernbert"].backend
    assert not backend.fixed
    backend.fixed = True
    try:
        failed = {test.name for test in backend.self_test() if not test.passed}
    finally:
        backend.fixed = False
    assert "capture_is_stock_eager" in failed
