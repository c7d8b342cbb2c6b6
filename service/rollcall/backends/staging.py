"""Rows of a batch as the arrays of ids that a model takes, on any backend.

Shapes: B batch, T token.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rollcall.backends.base import BatchRow
from rollcall.backends.encoding import Encoder
from rollcall.domain.maps import Ints
from rollcall.domain.rows import RemovalOperator


def stage_rows(rows: Sequence[BatchRow], length: int, encoder: Encoder) -> Ints:
    """Ids, attention mask and type ids [3, B, T] of rows of at most `length` tokens, padded behind.

    Removed units are replaced by the mask token, hidden by the mask, or taken out, as each row says.
    """
    ids, visible, types = staged = np.zeros((3, len(rows), length), dtype=np.int64)
    ids[:] = encoder.padding_token
    for i, (encoding, row) in enumerate((each.encoding, each.row) for each in rows):
        removed = np.zeros(encoding.length, dtype=np.bool_)
        if row.removed is not None:
            removed = encoding.tokens_of(row.removed)
        kept = ~removed if row.operator is RemovalOperator.DELETION else np.ones_like(removed)
        own = slice(int(kept.sum()))
        ids[i, own], visible[i, own], types[i, own] = encoding.input_ids[kept], 1, encoding.type_ids[kept]
        if row.operator is RemovalOperator.MASK_TOKEN:
            ids[i, np.flatnonzero(removed)] = encoder.removal_token
        elif row.operator is RemovalOperator.HIDDEN_KEYS:
            visible[i, np.flatnonzero(removed)] = 0
    return staged
