"""What a row gives does not depend on what else is in its batch: bit for bit among rows of its length.

Predictions share batches with longer and shorter texts too; there the promise is the service's usual precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from rollcall.backends.base import BatchRow, variants
from rollcall.domain.inputs import Encoding, TextInput, TokensInput
from rollcall.domain.maps import HeadFusion, MapOptions
from rollcall.domain.rows import AttentionEdit, RemovalOperator, Row
from tests.tiny import TEXT, Tiny
from tests.unit.backends import stock
from tests.unit.backends.stock import Batch

Tensor = torch.Tensor

PROMISED = 1e-5
OTHERS = 40
LENGTHS = (2, 3, 4, 8, 11, 16, 29, 64, 129)
"""Tokens; 3 is one word, 2 is one without a separator behind it."""
LONGEST = 512
BY_MAXIMUM = MapOptions(rollout_fusion=HeadFusion.MAX)


@pytest.fixture
def neutral(tiny: Tiny) -> Tiny:
    """A family whose rows are the same in any company, on this processor."""
    if not tiny.backend.batch_is_neutral:
        value = next(test.value for test in tiny.loaded.self_tests if test.name == "batch_is_neutral")
        pytest.skip(f"{tiny.family} ROUNDS BY COMPANY ON THIS PROCESSOR, by {value:.3g}: rows are not batched together")
    return tiny


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Everything that a batch gave one row."""

    logits: Tensor
    readout: Tensor
    weights: tuple[Tensor, ...]
    """Its recomputed attention; empty for rows that report none."""

    def __eq__(self, other: object) -> bool:
        """Compare every bit."""
        return (
            isinstance(other, Found)
            and torch.equal(self.logits, other.logits)
            and torch.equal(self.readout, other.readout)
            and len(self.weights) == len(other.weights)
            and all(torch.equal(mine, yours) for mine, yours in zip(self.weights, other.weights, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]  # tensors have none


def run(tiny: Tiny, rows: Sequence[BatchRow]) -> list[Found]:
    """Run one batch."""
    output = tiny.backend.run(rows)
    assert output.readouts is not None
    weights: dict[int, tuple[Tensor, ...]] = {}
    if output.permuted is not None:
        for at, number in enumerate(output.permuted_rows):
            weights[number] = (output.permuted.readout[at], *(layer[at] for layer in output.permuted.fused))
    return [
        Found(logits=output.logits[i], readout=output.readouts[i], weights=weights.get(i, ())) for i in range(len(rows))
    ]


def every_kind(encoding: Encoding, seed: int = 1, options: MapOptions | None = None) -> list[BatchRow]:
    """One row of each kind that starts at once; at least one unit is removed where there is one.

    Rows that join late are equal in any company up to rounding only, and never share a batch with another request's.
    """
    removed = np.arange(len(encoding.units)) % 3 == seed % min(3, len(encoding.units))
    rows = [
        Row(readout=True),
        Row(removed=removed, readout=True),
        Row(removed=removed, operator=RemovalOperator.HIDDEN_KEYS, readout=True),
        Row(removed=np.ones_like(removed), operator=RemovalOperator.HIDDEN_KEYS, readout=True),
        *(Row(edit=edit, seed=seed, readout=True) for edit in list(AttentionEdit)[1:]),
        Row(edit=AttentionEdit.PERMUTED, layers=(0, 2), seed=seed, readout=True),
    ]
    return variants(encoding, rows, options or MapOptions())


def of_length(tiny: Tiny, length: int, seed: int = 0) -> Encoding:
    """A random input; of two tokens, one that lacks its separator."""
    return tiny.backend.encode(TokensInput(input_ids=stock.random_ids(tiny, max(3, length), seed)[:length]))


@pytest.mark.parametrize("length", LENGTHS)
def test_a_row_is_the_same_alone_and_among_forty_others(neutral: Tiny, length: int) -> None:
    """Logits, read-out state and maps of a row are equal to the last bit, wherever it stands and beside whomever."""
    first, second = (of_length(neutral, length, seed) for seed in range(2))
    rows = every_kind(first)
    alone = [run(neutral, [row])[0] for row in rows]
    company = [
        *every_kind(second, 2, BY_MAXIMUM),
        *every_kind(first, 3),
        *every_kind(second, 4),
        *every_kind(first, 5, BY_MAXIMUM),
        *every_kind(second, 6),
    ]
    assert len(company) >= OTHERS
    for at, row in enumerate(rows):
        for place in (0, 1, OTHERS // 2, OTHERS):
            batch = company[:OTHERS]
            batch.insert(place, row)
            assert run(neutral, batch)[place] == alone[at]
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(rows) + OTHERS)
        batch = [*rows, *company[:OTHERS]]
        found = run(neutral, [batch[i] for i in order])
        assert [found[int(np.flatnonzero(order == at)[0])] for at in range(len(rows))] == alone


@pytest.mark.parametrize("length", [3, 4, 13, 48, 129])
def test_copies_of_a_row_are_the_row(neutral: Tiny, length: int) -> None:
    """However many copies of a row are in a batch, each gives what one gives: kernels chosen by size say the same."""
    for row in every_kind(of_length(neutral, length)):
        (alone,) = run(neutral, [row])
        for copies in (2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33):
            assert run(neutral, [row] * copies) == [alone] * copies


def test_the_longest_input_is_the_same_in_any_company(neutral: Tiny) -> None:
    """An input of as many tokens as the model reads, alone and beside others, hidden keys among them."""
    first, second = (of_length(neutral, LONGEST, seed) for seed in range(2))
    rows = every_kind(first)
    alone = [run(neutral, [row])[0] for row in rows]
    assert run(neutral, [*every_kind(second, 2), *rows])[-len(rows) :] == alone
    assert run(neutral, rows) == alone


def test_hidden_neighbours_change_nothing(neutral: Tiny) -> None:
    """A batch without any hidden key needs no mask, one with a hidden key does: the others do not notice."""
    encoding = of_length(neutral, 21)
    visible = [row for row in every_kind(encoding) if row.row.operator is not RemovalOperator.HIDDEN_KEYS]
    hidden = [row for row in every_kind(encoding) if row.row.operator is RemovalOperator.HIDDEN_KEYS]
    assert visible
    assert hidden
    without = run(neutral, visible)
    for neighbours in (hidden[:1], hidden, hidden * 8):
        assert run(neutral, [*visible, *neighbours])[: len(visible)] == without
        assert run(neutral, [*neighbours, *visible])[len(neighbours) :] == without


def test_two_inputs_of_one_length_run_as_if_apart(neutral: Tiny) -> None:
    """Rows of two callers whose texts happen to have the same length share a batch, and nothing else."""
    first, second = (of_length(neutral, 17, seed) for seed in range(2))
    mine, yours = every_kind(first, 1), every_kind(second, 2, BY_MAXIMUM)
    apart = [*run(neutral, mine), *run(neutral, yours)]
    assert run(neutral, [*mine, *yours]) == apart
    mixed = [row for pair in zip(yours, mine, strict=True) for row in pair]
    found = run(neutral, mixed)
    assert [*found[1::2], *found[::2]] == apart


def test_the_same_text_of_two_callers_is_two_inputs(neutral: Tiny) -> None:
    """Two callers with equal texts get equal rows, whether the service knows that they are equal or not."""
    first, second = of_length(neutral, 9), of_length(neutral, 9)
    assert first is not second
    found = run(neutral, [*every_kind(first), *every_kind(second)])
    assert found[: len(found) // 2] == found[len(found) // 2 :] == run(neutral, every_kind(first))


def test_rows_of_several_lengths_are_padded_and_do_not_notice(tiny: Tiny) -> None:
    """A batch of checks on texts of different lengths gives each row what its own batch gives it, nearly."""
    inputs = [of_length(tiny, length, length) for length in (3, 40, 7, 128)]
    batches = [every_kind(encoding, seed) for seed, encoding in enumerate(inputs)]
    apart = [found for batch in batches for found in run(tiny, batch)]
    rows = [row for batch in batches for row in batch]
    together = run(tiny, rows)
    for row, mine, other in zip(rows, together, apart, strict=True):
        length = row.encoding.length
        assert (mine.logits - other.logits).abs().max() <= PROMISED
        assert (mine.readout - other.readout).abs().max() <= PROMISED
        assert len(mine.weights) == len(other.weights)
        for padded, plain in zip(mine.weights, other.weights, strict=True):
            queries = plain.shape[-2]
            assert (padded[..., :queries, :length] - plain).abs().max() <= PROMISED
            assert (padded[..., :queries, length:] == 0).all()


def test_predictions_of_several_lengths_share_a_batch(tiny: Tiny) -> None:
    """Every caller's prediction in a padded batch is the one that the text gets alone, within what is promised."""
    backend = tiny.backend
    encodings = [
        *(of_length(tiny, length, length) for length in (3, 128, 3, LONGEST, 12)),
        backend.encode(TextInput(text=TEXT)),
        backend.encode(TextInput(text="film")),
        backend.encode(TextInput(text="a dull story", text_pair=TEXT)),
    ]
    rows = [row for encoding in encodings for row in variants(encoding, [Row()])]
    alone = torch.cat([backend.predict([row]) for row in rows])
    for row, logits in zip(rows, alone, strict=True):
        ids, types = (torch.from_numpy(array).unsqueeze(0) for array in (row.encoding.input_ids, row.encoding.type_ids))
        batch = Batch(ids=ids, mask=torch.ones_like(ids), types=types)
        assert torch.equal(logits, stock.stock_logits(tiny, tiny.sdpa, batch)[0])
    for chosen in (range(len(rows)), (0, 1), (1, 0), (6, 3), (4, 5, 6, 7)):
        together = backend.predict([rows[i] for i in chosen])
        assert (together - alone[list(chosen)]).abs().max() <= PROMISED


def test_padding_is_what_the_stock_library_pads_with(tiny: Tiny) -> None:
    """A padded batch is, to the bit, the batch that the stock library's tokenizer would have made."""
    lengths = (9, 3, 40)
    ids = [stock.random_ids(tiny, length, length) for length in lengths]
    rows = [row for length in lengths for row in variants(of_length(tiny, length, length), [Row()])]
    batch = Batch.of(*ids, pad=tiny.sdpa.config.pad_token_id)
    assert torch.equal(tiny.backend.predict(rows), stock.stock_logits(tiny, tiny.sdpa, batch))
    inputs = tiny.backend._inputs(rows, max(lengths))
    assert torch.equal(inputs.input_ids, batch.ids)
    assert torch.equal(inputs.attention_mask, batch.mask)
    assert torch.equal(inputs.type_ids, batch.types)
