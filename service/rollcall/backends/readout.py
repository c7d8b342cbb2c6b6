"""Where an answer is read: at the same place in every row, or in each row at a place of its own.

Shapes: B row, Q query.
"""

from __future__ import annotations

from typing import TypeAlias

import torch

Tensor = torch.Tensor
Readout: TypeAlias = int | Tensor
"""A position, or positions [B]."""


def read(states: Tensor, readout: Readout, dim: int = 1) -> Tensor:
    """The entry at the read-out of each row's axis `dim`, which is kept with length 1; an axis of length 1 is it.

    `states` [B or 1, ...]. Copies and nothing else: a row's numbers do not depend on the others'.
    """
    if states.shape[dim] == 1:
        return states
    if isinstance(readout, int):
        return states.select(dim, readout).unsqueeze(dim)
    places = readout.view(-1, *[1] * (states.dim() - 1))
    return torch.take_along_dim(states, places, dim=dim)


def of_rows(readout: Readout, rows: Tensor | slice | None) -> Readout:
    """The read-out of some of the rows; None means all."""
    return readout if isinstance(readout, int) or rows is None else readout[rows]


def written(states: Tensor, entries: Tensor, readout: Readout, dim: int = 1) -> Tensor:
    """`states` with the entries [B, ..., 1, ...] at the read-out of each row's axis `dim`; a new tensor."""
    if states.shape[dim] == 1:
        return entries
    if isinstance(readout, int):
        changed = states.clone()
        changed.select(dim, readout).copy_(entries.squeeze(dim))
        return changed
    places = readout.view(-1, *[1] * (states.dim() - 1)).expand_as(entries)
    return states.scatter(dim, places, entries)
