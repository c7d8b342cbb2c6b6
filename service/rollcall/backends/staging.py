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

    Removed units are replaced by the mask token, hidden by the mask, or taken out, as each row says; where an answer is
    read they are replaced whatever the row says, and stay.
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
            units = np.stack([units for _, units in removing])
            removed = encoding.tokens_of(units)
            numbers = np.array([i for i, _ in removing])
            gone = encoding.gone(units)
            at, tokens = np.nonzero(removed if operator is RemovalOperator.MASK_TOKEN else removed & ~gone)
            ids[numbers[at], tokens] = encoder.removal_token
            if operator is RemovalOperator.HIDDEN_KEYS:
                at, tokens = np.nonzero(gone)
                visible[numbers[at], tokens] = 0
            elif operator is RemovalOperator.DELETION:
                for i, taken in zip(numbers, gone, strict=True):
                    left = slice(encoding.length - int(taken.sum()))
                    kept = staged[:, i, own][:, ~taken]
                    staged[:, i] = [[encoder.padding_token], [0], [0]]
                    staged[:, i, left] = kept
    return staged


def readouts_of(rows: Sequence[BatchRow]) -> Ints:
    """Where each row's word is [B]: DELETION of what comes before moves it."""
    places = []
    for each in rows:
        encoding, row = each.encoding, each.row
        assert encoding.word is not None
        place = encoding.word.token_start
        if row.removed is not None and row.operator is RemovalOperator.DELETION:
            place -= int(encoding.gone(row.removed)[:place].sum())
        places.append(place)
    return np.array(places, dtype=np.int64)
