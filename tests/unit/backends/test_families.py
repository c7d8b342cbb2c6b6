"""Every family at every length against the stock library: predictions, and each map against its own computation.

Lengths count tokens; 3 is one word between the classification and the separator token.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rollcall.attribution.raw_attention import raw_attention
from rollcall.attribution.rollout import attention_rollout
from rollcall.backends.arrangement import LEAST_ROWS
from rollcall.backends.attention_hook import enter_block
from rollcall.backends.base import CaptureRequest, variants
from rollcall.backends.observers import Reducer
from rollcall.backends.plan import BatchPlan, ExplicitRows
from rollcall.backends.tensors import Inputs
from rollcall.domain.compute import Captured
from rollcall.domain.decision import Decision, Task
from rollcall.domain.inputs import TextInput, TokensInput
from rollcall.domain.maps import AttentionSelection, Floats, HeadFusion, HeadReduction, MapKind, MapOptions, TensorType
from rollcall.domain.rows import AttentionEdit, Row
from tests.tiny import TEXT, Tiny, Zoo
from tests.unit.backends import stock
from tests.unit.backends.stock import Batch
from tests.unit.backends.switches import switched

PROMISED = 1e-5
"""What the service promises, on probabilities and on map weights."""
GRADIENT = 1e-4
"""Gradients are sums of both signs, so that float32 rounds what is left of them more coarsely."""
DOUBLE = 1e-10
LENGTHS = (3, 7, 128, 512)
MIXED = (7, 3, 128, 40)
"""Lengths of the rows of a padded batch."""


@pytest.mark.parametrize("length", LENGTHS)
def test_predictions_are_the_stock_models_bit_for_bit(tiny: Tiny, length: int) -> None:
    """A caller who moves from the stock library to the service gets the same numbers, alone and in a batch."""
    ids = stock.random_ids(tiny, length)
    encoding = tiny.backend.encode(TokensInput(input_ids=ids))
    for copies in (1, 3):
        ours = tiny.backend.predict(variants(encoding, [Row()] * copies))
        assert torch.equal(ours, stock.stock_logits(tiny, tiny.sdpa, Batch.of(*[ids] * copies)))
    assert np.abs(ours[0].double().numpy() - stock.read(tiny, Batch.of(ids)).logits).max() <= PROMISED


@pytest.mark.parametrize("pair", [None, "it isn't bad, but the ending is dull"])
def test_texts_and_pairs_are_read_as_the_stock_tokenizer_reads_them(tiny: Tiny, pair: str | None) -> None:
    """A text, or a pair with its token types, gets the prediction that the stock tokenizer and model give it."""
    encoding = tiny.backend.encode(TextInput(text=TEXT, text_pair=pair))
    read = tiny.backend._encoder.tokenizer(TEXT, pair, return_tensors="pt")
    types = read.get("token_type_ids", torch.zeros_like(read["input_ids"]))
    assert types.sum() > 0 or pair is None or tiny.family not in stock.TYPED
    batch = Batch(ids=read["input_ids"], mask=read["attention_mask"], types=types)
    ours = tiny.backend.predict(variants(encoding, [Row()]))
    assert torch.equal(ours, stock.stock_logits(tiny, tiny.sdpa, batch))


@pytest.mark.parametrize("length", LENGTHS)
def test_untouched_rows_are_the_stock_model(tiny: Tiny, zoo: Zoo, length: int) -> None:
    """A row of a check that touches nothing is the prediction: nearly so where work is shared, and else to the bit."""
    ids = stock.random_ids(tiny, length)
    for model, within in ((tiny, PROMISED), (zoo.precise(tiny.family), DOUBLE)):
        backend = model.backend
        encoding = backend.encode(TokensInput(input_ids=ids))
        for copies in (1, 3):
            rows = variants(encoding, [Row(readout=True)] * copies)
            expected, state = _stock(model, Batch.of(*[ids] * copies))
            shared = backend.run(rows)
            assert shared.readouts is not None
            assert (shared.logits - expected).abs().max() <= within
            assert (shared.readouts - state).abs().max() <= within
            with switched(backend, readout_row_suffices=False):
                whole = backend.run(rows)
            assert whole.readouts is not None
            assert (whole.logits - expected).abs().max() <= within
            if copies * length >= LEAST_ROWS:  # fewer rows in a product round differently, and may be filled up
                assert torch.equal(whole.logits, expected)
                assert torch.equal(whole.readouts, state)


@pytest.mark.parametrize("kinds", [(), (MapKind.RAW_ATTENTION,), tuple(MapKind)], ids=["none", "raw", "all"])
@pytest.mark.parametrize("length", LENGTHS[:3])
def test_a_capture_is_the_stock_prediction_bit_for_bit(tiny: Tiny, length: int, kinds: tuple[MapKind, ...]) -> None:
    """Watching attention, and asking for its gradient, changes no digit of the answer that is explained."""
    ids = stock.random_ids(tiny, length)
    expected, state = _stock(tiny, Batch.of(ids))
    decided: list[Floats] = []

    def decide(logits: Floats) -> Decision:
        decided.append(logits)
        return Decision(task=Task.SINGLE_LABEL, target=int(logits.argmin()))

    request = CaptureRequest(maps=frozenset(kinds), options=MapOptions(), decide=decide, attention=None)
    capture = tiny.backend.capture(tiny.backend.encode(TokensInput(input_ids=ids)), request)
    assert torch.equal(capture.logits, expected[0])
    assert capture.state is not None
    assert capture.attention is not None
    assert torch.equal(capture.state, state[0])
    assert [logits.tolist() for logits in decided] == [expected[0].double().tolist()]
    assert capture.decision == Decision(task=Task.SINGLE_LABEL, target=int(expected[0].argmin()))
    assert not any(tensor.requires_grad for tensor in (capture.logits, capture.state, *capture.attention.fused))


def test_a_padded_batch_is_the_stock_models(tiny: Tiny) -> None:
    """Rows of different length in one batch get the stock model's numbers, which are those that each gets alone."""
    rows = [stock.random_ids(tiny, length, seed) for seed, length in enumerate(MIXED)]
    batch = Batch.of(*rows, pad=tiny.sdpa.config.pad_token_id)
    with torch.no_grad():
        ours = tiny.backend.forward(_inputs(batch))
    assert torch.equal(ours, stock.stock_logits(tiny, tiny.sdpa, batch))
    alone = torch.cat([stock.stock_logits(tiny, tiny.sdpa, Batch.of(row)) for row in rows])
    assert (ours - alone).abs().max() <= PROMISED


@pytest.mark.parametrize("length", LENGTHS)
def test_raw_attention_and_rollout_are_those_of_stock_eager(tiny: Tiny, length: int) -> None:
    """The maps that every answer carries are what numpy makes of the stock model's own attentions."""
    ids = stock.random_ids(tiny, length)
    reading = stock.read(tiny, Batch.of(ids))
    captured = _capture(tiny, ids, MapKind.RAW_ATTENTION, MapKind.ATTENTION_ROLLOUT)
    _check(captured, MapKind.RAW_ATTENTION, stock.raw_attention(reading.attention))
    _check(captured, MapKind.ATTENTION_ROLLOUT, stock.attention_rollout(reading.attention))
    assert not captured.attention_is_uniform


def test_maps_of_a_padded_batch_are_those_of_its_rows_alone(tiny: Tiny) -> None:
    """Padding draws no attention, and no map changes because a longer text is in the batch."""
    rows = [stock.random_ids(tiny, length, seed) for seed, length in enumerate(MIXED)]
    batch = Batch.of(*rows, pad=tiny.sdpa.config.pad_token_id)
    reducer = Reducer(readout=0, fusions=(HeadFusion.MEAN,) * len(rows))
    with torch.no_grad():
        tiny.backend.forward(_inputs(batch), BatchPlan(explicit=ExplicitRows(first=0), observer=reducer))
    reductions = reducer.reductions()
    raw = raw_attention(reductions.readout).double().numpy()
    rollout = attention_rollout(reductions.fused, 0).double().numpy()
    for i, row in enumerate(rows):
        reading = stock.read(tiny, Batch.of(row))
        assert np.abs(raw[i, : len(row)] - stock.raw_attention(reading.attention)).max() <= PROMISED
        assert np.abs(rollout[i, : len(row)] - stock.attention_rollout(reading.attention)).max() <= PROMISED
        assert raw[i, len(row) :].sum() == rollout[i, len(row) :].sum() == 0


@pytest.mark.parametrize("length", [3, 7, 128])
def test_norm_rollout_is_that_of_all_transformed_vectors(alike: Tiny, length: int) -> None:
    """The quadratic form that spares T x T x E numbers gives what the T x T x E numbers give."""
    ids = stock.random_ids(alike, length)
    captured = _capture(alike, ids, MapKind.NORM_ROLLOUT)
    _check(captured, MapKind.NORM_ROLLOUT, stock.norm_rollout(alike, stock.read(alike, Batch.of(ids))))


@pytest.mark.parametrize("length", [3, 7, 128])
@pytest.mark.parametrize("target", [0, 2])
def test_gradient_rollout_is_that_of_stock_eager(tiny: Tiny, zoo: Zoo, length: int, target: int) -> None:
    """The class-specific map is what numpy makes of the stock model's attentions and torch's gradients at them."""
    ids = stock.random_ids(tiny, length)
    attention, gradients = stock.gradients_of_log_odds(tiny, Batch.of(ids), target)
    captured = _capture(tiny, ids, MapKind.GRADIENT_ROLLOUT, target=target)
    _check(captured, MapKind.GRADIENT_ROLLOUT, stock.gradient_rollout(attention, gradients), within=GRADIENT)
    precise = zoo.precise(tiny.family)
    attention, gradients = stock.gradients_of_log_odds(precise, Batch.of(ids), target)
    captured = _capture(precise, ids, MapKind.GRADIENT_ROLLOUT, target=target)
    within = PROMISED if tiny.family in stock.SINGLE_SOFTMAX else DOUBLE
    _check(captured, MapKind.GRADIENT_ROLLOUT, stock.gradient_rollout(attention, gradients), within=within)


def test_layers_heads_fusion_and_start_are_what_they_say(tiny: Tiny) -> None:
    """Options of the maps choose the layers and heads that they name."""
    ids = stock.random_ids(tiny, 9)
    attention = stock.read(tiny, Batch.of(ids)).attention
    options = MapOptions(raw_layers=(0, 2), raw_heads=(1, 3), rollout_fusion=HeadFusion.MAX, rollout_start_layer=1)
    captured = _capture(tiny, ids, MapKind.RAW_ATTENTION, MapKind.ATTENTION_ROLLOUT, options=options)
    _check(captured, MapKind.RAW_ATTENTION, attention[[0, 2]][:, [1, 3], 0].mean(axis=(0, 1)))
    product = np.eye(9)
    for layer in attention[1:]:
        residual = layer.max(axis=0) + np.eye(9)
        product = residual / residual.sum(axis=-1, keepdims=True) @ product
    _check(captured, MapKind.ATTENTION_ROLLOUT, product[0])


def test_attention_tensors_are_the_stock_models(tiny: Tiny) -> None:
    """Attention that a caller asks for is the stock model's, cut and stored as asked."""
    ids = stock.random_ids(tiny, 9)
    attention = stock.read(tiny, Batch.of(ids)).attention
    everything = AttentionSelection(readout_only=False)
    assert np.abs(_attention(tiny, ids, everything) - attention).max() <= PROMISED
    one = AttentionSelection(layers=(2, 0), heads=(3,), tensor_type=TensorType.FLOAT16)
    assert np.abs(_attention(tiny, ids, one) - attention[[2, 0]][:, [3], :1]).max() <= 1e-3
    mean = AttentionSelection(head_reduction=HeadReduction.MEAN, tensor_type=TensorType.UINT8)
    assert (
        np.abs(_attention(tiny, ids, mean) / 255 - attention[:, :, :1].mean(axis=1, keepdims=True)).max() <= 0.5 / 254
    )
    most = AttentionSelection(head_reduction=HeadReduction.MAX, heads=(0, 1))
    assert np.abs(_attention(tiny, ids, most) - attention[:, :2, :1].max(axis=1, keepdims=True)).max() <= PROMISED


def test_capturing_leaves_no_hook_behind(tiny: Tiny) -> None:
    """After a capture and a run the model is as it was: the same hooks, and bit for bit the same answer.

    The standing ones are one per block, which does nothing without a plan.
    """
    ids = stock.random_ids(tiny, 9)
    encoding = tiny.backend.encode(TokensInput(input_ids=ids))
    before = tiny.backend.run(variants(encoding, [Row()])).logits
    hooks_before = _hooks(tiny)
    _capture(tiny, ids, *MapKind)
    tiny.backend.run(variants(encoding, [Row(readout=True), Row(edit=AttentionEdit.UNIFORM, layers=(1,))]))
    tiny.backend.predict(variants(encoding, [Row()]))
    assert torch.equal(before, tiny.backend.run(variants(encoding, [Row()])).logits)
    assert _hooks(tiny) == hooks_before == [enter_block] * len({id(block.module) for block in tiny.backend._blocks})
    assert all(parameter.grad is None for parameter in tiny.backend._model.parameters())


def _hooks(tiny: Tiny) -> list[object]:
    """The service's hooks on the modules."""
    return [
        hook
        for module in tiny.backend._model.modules()
        for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
        if hook.__module__.startswith("rollcall")
    ]


def _stock(model: Tiny, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [B, C] of the stock model, and its last states at the read-out position [B, E]."""
    with torch.no_grad():
        output = model.sdpa(**stock.arguments(model, batch), output_hidden_states=True)
    return output.logits, output.hidden_states[-1][:, 0]


def _inputs(batch: Batch) -> Inputs:
    return Inputs(input_ids=batch.ids, attention_mask=batch.mask, type_ids=batch.types)


def _capture(
    tiny: Tiny,
    ids: tuple[int, ...],
    *kinds: MapKind,
    target: int = 0,
    options: MapOptions | None = None,
    attention: AttentionSelection | None = None,
) -> Captured:
    """Maps over units: one unit per token between the first and the last one."""
    request = CaptureRequest(
        maps=frozenset(kinds),
        options=options or MapOptions(),
        decide=lambda _: Decision(task=Task.SINGLE_LABEL, target=target),
        attention=attention,
    )
    encoding = tiny.backend.encode(TokensInput(input_ids=ids))
    ungrouped = tiny.backend._encoder.max_units >= len(ids) - 2
    assert len(encoding.units) == len(ids) - 2 or not ungrouped
    return tiny.engine().capture("tiny", encoding, request)


def _attention(tiny: Tiny, ids: tuple[int, ...], selection: AttentionSelection) -> Floats:
    tensor = _capture(tiny, ids, attention=selection).attention
    assert tensor is not None
    stored = {TensorType.FLOAT32: np.float32, TensorType.FLOAT16: np.float16, TensorType.UINT8: np.uint8}
    values = np.frombuffer(tensor.data, dtype=stored[tensor.tensor_type])
    return np.asarray(values.reshape(tensor.shape), dtype=np.float64)


def _check(captured: Captured, kind: MapKind, weights: Floats, within: float = PROMISED) -> None:
    """Compare one map with weights per token [T], of which special tokens are dropped and the rest grouped alike."""
    found = next(unit_map for unit_map in captured.maps if unit_map.kind is kind)
    expected, dropped = stock.over_content(weights)
    size = -(-len(expected) // len(found.scores))
    grouped = np.add.reduceat(expected, np.arange(0, len(expected), size))
    assert np.abs(found.scores - grouped).max() <= within
    assert abs(found.dropped_mass - dropped) <= within
    assert np.abs(found.scores - 1 / len(found.scores)).max() > 100 * PROMISED or len(found.scores) == 1
