"""Rows of a batch as the arrays of ids that a model takes, on any backend.

Shapes: B batch, T token.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rollcall.backends.base import BatchRow
from rollcall.backends.encoding import Encoder
from rollcall.domain.maps import Bools, Ints
from rollcall.domain.rows import RemovalOperator


def stage_rows(rows: Sequence[BatchRow], length: int, encoder: Encoder) -> Ints:
    """Ids, attention mask and type ids [3, B, T] of rows of at most `length` tokens, padded behind.

    Removed units are replaced by the mask token, hidden by the mask, or taken out, as each row says.
    """
    ids, visible, types = staged = np.zeros((3, len(rows), length), dtype=np.int64)
    ids[:] = encoder.padding_token
    of_encoding: dict[int, list[int]] = {}
    for i, each in enumerate(rows):
        of_encoding.setdefault(id(each.encoding), []).append(i)
    for chosen in of_encoding.values():
        encoding = rows[chosen[0]].encoding
        own = slice(encoding.length)
        ids[chosen, own], visible[chosen, own], types[chosen, own] = encoding.input_ids, 1, encoding.type_ids
        by_operator: dict[RemovalOperator, list[tuple[int, Bools]]] = {}
        for i in chosen:
            row = rows[i].row
            if row.removed is not None:
                by_operator.setdefault(row.operator, []).append((i, row.removed))
        for operator, removing in by_operator.items():
            removed = encoding.tokens_of(np.stack([units for _, units in removing]))
            at, tokens = np.nonzero(removed)
            places = np.array([i for i, _ in removing])[at], tokens
            if operator is RemovalOperator.MASK_TOKEN:
                ids[places] = encoder.removal_token
            elif operator is RemovalOperator.HIDDEN_KEYS:
                visible[places] = 0
            elif operator is RemovalOperator.DELETION:
                for (i, _), gone in zip(removing, removed, strict=True):
                    left = slice(encoding.length - int(gone.sum()))
                    staged[:, i] = [[encoder.padding_token], [0], [0]]
                    ids[i, left], visible[i, left], types[i, left] = (
                        encoding.input_ids[~gone],
                        1,
                        encoding.type_ids[~gone],
                    )
    return staged
