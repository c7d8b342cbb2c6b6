"""The rows of thorough checks, on whole models of every family, against the stock model made to do the same by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rollcall.backends.base import variants
from rollcall.backends.edits import edges_into
from rollcall.domain.inputs import Encoding, TextInput
from rollcall.domain.maps import Bools, MapKind
from rollcall.domain.rows import AttentionEdit, QueryScope, RemovalOperator, Row
from rollcall.domain.seeds import random_permutations, random_words
from tests.subjects import encoding as words
from tests.tiny import TEXT, Tiny, Zoo
from tests.unit.backends import stock
from tests.unit.backends.stock import Batch, Edit
from tests.unit.backends.switches import switched

Tensor = torch.Tensor

WITHIN = 1e-10
VISIBLE = 1e-4
LAYERS, HEADS = 3, 4


@pytest.fixture(scope="module", params=["bert", "roberta", "distilbert", "albert"])
def model(request: pytest.FixtureRequest, zoo: Zoo) -> Tiny:
    """Families with every way to embed positions, in double precision."""
    return zoo.precise(request.param)


def test_edges_lead_from_others_into_a_unit() -> None:
    """Others no longer see the units; a unit's own tokens do, and special tokens are others, too."""
    text = words(3)
    found = edges_into(text, np.array([True, False, True]))
    expected = [[0, 1, 0, 1, 0], [0, 0, 0, 1, 0], [0, 1, 0, 1, 0], [0, 1, 0, 0, 0], [0, 1, 0, 1, 0]]
    assert found.astype(int).tolist() == expected


@pytest.mark.parametrize("edit", [AttentionEdit.KNOCKED_OUT, AttentionEdit.CUT])
def test_edges_are_cut_before_or_after_the_softmax(model: Tiny, edit: AttentionEdit) -> None:
    """Knocked out, what is left of a query's attention sums to 1 again; cut, it keeps its weights."""
    encoding = _text(model)
    units = _units(encoding, {1, 3})
    cut = torch.from_numpy(edges_into(encoding, units))

    def by_hand(_: int, probabilities: Tensor) -> Tensor:
        left = probabilities.masked_fill(cut, 0)
        return left / left.sum(dim=-1, keepdim=True) if edit is AttentionEdit.KNOCKED_OUT else left

    _same(model, Row(edit=edit, units=units), by_hand)


def test_no_edge_cut_changes_nothing(model: Tiny) -> None:
    """An empty set of units is the identity, in both modes, and so are no heads and no bias."""
    encoding = _text(model)
    nothing = _units(encoding, set())
    rows = [
        Row(),
        Row(edit=AttentionEdit.KNOCKED_OUT, units=nothing),
        Row(edit=AttentionEdit.CUT, units=nothing),
        Row(edit=AttentionEdit.SILENCED),
        Row(edit=AttentionEdit.BIASED, bias=np.zeros((LAYERS, HEADS, encoding.length))),
    ]
    logits = model.backend.run(variants(encoding, rows)).logits
    assert (logits[1:] - logits[0]).abs().max() <= WITHIN


def test_a_silenced_head_passes_nothing_on(model: Tiny) -> None:
    """One head of one layer outputs zeros; everything else is as it was, and the row may join late."""

    def by_hand(layer: int, probabilities: Tensor) -> Tensor:
        found = probabilities.clone()
        if layer == 1:
            found[:, 2] = 0
        return found

    _same(model, Row(edit=AttentionEdit.SILENCED, layers=(1,), heads=(2,)), by_hand)


def test_the_last_layers_head_is_silenced_at_the_readout(model: Tiny) -> None:
    """Where the last layer is computed for one query alone, its heads are silenced all the same."""

    def by_hand(layer: int, probabilities: Tensor) -> Tensor:
        found = probabilities.clone()
        if layer == LAYERS - 1:
            found[:, 0] = 0
        return found

    _same(model, Row(edit=AttentionEdit.SILENCED, layers=(LAYERS - 1,), heads=(0,)), by_hand)


@pytest.mark.parametrize("layers", [None, (LAYERS - 1,)])
def test_the_readouts_row_alone_is_permuted(model: Tiny, layers: tuple[int, ...] | None) -> None:
    """Only the read-out query's keys change places, in the layers named; its maps are recomputed."""

    def by_hand(layer: int, probabilities: Tensor) -> Tensor:
        found = probabilities.clone()
        if layers is None or layer in layers:
            orders = random_permutations(7, "keys", (LAYERS, HEADS, found.shape[-1]))[layer]
            for head, order in enumerate(orders):
                found[:, head, 0] = probabilities[:, head, 0][:, torch.from_numpy(order)]
        return found

    row = Row(edit=AttentionEdit.PERMUTED, seed=7, layers=layers, queries=QueryScope.READOUT)
    _same(model, row, by_hand)
    (found,) = model.engine().run("tiny", variants(_text(model), [row]))
    assert set(found.maps) == {MapKind.RAW_ATTENTION, MapKind.ATTENTION_ROLLOUT}


def test_a_bias_is_added_to_the_logits_of_attention(model: Tiny) -> None:
    """Every query of a head sees its keys through the bias, and the maps are those of what it sees."""
    encoding = _text(model)
    bias = random_words(3, "bias", (LAYERS, HEADS, encoding.length)) / 2**63 - 1.0
    seen: list[Tensor] = []

    def by_hand(layer: int, probabilities: Tensor) -> Tensor:
        logits = probabilities.log() + torch.from_numpy(bias[layer])[None, :, None]
        seen.append(logits.softmax(dim=-1)[0])
        return logits.softmax(dim=-1)

    _same(model, Row(edit=AttentionEdit.BIASED, bias=bias), by_hand)
    (found,) = model.engine().run("tiny", variants(encoding, [Row(edit=AttentionEdit.BIASED, bias=bias)]))
    weights = stock.raw_attention(torch.stack(seen).double().numpy())
    sums = np.array([weights[encoding.unit_of_token == unit].sum() for unit in range(len(encoding.units))])
    assert np.abs(found.maps[MapKind.RAW_ATTENTION] - sums / sums.sum()).max() <= 1e-6


def test_a_bias_that_hides_keys_is_hidden_keys(model: Tiny) -> None:
    """A bias of minus infinity, as it were, on a word's keys in every head and layer is the stock attention mask."""
    encoding = _text(model)
    units = _units(encoding, {1, 2})
    bias = np.zeros((LAYERS, HEADS, encoding.length))
    bias[:, :, encoding.tokens_of(units)] = np.finfo(np.float64).min / 4
    rows = [
        Row(edit=AttentionEdit.BIASED, bias=bias),
        Row(removed=units, operator=RemovalOperator.HIDDEN_KEYS),
    ]
    biased, hidden = model.backend.run(variants(encoding, rows)).logits
    assert (biased - hidden).abs().max() <= WITHIN


def test_deleted_words_are_a_shorter_text(model: Tiny) -> None:
    """A row without some tokens is the stock model on what is left, however long its neighbours are."""
    encoding = _text(model)
    removed = _units(encoding, {0, 2})
    kept = ~encoding.tokens_of(removed)
    ids, types = (torch.from_numpy(each[kept]).unsqueeze(0) for each in (encoding.input_ids, encoding.type_ids))
    expected = stock.stock_logits(model, model.sdpa, Batch(ids=ids, mask=torch.ones_like(ids), types=types))
    rows = [Row(), Row(removed=removed, operator=RemovalOperator.DELETION), Row(removed=removed)]
    assert (model.backend.run(variants(encoding, rows)).logits[1] - expected[0]).abs().max() <= WITHIN


def test_everything_deleted_leaves_the_special_tokens(model: Tiny) -> None:
    """Without any word there is still an answer."""
    encoding = _text(model)
    row = Row(removed=np.ones(len(encoding.units), dtype=np.bool_), operator=RemovalOperator.DELETION)
    assert model.backend.run(variants(encoding, [row])).logits.isfinite().all()


def test_what_is_deleted_cannot_be_edited() -> None:
    """Deletion moves positions: an edit of attention would mean other words."""
    with pytest.raises(ValueError, match="positions"):
        Row(removed=np.array([True]), operator=RemovalOperator.DELETION, edit=AttentionEdit.PERMUTED)


def test_thorough_rows_do_not_touch_each_other(model: Tiny) -> None:
    """Whatever the other rows of a batch are, a row gives what it gives alone."""
    encoding = _text(model)
    units = _units(encoding, {1})
    rows = [
        Row(edit=AttentionEdit.CUT, units=units),
        Row(edit=AttentionEdit.SILENCED, layers=(2,), heads=(1, 3)),
        Row(edit=AttentionEdit.KNOCKED_OUT, units=~units, layers=(1, 2)),
        Row(edit=AttentionEdit.PERMUTED, seed=2, queries=QueryScope.READOUT),
        Row(edit=AttentionEdit.PERMUTED, seed=1),
        Row(edit=AttentionEdit.BIASED, bias=np.ones((LAYERS, HEADS, encoding.length)).cumsum(axis=2) / 9),
        Row(removed=units, operator=RemovalOperator.DELETION),
        Row(),
    ]
    together = model.backend.run(variants(encoding, rows)).logits
    for row, logits in zip(rows, together, strict=True):
        assert (model.backend.run(variants(encoding, [row])).logits[0] - logits).abs().max() <= WITHIN
    assert ((together[:-1] - together[-1]).abs().amax(dim=1) > VISIBLE / 100).all()


@pytest.mark.parametrize("copies", [1, 2, 3, 5])
def test_few_rows_do_as_many(model: Tiny, copies: int) -> None:
    """A batch that is filled up for the last layer's single query does the same as a large one."""
    encoding = _text(model)
    units = _units(encoding, {1})
    kinds = [
        Row(edit=AttentionEdit.CUT, units=units),
        Row(edit=AttentionEdit.KNOCKED_OUT, units=units),
        Row(edit=AttentionEdit.SILENCED, layers=(LAYERS - 1,), heads=(1,)),
        Row(edit=AttentionEdit.PERMUTED, seed=2, queries=QueryScope.READOUT),
        Row(edit=AttentionEdit.BIASED, bias=np.ones((LAYERS, HEADS, encoding.length)).cumsum(axis=2) / 9),
    ]
    together = model.backend.run(variants(encoding, [*kinds, *[Row()] * 4])).logits
    for row, logits in zip(kinds, together, strict=False):
        found = model.backend.run(variants(encoding, [row] * copies)).logits
        assert (found - logits).abs().max() <= WITHIN


def _same(model: Tiny, row: Row, edit: Edit) -> None:
    """Compare a row, among others and with work shared or not, with the stock model whose attention is edited."""
    encoding = _text(model)
    expected, _ = stock.edited(model, model.stock(stock.EXPLICIT), _batch(encoding), edit)
    others = [Row(), Row(edit=AttentionEdit.UNIFORM), row, Row(edit=AttentionEdit.PERMUTED, seed=3)]
    for shared in (True, False):
        with switched(model.backend, readout_row_suffices=shared, rows_join_late=shared):
            logits = model.backend.run(variants(encoding, others)).logits
        assert (logits[2] - expected[0]).abs().max() <= WITHIN
        assert (logits[2] - logits[0]).abs().max() > VISIBLE / 100


def _text(model: Tiny) -> Encoding:
    return model.backend.encode(TextInput(text=TEXT))


def _units(encoding: Encoding, units: set[int]) -> Bools:
    return np.isin(np.arange(len(encoding.units)), sorted(units))


def _batch(encoding: Encoding) -> Batch:
    ids, types = (torch.from_numpy(each).unsqueeze(0) for each in (encoding.input_ids, encoding.type_ids))
    return Batch(ids=ids, mask=torch.ones_like(ids), types=types)
