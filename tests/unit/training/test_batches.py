"""Batches to learn from: every row once, and whole words removed as told."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rollcall.training.batches import batches_by_length, padded, warm_then_linear, with_words_removed
from rollcall.training.pieces import MASK_ID, PAD_ID

IDS = torch.tensor([[2, 7, 8, 9, 3, PAD_ID]]).repeat(400, 1)
WORDS = torch.tensor([[0, 1, 1, 2, 0, 0]]).repeat(400, 1)
"""The first word is two tokens."""


@given(st.lists(st.integers(1, 50), min_size=1, max_size=200), st.integers(1, 16), st.integers(0, 2**32))
def test_every_row_is_in_one_batch(lengths: list[int], size: int, seed: int) -> None:
    """None twice, none left out, no batch too large."""
    batches = list(batches_by_length(lengths, size=size, chance=random.Random(seed)))  # noqa: S311 - no secret
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert max(len(batch) for batch in batches) <= size


def test_the_rate_rises_and_then_falls_to_nothing() -> None:
    """It is highest where it has risen, and 0 behind the last step."""
    factors = [warm_then_linear(step, steps=100) for step in range(101)]
    assert max(factors) == factors[5] == 1.0
    assert factors[:6] == sorted(factors[:6])
    assert factors[6:] == sorted(factors[6:], reverse=True)
    assert factors[100] == 0.0


def test_rows_are_padded_on_the_right() -> None:
    """To the longest."""
    assert padded([[1], [2, 3]], fill=0).tolist() == [[1, 0], [2, 3]]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_words_are_removed_whole_and_special_tokens_never(share: float) -> None:
    """Some by the mask token, others hidden with their ids as they were; without a share nothing happens."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ids, seen = with_words_removed(IDS, WORDS, share=share, ceiling=0.9)
    masked, hidden = ids == MASK_ID, (seen == 0) & (IDS != PAD_ID)
    assert torch.equal(masked[:, 1], masked[:, 2])
    assert torch.equal(hidden[:, 1], hidden[:, 2])
    assert not (masked | hidden)[:, [0, 4]].any()
    assert not (masked.any(dim=1) & hidden.any(dim=1)).any()
    assert torch.equal(ids[~masked], IDS[~masked])
    assert (seen[:, 5] == 0).all()
    assert bool(masked.any()) == bool(hidden.any()) == (share > 0)
