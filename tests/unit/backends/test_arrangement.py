"""The order of rows: worked out by hand, and as a law, by following what each row of the batch has gone through.

No model is run: a row's history is its input and what was done to its attention, layer by layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollcall.backends.arrangement import Arrangement, arrange, first_layer
from rollcall.backends.base import BatchRow, variants
from rollcall.checks.base import OPERATORS
from rollcall.domain.maps import Bools, HeadFusion, MapOptions
from rollcall.domain.rows import AttentionEdit, RemovalOperator, Row
from tests.subjects import encoding

LAYERS = 4
SHORT, LONG, TWIN = encoding(2), encoding(5), encoding(5)
"""Inputs; the last two are equal and yet two."""
NONE, IDENTITY, UNIFORM, PERMUTED = list(AttentionEdit)[:4]
BY_MAXIMUM = MapOptions(rollout_fusion=HeadFusion.MAX)


def removing(*units: int) -> Bools:
    """Remove units of the long input."""
    return np.isin(np.arange(5), units)


def rows_of(*rows: Row, options: MapOptions | None = None) -> list[BatchRow]:
    """Rows of the long input."""
    return variants(LONG, rows, options or MapOptions())


def test_rows_without_an_edit_stay_as_they_are() -> None:
    """A batch of plain rows is that batch: nothing is added, joined or observed."""
    rows = rows_of(Row(), Row(removed=removing(1)), Row(removed=removing(2), operator=RemovalOperator.HIDDEN_KEYS))
    for late in (True, False):
        found = arrange(rows, late=late)
        assert found.started == tuple(rows)
        assert found.edited == ()
        assert (found.first_edited, found.joins, found.permuted, found.fusions) == (3, {}, (), ())
        assert found.places == (0, 1, 2)
        assert found.length == 7


def test_edited_rows_come_last_and_the_observed_first_among_them() -> None:
    """Explicit rows are the end of the batch; of those, the ones whose maps are wanted are the beginning."""
    rows = rows_of(Row(edit=UNIFORM), Row(edit=PERMUTED, seed=1), Row(), Row(edit=IDENTITY), Row(edit=PERMUTED, seed=2))
    for late in (True, False):
        found = arrange(rows, late=late)
        assert found.started == tuple(rows[i] for i in (2, 1, 4, 0, 3))
        assert found.edited == tuple(rows[i] for i in (1, 4, 0, 3))
        assert found.first_edited == 1
        assert found.places == (3, 1, 0, 4, 2)
        assert found.permuted == (1, 4)
        assert found.joins == {}


def test_rows_join_at_their_first_edited_layer_as_copies_of_their_input() -> None:
    """A row that is edited from layer 2 on shares layers 0 and 1 with its untouched input."""
    rows = rows_of(
        Row(edit=UNIFORM, layers=(2,)),
        Row(removed=removing(0)),
        Row(edit=PERMUTED, layers=(3, 1)),
        Row(),
        Row(edit=UNIFORM),
        Row(edit=PERMUTED, layers=(2, 3)),
    )
    found = arrange(rows)
    assert found.started == tuple(rows[i] for i in (1, 3, 4))
    assert found.edited == tuple(rows[i] for i in (4, 2, 0, 5))
    assert found.first_edited == 2
    assert found.joins == {1: [1], 2: [1, 1]}
    assert found.places == (4, 0, 3, 1, 2, 5)
    assert found.permuted == ()


def test_unless_late_everybody_starts() -> None:
    """Where joining does not work, all rows go through all layers, and nobody is added."""
    rows = rows_of(Row(edit=UNIFORM, layers=(2,)), Row(edit=PERMUTED, layers=(1,)), Row(edit=PERMUTED))
    found = arrange(rows, late=False)
    assert found.started == found.edited == tuple(rows[i] for i in (2, 0, 1))
    assert (found.first_edited, found.joins) == (0, {})
    assert found.places == (1, 2, 0)
    assert found.permuted == (2,)


def test_an_untouched_row_is_added_once_for_each_input_that_lacks_one() -> None:
    """What rows are copied from must be in the batch; it is added where nobody asked for it, and never given back."""
    late = Row(edit=UNIFORM, layers=(1,))
    rows = [
        *variants(LONG, [late, late], BY_MAXIMUM),
        *variants(SHORT, [late, Row(removed=np.array([True, False]))]),
        *variants(TWIN, [Row(), late]),
    ]
    found = arrange(rows)
    assert found.started[:2] == (rows[3], rows[4])
    first, second = found.started[2:]
    assert first == BatchRow(encoding=LONG, row=Row(), options=BY_MAXIMUM)
    assert second == BatchRow(encoding=SHORT, row=Row(), options=MapOptions())
    assert first.encoding is LONG
    assert found.joins == {1: [2, 2, 3, 1]}
    assert found.first_edited == 4
    assert found.places == (4, 5, 6, 0, 1, 7)


def test_a_removal_cannot_be_shared() -> None:
    """A row that removes words differs from its input from the first layer on, whatever it edits."""
    row = Row(removed=removing(1), edit=UNIFORM, layers=(3,))
    found = arrange(rows_of(row, Row(edit=UNIFORM, layers=(3,))))
    assert [each.row for each in found.started] == [Row(), row]
    assert found.joins == {3: [0]}


@pytest.mark.parametrize(
    ("row", "layer"),
    [
        (Row(), 0),
        (Row(layers=(2,)), 0),
        (Row(edit=UNIFORM), 0),
        (Row(edit=UNIFORM, layers=()), 0),
        (Row(edit=UNIFORM, layers=(3, 1, 2)), 1),
        (Row(edit=IDENTITY, layers=(2,)), 2),
        (Row(edit=PERMUTED, layers=(0, 2)), 0),
        (Row(edit=PERMUTED, layers=(2,), removed=removing()), 0),
    ],
)
def test_the_first_layer_that_differs(row: Row, layer: int) -> None:
    """What a row shares with its input is everything below its first edited layer."""
    assert first_layer(row) == layer


def test_each_row_is_fused_by_its_own_options() -> None:
    """Rows of two requests in one batch have their maps made as each of them asked."""
    rows = [
        *variants(LONG, [Row(edit=PERMUTED, seed=1), Row(edit=UNIFORM)], BY_MAXIMUM),
        *variants(SHORT, [Row(edit=PERMUTED, seed=2)]),
        *variants(LONG, [Row(edit=PERMUTED, seed=3)], BY_MAXIMUM),
    ]
    found = arrange(rows)
    assert found.permuted == (0, 2, 3)
    assert found.fusions == (HeadFusion.MAX, HeadFusion.MEAN, HeadFusion.MAX)
    assert found.length == 7


History: TypeAlias = tuple[object, ...]
"""What makes a row what it is: its input, and what each layer does to its attention."""

OPTIONS = (MapOptions(), BY_MAXIMUM)


def begun(each: BatchRow) -> History:
    """A row before the first layer."""
    removed = each.row.removed
    return (id(each.encoding), *(() if removed is None else (removed.tolist(), each.row.operator)))


def step(row: Row, layer: int) -> object:
    """What a row does in a layer."""
    if row.edit is NONE or (row.layers is not None and layer not in row.layers):
        return None
    return (row.edit, row.seed) if row.edit is PERMUTED else row.edit


def alone(each: BatchRow) -> History:
    """The history that a row has alone."""
    return (*begun(each), *(step(each.row, layer) for layer in range(LAYERS)))


def followed(found: Arrangement) -> list[History]:
    """The histories of all rows of an arrangement, joining and all."""
    batch = [begun(each) for each in found.started]
    edited = [*([Row()] * found.first_edited), *(each.row for each in found.edited)]
    for layer in range(LAYERS):
        batch += [batch[source] for source in found.joins.get(layer, [])]
        batch = [(*history, step(row, layer)) for history, row in zip(batch, edited, strict=False)]
    return batch


@st.composite
def any_rows(draw: st.DrawFn) -> BatchRow:
    """A row of one of three inputs, doing anything."""
    chosen = draw(st.sampled_from((SHORT, LONG, TWIN)))
    edit = draw(st.sampled_from(AttentionEdit))
    layers = draw(st.none() | st.lists(st.integers(0, LAYERS - 1), min_size=1, unique=True).map(tuple))
    removed = draw(st.none() | st.lists(st.booleans(), min_size=len(chosen.units), max_size=len(chosen.units)))
    row = Row(
        removed=None if removed is None else np.array(removed),
        operator=draw(st.sampled_from(OPERATORS)),
        edit=edit,
        layers=None if edit is NONE else layers,
        seed=draw(st.integers(0, 3)),
    )
    return BatchRow(encoding=chosen, row=row, options=draw(st.sampled_from(OPTIONS)))


@settings(max_examples=500, deadline=None, derandomize=True, database=None)
@given(st.lists(any_rows(), min_size=1, max_size=12), st.booleans())
def test_every_row_goes_through_what_it_would_go_through_alone(rows: Sequence[BatchRow], late: bool) -> None:  # noqa: FBT001 - drawn
    """Whatever is asked together, each place holds the row that was asked for, and nobody else's history."""
    found = arrange(rows, late=late)
    batch = followed(found)
    assert len(batch) == found.first_edited + len(found.edited)
    assert [batch[place] for place in found.places] == [alone(each) for each in rows]
    assert len(set(found.places)) == len(rows)
    asked = dict(zip(found.places, rows, strict=True))
    assert all(
        found.edited[place - found.first_edited] is asked[place] for place in asked if place >= found.first_edited
    )
    assert [found.places[number] for number in found.permuted] == [
        found.first_edited + at for at in range(len(found.permuted))
    ]
    assert found.fusions == tuple(rows[number].options.rollout_fusion for number in found.permuted)
    assert found.length == max(each.encoding.length for each in rows)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.lists(any_rows(), min_size=1, max_size=12))
def test_nothing_is_computed_twice(rows: Sequence[BatchRow]) -> None:
    """Below its first edited layer no row is computed for itself; at most one row per input is added for that."""
    found = arrange(rows)
    late = [each for each in rows if first_layer(each.row)]
    assert sum(map(len, found.joins.values())) == len(late)
    assert sorted(layer for layer, sources in found.joins.items() for _ in sources) == sorted(
        first_layer(each.row) for each in late
    )
    untouched = {id(each.encoding) for each in rows if each.row.edit is NONE and each.row.removed is None}
    lacking = {id(each.encoding) for each in late} - untouched
    assert len(found.started) == len(rows) - len(late) + len(lacking)
    sources = [found.started[source] for each in found.joins.values() for source in each]
    assert all(source.row.edit is NONE and source.row.removed is None for source in sources)
