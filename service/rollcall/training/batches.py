"""Batches to learn from: rows of similar length together, with words removed at random.

Shapes: B batch, T tokens of the longest row, W words of the longest row.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Final

import torch

from rollcall.training.pieces import MASK_ID, PAD_ID

POOL_BATCHES: Final = 50
"""Rows of this many batches are sorted by length together: little padding, still well mixed."""


def batches_by_length(lengths: Sequence[int], *, size: int, chance: random.Random) -> Iterator[list[int]]:
    """Yield every row number once, in shuffled batches of rows of similar length."""
    order = list(range(len(lengths)))
    chance.shuffle(order)
    pool = size * POOL_BATCHES
    batches: list[list[int]] = []
    for start in range(0, len(order), pool):
        rows = sorted(order[start : start + pool], key=lambda row: lengths[row])
        batches += [rows[at : at + size] for at in range(0, len(rows), size)]
    chance.shuffle(batches)
    yield from batches


def warm_then_linear(step: int, *, steps: int, warm_share: float = 0.06) -> float:
    """Return the learning rate's factor: up over the first share of the steps, then down to 0."""
    warm = max(1, int(steps * warm_share))
    return (step + 1) / warm if step < warm else max(0.0, (steps - step) / max(1, steps - warm))


def padded(rows: Sequence[Sequence[int]], *, fill: int) -> torch.Tensor:
    """Return ``rows`` as an integer tensor (B, T), filled on the right."""
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows], dtype=torch.long)


def with_words_removed(
    ids: torch.Tensor, words: torch.Tensor, *, share: float, ceiling: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mask whole words in some rows, hide them from attention in others, leave the rest alone.

    ``ids`` and ``words`` are (B, T); the same shape comes back as ids and attention mask. [CLS],
    [SEP] and padding are word 0, which is never removed.
    """
    rows = len(ids)
    seen = ids != PAD_ID
    lot = torch.rand(rows, 1)
    rate = torch.rand(rows, 1) * ceiling * (lot < share)
    drawn = torch.rand(rows, int(words.max()) + 1) < rate  # (B, W)
    removed = drawn.gather(1, words) & (words > 0)
    masking = lot < share / 2
    return (
        ids.masked_fill(removed & masking, MASK_ID),
        (seen & ~(removed & ~masking)).long(),
    )
