"""Rows whose attention is open, in parts that have room, and what the parts gave as that of one batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from rollcall.backends.base import AttentionReductions, BatchRow, Shape
from rollcall.domain.rows import AttentionEdit

OBSERVED_BYTES = 2**27
"""Attention that is fetched at once; rows for which there is no room in it are run one part after the other."""


def with_edit(each: BatchRow) -> BatchRow:
    """A row with its attention open: what edits nothing puts its own back."""
    row = each.row
    return replace(each, row=replace(row, edit=AttentionEdit.IDENTITY)) if row.edit is AttentionEdit.NONE else each


def parts(rows: Sequence[BatchRow], numbers: list[int], shape: Shape, itemsize: int) -> Iterator[list[int]]:
    """Numbers of rows in parts whose attention, of all layers and so many bytes a weight, has room."""
    length = max((rows[i].encoding.length for i in numbers), default=1)
    attention = shape.layers * shape.heads * length**2 * itemsize
    size = max(1, OBSERVED_BYTES // max(1, attention))
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]


def joined(found: Sequence[AttentionReductions]) -> AttentionReductions:
    """Reductions of several parts as those of one batch."""
    if len(found) == 1:
        return found[0]
    layers = zip(*(part.fused for part in found), strict=True)
    return AttentionReductions(
        fused=tuple(torch.cat(layer) for layer in layers), readout=torch.cat([part.readout for part in found])
    )
