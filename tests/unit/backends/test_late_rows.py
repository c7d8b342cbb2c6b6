"""Rows that are edited from a later layer on, against the stock model edited by hand, and against an early start.

Shapes: B batch, L layer, H head, T token.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from rollcall.backends.base import BatchRow, variants
from rollcall.checks.base import OPERATORS
from rollcall.domain.inputs import Encoding, TextInput, TokensInput
from rollcall.domain.maps import Bools
from rollcall.domain.rows import AttentionEdit, RemovalOperator, Row
from rollcall.domain.seeds import random_permutations
from tests.tiny import FAMILIES, TEXT, Tiny, Zoo
from tests.unit.backends import stock
from tests.unit.backends.stock import Batch
from tests.unit.backends.switches import switched

Tensor = torch.Tensor

LAYERS, HEADS, LAST = 3, 4, 2
DOUBLE = 1e-10
SINGLE = 1e-5
VISIBLE = 10 * SINGLE
"""What two different edits do to the read-out state, at least: far more than what counts as equal."""
LONGEST = 512
RANGES: tuple[tuple[int, ...] | None, ...] = (None, (0,), (1,), (LAST,), (0, 1), (1, 2), (0, 2), (2, 1))
EDITS = (AttentionEdit.IDENTITY, AttentionEdit.UNIFORM, AttentionEdit.PERMUTED)
SEED = 2**64 - 1


@pytest.fixture(scope="module", params=[torch.float64, torch.float32], ids=["double", "single"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """Both precisions: the exact one says that the algebra is right, the other one that it is used."""
    chosen: torch.dtype = request.param
    return chosen


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, zoo: Zoo, dtype: torch.dtype) -> Tiny:
    """Each family in both precisions; all of them let rows join late."""
    chosen = zoo.precise(request.param) if dtype is torch.float64 else zoo[request.param]
    assert chosen.backend.rows_join_late
    assert chosen.backend.readout_row_suffices
    return chosen


@pytest.fixture(scope="module")
def explicit(model: Tiny) -> PreTrainedModel:
    """The stock model whose attention can be edited by hand."""
    return model.stock(stock.EXPLICIT)


def within(model: Tiny) -> float:
    """Rounding."""
    return DOUBLE if model.dtype is torch.float64 else SINGLE


def encodings(model: Tiny) -> dict[str, Encoding]:
    """A text, a pair, a single word, and an input as short as one can be: one id."""
    backend = model.backend
    return {
        "text": backend.encode(TextInput(text=TEXT)),
        "pair": backend.encode(TextInput(text="a dull story", text_pair="the music is wonderful")),
        "word": backend.encode(TextInput(text="film")),
        "token": backend.encode(TokensInput(input_ids=stock.random_ids(model, 3))),
    }


def by_hand(model: Tiny, explicit: PreTrainedModel, each: BatchRow) -> tuple[Tensor, Tensor]:
    """Logits [C] and read-out state [E] of one row: the stock model, its attention edited in the row's layers."""
    encoding, row = each.encoding, each.row
    ids = torch.from_numpy(encoding.input_ids.copy()).unsqueeze(0)
    visible = torch.ones_like(ids)
    if row.removed is not None:
        tokens = torch.from_numpy(encoding.tokens_of(row.removed))
        if row.operator is RemovalOperator.HIDDEN_KEYS:
            visible[0, tokens] = 0
        else:
            ids[0, tokens] = model.backend._encoder.removal_token

    def edit(layer: int, probabilities: Tensor) -> Tensor:
        if row.layers is not None and layer not in row.layers:
            return probabilities
        if row.edit is AttentionEdit.UNIFORM:
            return (visible.to(probabilities.dtype) / visible.sum()).expand_as(probabilities)
        if row.edit is AttentionEdit.PERMUTED:
            orders = random_permutations(row.seed, "keys", (LAYERS, HEADS, encoding.length))[layer]
            return torch.stack([probabilities[:, h, :, torch.from_numpy(o)] for h, o in enumerate(orders)], dim=1)
        return probabilities

    types = torch.from_numpy(encoding.type_ids).unsqueeze(0)
    logits, states = stock.edited(model, explicit, Batch(ids=ids, mask=visible, types=types), edit)
    return logits[0], states[0]


def check(model: Tiny, explicit: PreTrainedModel, rows: Sequence[BatchRow]) -> None:
    """Run rows as one batch; each is what it is by hand, and what it is where everybody starts at the bottom."""
    found = model.backend.run(rows)
    with switched(model.backend, rows_join_late=False):
        together = model.backend.run(rows)
    assert found.readouts is not None
    assert together.readouts is not None
    assert (found.logits - together.logits).abs().max() <= within(model)
    assert (found.readouts - together.readouts).abs().max() <= within(model)
    for at, each in enumerate(rows):
        logits, state = by_hand(model, explicit, each)
        assert (found.logits[at] - logits).abs().max() <= within(model)
        assert (found.readouts[at] - state).abs().max() <= within(model)


@pytest.mark.parametrize("name", ["text", "pair", "word", "token"])
def test_edits_of_some_layers_are_those_of_the_stock_model(model: Tiny, explicit: PreTrainedModel, name: str) -> None:
    """Every edit of every range of layers, in one batch, is the stock model with these layers edited by hand."""
    encoding = encodings(model)[name]
    rows = [Row(edit=edit, layers=layers, seed=SEED, readout=True) for layers in RANGES for edit in EDITS]
    check(model, explicit, variants(encoding, [*rows, Row(readout=True)]))


def test_each_range_of_layers_does_something_of_its_own(model: Tiny) -> None:
    """The comparison above would notice an edit in the wrong layers."""
    different = RANGES[: RANGES.index((2, 1))]
    assert {frozenset(layers or range(LAYERS)) for layers in different} == {
        frozenset(layers or range(LAYERS)) for layers in RANGES
    }
    rows = [Row(edit=AttentionEdit.PERMUTED, layers=layers, seed=SEED, readout=True) for layers in different]
    states = model.backend.run(variants(encodings(model)["text"], [*rows, Row(readout=True)])).readouts
    assert states is not None
    assert torch.pdist(states.double()).min() > VISIBLE


@pytest.mark.parametrize("layers", [(LAST,), (1,), (1, 2)])
def test_a_late_row_alone_brings_its_own_untouched_input(
    model: Tiny, explicit: PreTrainedModel, layers: tuple[int, ...]
) -> None:
    """Nobody needs to ask for the untouched row that a late one is copied from, and nobody gets it."""
    for encoding in encodings(model).values():
        for edit in EDITS:
            rows = variants(encoding, [Row(edit=edit, layers=layers, seed=1, readout=True)])
            assert len(model.backend.run(rows).logits) == 1
            check(model, explicit, rows)


def test_late_rows_beside_removals_are_copies_of_the_untouched_input(model: Tiny, explicit: PreTrainedModel) -> None:
    """Whatever else is in the batch, hidden or replaced words among it, a late row is a copy of the whole text."""
    encoding = encodings(model)["text"]
    some, everything = (removing(encoding, every) for every in (3, 1))
    removals = [
        Row(removed=removed, operator=operator, readout=True)
        for removed in (some, everything)
        for operator in OPERATORS
    ]
    late = [
        Row(edit=edit, layers=layers, seed=3, readout=True)
        for edit in EDITS
        for layers in ((LAST,), (1,), (1, 2), (0, 2))
    ]
    mixed = [row for pair in zip(late, [*removals, *removals, *removals], strict=True) for row in pair]
    check(model, explicit, variants(encoding, mixed))


def test_an_edit_of_a_removal_is_both(model: Tiny, explicit: PreTrainedModel) -> None:
    """A row that removes words and edits attention in some layers does both, and shares nothing."""
    encoding = encodings(model)["text"]
    rows = [
        Row(removed=removing(encoding, 3), operator=operator, edit=edit, layers=layers, readout=True)
        for operator in OPERATORS
        for edit in (AttentionEdit.IDENTITY, AttentionEdit.UNIFORM)
        for layers in (None, (1,), (LAST,))
    ]
    replaced = Row(removed=removing(encoding, 3), edit=AttentionEdit.PERMUTED, layers=(1, 2), seed=8, readout=True)
    check(
        model,
        explicit,
        variants(encoding, [*rows, replaced, Row(edit=AttentionEdit.UNIFORM, layers=(LAST,), readout=True)]),
    )


def test_late_rows_of_several_inputs_are_copies_each_of_its_own(model: Tiny, explicit: PreTrainedModel) -> None:
    """Rows of several texts of different lengths, in any order, join as copies of their own text."""
    asked = [
        Row(edit=edit, layers=layers, seed=4, readout=True)
        for edit in EDITS
        for layers in ((LAST,), (1,), None, (0, 2))
    ]
    rows = [row for encoding in encodings(model).values() for row in variants(encoding, asked)]
    order = np.random.default_rng(0).permutation(len(rows))
    check(model, explicit, [rows[i] for i in order])


def test_sixty_four_draws_of_the_last_layer_equal_one_by_one(model: Tiny, explicit: PreTrainedModel) -> None:
    """The cheap rows: sixty-four permutations of the last layer share everything below it, and change nothing by it."""
    encoding = encodings(model)["text"]
    rows = variants(
        encoding,
        [Row(edit=AttentionEdit.PERMUTED, layers=(LAST,), seed=seed, readout=True) for seed in range(64)],
    )
    together = model.backend.run(rows)
    assert together.readouts is not None
    for at, row in enumerate(rows):
        alone = model.backend.run([row])
        assert alone.readouts is not None
        assert (together.logits[at] - alone.logits[0]).abs().max() <= within(model)
        assert (together.readouts[at] - alone.readouts[0]).abs().max() <= within(model)
        if at % 16 == 0:
            logits, state = by_hand(model, explicit, row)
            assert (together.logits[at] - logits).abs().max() <= within(model)
            assert (together.readouts[at] - state).abs().max() <= within(model)
    assert torch.pdist(together.readouts.double()).min() > VISIBLE


def test_the_longest_input_joins_late_too(alike: Tiny) -> None:
    """An input of as many tokens as the model reads, whole and with a few words hidden."""
    encoding = alike.backend.encode(TokensInput(input_ids=stock.random_ids(alike, LONGEST)))
    hidden = Row(removed=removing(encoding, 2), operator=RemovalOperator.HIDDEN_KEYS, readout=True)
    late = [Row(edit=edit, layers=layers, seed=2, readout=True) for edit in EDITS for layers in ((LAST,), (1, 2))]
    check(alike, alike.stock(stock.EXPLICIT), variants(encoding, [hidden, *late]))


def test_rows_permuted_from_a_later_layer_on_report_no_maps(model: Tiny) -> None:
    """Maps are recomputed for rows that are permuted from the first layer on, in the order in which they were asked."""
    encoding = encodings(model)["text"]
    permuted = AttentionEdit.PERMUTED
    rows = [
        Row(edit=permuted, layers=(LAST,), seed=1),
        Row(edit=permuted, seed=2),
        Row(),
        Row(edit=permuted, layers=(0, 2), seed=3),
        Row(edit=AttentionEdit.UNIFORM),
        Row(edit=permuted, layers=(1, 2), seed=4),
    ]
    for late in (True, False):
        with switched(model.backend, rows_join_late=late):
            output = model.backend.run(variants(encoding, rows))
            results = model.engine().run("tiny", variants(encoding, rows))
        assert output.permuted_rows == (1, 3)
        assert output.permuted is not None
        assert output.permuted.readout.shape == (2, LAYERS, HEADS, encoding.length)
        assert [layer.shape[:2] for layer in output.permuted.fused] == [(2, encoding.length)] * 2 + [(2, 1)]
        assert [bool(result.maps) for result in results] == [False, True, False, True, False, False]


def removing(encoding: Encoding, every: int) -> Bools:
    """Remove every so many units."""
    return np.asarray(np.arange(len(encoding.units)) % every == 0)
