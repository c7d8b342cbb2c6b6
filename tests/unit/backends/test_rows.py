"""What each kind of row does, on whole models of every family, against the stock model made to do the same by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rollcall.attribution.raw_attention import raw_attention
from rollcall.attribution.rollout import attention_rollout
from rollcall.backends.base import variants
from rollcall.backends.plan import BatchPlan, Blend, LayerEdit, MapSource, Permutation
from rollcall.backends.tensors import Inputs
from rollcall.domain.inputs import Encoding, TextInput, TokensInput
from rollcall.domain.maps import Bools, HeadFusion, MapKind, MapOptions
from rollcall.domain.rows import AttentionEdit, RemovalOperator, Row
from rollcall.domain.seeds import random_permutations
from tests.tiny import FAMILIES, OTHERS, TEXT, Tiny, Zoo
from tests.unit.backends import stock
from tests.unit.backends.stock import Batch, Edit
from tests.unit.backends.switches import switched

Tensor = torch.Tensor

DOUBLE = 1e-10
SINGLE = 1e-5
VISIBLE = 1e-3
"""What an edit that does something does to the read-out state, at least."""


@pytest.fixture(scope="module", params=[torch.float64, torch.float32], ids=["double", "single"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """Both precisions: the exact one says that the algebra is right, the other one that it is used."""
    chosen: torch.dtype = request.param
    return chosen


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, zoo: Zoo, dtype: torch.dtype) -> Tiny:
    """Each family whose attention is edited through the library's interface and sees all keys, in both precisions."""
    return zoo.precise(request.param) if dtype is torch.float64 else zoo[request.param]


@pytest.fixture(scope="module", params=[*FAMILIES, *OTHERS])
def reader(request: pytest.FixtureRequest, zoo: Zoo, dtype: torch.dtype) -> Tiny:
    """Each family in both precisions."""
    return zoo.precise(request.param) if dtype is torch.float64 else zoo[request.param]


def test_hidden_keys_are_the_stock_attention_mask(reader: Tiny) -> None:
    """A word hidden in all layers is a word that the stock model's attention mask hides."""
    encoding = _pair(reader)
    removed = [_units(encoding, {2, 3}), _units(encoding, {0, len(encoding.units) - 1}), _units(encoding, set())]
    rows = [Row(removed=units, operator=RemovalOperator.HIDDEN_KEYS) for units in removed]
    batch = _batch(encoding, copies=len(rows))
    for row, units in enumerate(removed):
        batch.mask[row, np.isin(encoding.unit_of_token, np.flatnonzero(units))] = 0
    _same(reader, encoding, rows, stock.stock_logits(reader, reader.sdpa, batch))


def test_masked_words_are_replaced_ids(reader: Tiny) -> None:
    """A word removed by the mask token is a stock forward on the same ids with that word's replaced."""
    encoding = _pair(reader)
    mask = reader.backend._encoder.tokenizer.mask_token_id
    removed = [_units(encoding, {1}), _units(encoding, set(range(len(encoding.units))))]
    batch = _batch(encoding, copies=len(removed))
    for row, units in enumerate(removed):
        batch.ids[row, np.isin(encoding.unit_of_token, np.flatnonzero(units))] = mask
    special = torch.from_numpy(encoding.unit_of_token) < 0
    assert torch.equal(batch.ids[:, special], _batch(encoding, copies=2).ids[:, special])
    _same(reader, encoding, [Row(removed=units) for units in removed], stock.stock_logits(reader, reader.sdpa, batch))


def test_everything_hidden_leaves_the_special_tokens(reader: Tiny) -> None:
    """With every word hidden the model still answers, from its special tokens, and with numbers."""
    encoding = _pair(reader)
    everything = _units(encoding, set(range(len(encoding.units))))
    batch = _batch(encoding, copies=1)
    batch.mask[0, encoding.unit_of_token >= 0] = 0
    rows = [Row(removed=everything, operator=RemovalOperator.HIDDEN_KEYS)]
    _same(reader, encoding, rows, stock.stock_logits(reader, reader.sdpa, batch))


def test_uniform_attention_is_one_over_the_keys(model: Tiny) -> None:
    """Uniform rows attend to each token alike, in all layers and heads."""
    _edited_row(model, Row(edit=AttentionEdit.UNIFORM, readout=True), lambda _, p: torch.full_like(p, 1 / p.shape[-1]))


def test_identity_changes_nothing(model: Tiny) -> None:
    """A row whose own attention is put back is the row itself."""
    encoding = _text(model)
    edited, plain = _states(model, encoding, [Row(edit=AttentionEdit.IDENTITY, readout=True), Row(readout=True)])
    assert (edited - plain).abs().max() <= _within(model)


def test_permuted_keys_are_the_seeds_permutations(model: Tiny) -> None:
    """Permuted rows put at key j what key order[j] had, by one permutation per layer, head and seed."""
    seed = 2**63 + 11

    def permute(layer: int, probabilities: Tensor) -> Tensor:
        length = probabilities.shape[-1]
        orders = random_permutations(seed, "keys", (3, 4, length))[layer]
        heads = [probabilities[:, head, :, torch.from_numpy(order)] for head, order in enumerate(orders)]
        return torch.stack(heads, dim=1)

    _edited_row(model, Row(edit=AttentionEdit.PERMUTED, seed=seed, readout=True), permute)


def test_permuted_rows_report_their_own_maps(model: Tiny) -> None:
    """The maps of a permuted row are those of the attention it ran with, so that twins can be told from copies."""
    encoding, seed = _text(model), 5
    seen: list[Tensor] = []

    def permute(layer: int, probabilities: Tensor) -> Tensor:
        orders = random_permutations(seed, "keys", (3, 4, probabilities.shape[-1]))[layer]
        seen.append(torch.stack([probabilities[0, h, :, torch.from_numpy(order)] for h, order in enumerate(orders)]))
        return seen[-1].unsqueeze(0)

    stock.edited(model, model.stock(stock.EXPLICIT), _batch(encoding, copies=1), permute)
    attention = torch.stack(seen).double().numpy()
    rows = [Row(), Row(edit=AttentionEdit.PERMUTED, seed=seed), Row(edit=AttentionEdit.UNIFORM)]
    results = model.engine().run("tiny", variants(encoding, rows))
    assert [sorted(kind.name for kind in result.maps) for result in results] == [
        [],
        ["ATTENTION_ROLLOUT", "RAW_ATTENTION"],
        [],
    ]
    for kind, weights in {
        MapKind.RAW_ATTENTION: stock.raw_attention(attention),
        MapKind.ATTENTION_ROLLOUT: stock.attention_rollout(attention),
    }.items():
        sums = np.array([weights[encoding.unit_of_token == unit].sum() for unit in range(len(encoding.units))])
        assert np.abs(results[1].maps[kind] - sums / sums.sum()).max() <= _within(model)


def test_permuted_maps_follow_the_options(model: Tiny) -> None:
    """Maps of permuted rows are made with the request's options, or there is nothing to compare them with."""
    encoding, rows = _text(model), [Row(edit=AttentionEdit.PERMUTED, seed=1)]
    options = MapOptions(raw_layers=(0,), raw_heads=(2,), rollout_fusion=HeadFusion.MAX, rollout_start_layer=1)
    (chosen,) = model.engine().run("tiny", variants(encoding, rows, options))
    output = model.backend.run(variants(encoding, rows, options))
    assert output.permuted is not None
    raw = raw_attention(output.permuted.readout, (0,), (2,))[0].double().numpy()
    rollout = attention_rollout(output.permuted.fused, 0, 1)[0].double().numpy()
    (usual,) = model.engine().run("tiny", variants(encoding, rows))
    for kind, weights in {MapKind.RAW_ATTENTION: raw, MapKind.ATTENTION_ROLLOUT: rollout}.items():
        sums = np.array([weights[encoding.unit_of_token == unit].sum() for unit in range(len(encoding.units))])
        assert np.abs(chosen.maps[kind] - sums / sums.sum()).max() <= DOUBLE
        assert np.abs(chosen.maps[kind] - usual.maps[kind]).max() > VISIBLE


def test_rows_do_not_touch_each_other(model: Tiny) -> None:
    """Whatever the other rows of a batch are, a row gives what it gives beside copies of itself."""
    encoding = _text(model)
    units = _units(encoding, {1, 4})
    rows = [
        Row(readout=True),
        Row(edit=AttentionEdit.UNIFORM, readout=True),
        Row(edit=AttentionEdit.PERMUTED, seed=1, readout=True),
        Row(removed=units, readout=True),
        Row(removed=units, operator=RemovalOperator.HIDDEN_KEYS, readout=True),
        Row(edit=AttentionEdit.IDENTITY, readout=True),
        Row(edit=AttentionEdit.PERMUTED, seed=2, readout=True),
        Row(readout=True),
    ]
    together = _states(model, encoding, rows)
    assert (together[0] - together[7]).abs().max() <= _within(model)
    for row, state in zip(rows, together, strict=True):
        assert (_states(model, encoding, [row])[0] - state).abs().max() <= _within(model)
    moved = [(together[i] - together[0]).abs().max() > VISIBLE for i in (1, 2, 3, 4, 6)]
    assert all(moved)
    assert (together[2] - together[6]).abs().max() > VISIBLE


def test_edits_by_layer_row_and_head_do_the_same_to_whole_models(model: Tiny) -> None:
    """Knock-out, uniform, blend and permutation, each in its own layer, row and heads of a padded batch."""
    ids = [stock.random_ids(model, length, seed) for seed, length in enumerate((9, 6, 9, 7))]
    batch = Batch.of(*ids, pad=model.sdpa.config.pad_token_id)
    visible = batch.mask[:, None, None, :].bool()
    given = torch.softmax(torch.arange(9, dtype=model.dtype), dim=0).masked_fill(~visible[1, 0, 0], 0)
    given = given / given.sum()
    gate = torch.tensor([0.0, 0.25, 1.0, 0.5], dtype=model.dtype).reshape(1, 4, 1, 1)
    order = torch.stack([torch.randperm(9, generator=torch.Generator().manual_seed(head)) for head in range(4)])
    bias = torch.zeros(4, 4, 1, 9, dtype=model.dtype)
    bias[3, 2, :, 1] = torch.finfo(model.dtype).min

    def by_hand(layer: int, probabilities: Tensor) -> Tensor:
        found = probabilities.clone()
        if layer == 0:
            found[3, 2, :, 1] = 0
            found[3, 2] /= found[3, 2].sum(dim=-1, keepdim=True)
            found[0] = torch.stack([found[0, head][:, order[head]] for head in range(4)])
        if layer == 1:
            found[1] = (1 - gate[0]) * found[1] + gate[0] * given
        if layer == 2:
            found[3] = visible[3, 0, 0].to(model.dtype) / visible[3].sum()
        return found

    edits = {
        0: LayerEdit(key_bias=bias, permutation=Permutation(rows=torch.tensor([0]), order=order.unsqueeze(0))),
        1: LayerEdit(blends=(Blend(rows=torch.tensor([1]), gate=gate, source=given.reshape(1, 1, 1, 9)),)),
        2: LayerEdit(blends=(Blend(rows=torch.tensor([3]), gate=1.0, source=MapSource.UNIFORM),)),
    }
    expected, _ = stock.edited(model, model.stock(stock.EXPLICIT), batch, by_hand)
    inputs = Inputs(input_ids=batch.ids, attention_mask=batch.mask, type_ids=batch.types)
    with torch.no_grad():
        found, untouched = model.backend.forward(inputs, BatchPlan(edits=edits)), model.backend.forward(inputs)
    assert (found - expected).abs().max() <= _within(model)
    moved = (found - untouched).abs().amax(dim=1)
    assert moved[2] <= _within(model)
    assert (moved[[0, 1, 3]] > _within(model)).all()


def _edited_row(model: Tiny, row: Row, edit: Edit) -> None:
    """Compare a row's logits and state with those of the stock model whose explicit attention is edited."""
    encoding = _text(model)
    logits, state = stock.edited(model, model.stock(stock.EXPLICIT), _batch(encoding, copies=1), edit)
    output = model.backend.run(variants(encoding, [Row(readout=True), row]))
    assert output.readouts is not None
    assert (output.logits[1] - logits[0]).abs().max() <= _within(model)
    assert (output.readouts[1] - state[0]).abs().max() <= _within(model)
    assert (output.readouts[1] - output.readouts[0]).abs().max() > VISIBLE


def _same(model: Tiny, encoding: Encoding, rows: list[Row], expected: Tensor) -> None:
    """Rows without an edit are the stock model: bit for bit where the last layer is computed whole."""
    backend, batch = model.backend, variants(encoding, rows)
    assert (backend.run(batch).logits - expected).abs().max() <= _within(model)
    with switched(backend, readout_row_suffices=False):
        assert torch.equal(backend.run(batch).logits, expected)
    assert torch.equal(backend.predict(batch), expected)
    assert expected.isfinite().all()


def _states(model: Tiny, encoding: Encoding, rows: list[Row]) -> Tensor:
    readouts = model.backend.run(variants(encoding, rows)).readouts
    assert readouts is not None
    return readouts


def _within(model: Tiny) -> float:
    return DOUBLE if model.dtype is torch.float64 else SINGLE


def _text(model: Tiny) -> Encoding:
    return model.backend.encode(TextInput(text=TEXT))


def _pair(model: Tiny) -> Encoding:
    return model.backend.encode(TextInput(text=TEXT, text_pair="a dull story"))


def _units(encoding: Encoding, units: set[int]) -> Bools:
    return np.isin(np.arange(len(encoding.units)), sorted(units))


def _batch(encoding: Encoding, copies: int) -> Batch:
    ids = torch.from_numpy(np.tile(encoding.input_ids, (copies, 1)))
    types = torch.from_numpy(np.tile(encoding.type_ids, (copies, 1)))
    return Batch(ids=ids, mask=torch.ones_like(ids), types=types)


def test_ids_without_words_between_separators_keep_their_sides(bert: Tiny) -> None:
    """Ids with separators inside are perturbed between them, never at them."""
    tokenizer = bert.backend._encoder.tokenizer
    ids = (tokenizer.cls_token_id, 40, 41, tokenizer.sep_token_id, 42, tokenizer.sep_token_id)
    encoding = bert.backend.encode(TokensInput(input_ids=ids))
    everything = np.ones(len(encoding.units), dtype=np.bool_)
    inputs = bert.backend._inputs(variants(encoding, [Row(removed=everything)]), encoding.length)
    replaced = inputs.input_ids[0] == tokenizer.mask_token_id
    assert replaced.tolist() == [False, True, True, False, True, False]
