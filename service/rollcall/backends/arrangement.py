"""The order in which rows go through the model, so that they share what they have in common. Pure.

First rows whose attention is not edited, then edited ones, each from its first edited layer on. A row that is edited
only from layer l > 0 on joins there, as a copy of its untouched input, which is added if it is not in the batch anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rollcall.backends.base import BatchRow
from rollcall.domain.maps import HeadFusion
from rollcall.domain.rows import AttentionEdit, QueryScope, Row

LEAST_ROWS = 4
"""Fewer rows than this in a matrix product take another kernel, with other rounding, on some processors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """An order of rows.

    `started` go through all layers; `edited` are the last of all rows, from row `first_edited` on. `joins`: by layer
    the rows, by place in the batch, of which the joining rows are copies. `places`: for each row asked for, its place
    in the batch. `permuted`: rows asked for, by number, whose maps are recomputed, in the order in which they are
    observed, and `fusions` how each one's heads are fused.
    """

    length: int
    started: tuple[BatchRow, ...] = field(repr=False)
    edited: tuple[BatchRow, ...] = field(repr=False)
    first_edited: int
    joins: dict[int, list[int]]
    places: tuple[int, ...]
    permuted: tuple[int, ...]
    fusions: tuple[HeadFusion, ...]


def arrange(rows: Sequence[BatchRow], *, late: bool = True) -> Arrangement:
    """Arrange at least one row; unless `late`, all start together."""
    joins_at = [first_layer(each.row) if late else 0 for each in rows]
    plain = [i for i, each in enumerate(rows) if each.row.edit is AttentionEdit.NONE]
    edited = sorted(
        (i for i, each in enumerate(rows) if each.row.edit is not AttentionEdit.NONE),
        key=lambda i: (joins_at[i], not _is_observed(rows[i].row)),
    )
    untouched = {id(rows[i].encoding): at for at, i in reversed(list(enumerate(plain))) if rows[i].row.removed is None}
    added: list[BatchRow] = []
    for i in edited:
        encoding = rows[i].encoding
        if joins_at[i] and id(encoding) not in untouched:
            untouched[id(encoding)] = len(plain) + len(added)
            added.append(BatchRow(encoding=encoding, row=Row(), options=rows[i].options))
    length = max(each.encoding.length for each in rows)
    starting = len(plain) + len(added) + sum(not joins_at[i] for i in edited)
    # Fewer tokens than a kernel takes at once would be rounded differently: untouched rows fill up.
    filling = BatchRow(encoding=rows[0].encoding, row=Row(), options=rows[0].options)
    added += [filling] * (-(-LEAST_ROWS // length) - starting)
    joins: dict[int, list[int]] = {}
    for i in edited:
        if joins_at[i]:
            joins.setdefault(joins_at[i], []).append(untouched[id(rows[i].encoding)])
    first_edited = len(plain) + len(added)
    from_the_start = [i for i in edited if not joins_at[i]]
    observed = [i for i in from_the_start if _is_observed(rows[i].row)]
    places = {i: at for at, i in enumerate(plain)} | {i: first_edited + at for at, i in enumerate(edited)}
    return Arrangement(
        length=length,
        started=(*(rows[i] for i in plain), *added, *(rows[i] for i in from_the_start)),
        edited=tuple(rows[i] for i in edited),
        first_edited=first_edited,
        joins=joins,
        places=tuple(places[i] for i in range(len(rows))),
        permuted=tuple(observed),
        fusions=tuple(rows[i].options.rollout_fusion for i in observed),
    )


def first_layer(row: Row) -> int:
    """The first layer at which a row differs from its untouched input, or from which on its maps are recomputed."""
    whole = row.edit is AttentionEdit.NONE or row.removed is not None or row.queries is QueryScope.READOUT
    return 0 if whole or not row.layers else min(row.layers)


def _is_observed(row: Row) -> bool:
    """Whether the row's maps are recomputed: permuted or biased from the first layer on."""
    return row.edit in {AttentionEdit.PERMUTED, AttentionEdit.BIASED} and first_layer(row) == 0
