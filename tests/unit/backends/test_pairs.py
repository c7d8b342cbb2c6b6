"""Pairs of texts: what parts them is never removed, and keys may move within each text alone."""

from __future__ import annotations

import numpy as np
import pytest

from rollcall.backends.base import variants
from rollcall.backends.edits import segments_of
from rollcall.backends.staging import stage_rows
from rollcall.domain.inputs import Encoding, TextInput
from rollcall.domain.maps import Floats
from rollcall.domain.rows import TEXT_REMOVALS, AttentionEdit, KeyScope, RemovalOperator, Row
from tests.tiny import Tiny

PREMISE, HYPOTHESIS = "the film is a quiet triumph", "nobody expected a funny little comedy!"


def pair(tiny: Tiny) -> Encoding:
    """A pair as the model reads it."""
    return tiny.backend.encode(TextInput(text=PREMISE, text_pair=HYPOTHESIS))


@pytest.mark.parametrize("operator", TEXT_REMOVALS.every)
def test_no_removal_touches_a_separator(tiny: Tiny, operator: RemovalOperator) -> None:
    """With every word of both texts gone each special token is still there, seen, and in its place among the others."""
    encoding, encoder = pair(tiny), tiny.backend._encoder
    special = encoding.unit_of_token < 0
    assert special.sum() >= 3
    row = Row(removed=np.ones(len(encoding.units), dtype=np.bool_), operator=operator)
    ids, visible, types = stage_rows(variants(encoding, [row]), encoding.length, encoder)[:, 0]
    left = int(special.sum()) if operator is RemovalOperator.DELETION else encoding.length
    kept = np.arange(left) if operator is RemovalOperator.DELETION else np.flatnonzero(special)
    assert ids[kept].tolist() == encoding.input_ids[special].tolist()
    assert types[kept].tolist() == encoding.type_ids[special].tolist()
    assert visible[kept].all()


def test_keys_move_within_their_own_text(tiny: Tiny) -> None:
    """Under such a draw each query gives each text as much as before; special tokens keep their own weight."""
    encoding = pair(tiny)
    first, second = segments_of(encoding)
    assert encoding.unit_of_token[first].max() < encoding.unit_of_token[second].min()
    neutral = Row(edit=AttentionEdit.BIASED, bias=np.zeros((tiny.backend.shape.layers, 4, encoding.length)))
    draws = [Row(edit=AttentionEdit.PERMUTED, seed=3, keys=scope) for scope in (KeyScope.SEGMENT, KeyScope.ALL)]
    own, within, across = (first_layer(tiny, encoding, row) for row in (neutral, *draws))
    for part in (first, second):
        np.testing.assert_allclose(within[:, part].sum(axis=-1), own[:, part].sum(axis=-1), atol=1e-5)
        assert (within[:, part] != own[:, part]).any()
    special = encoding.unit_of_token < 0
    np.testing.assert_allclose(within[:, special], own[:, special], atol=1e-5)
    assert np.abs(across[:, first].sum(axis=-1) - own[:, first].sum(axis=-1)).max() > 1e-3


def first_layer(tiny: Tiny, encoding: Encoding, row: Row) -> Floats:
    """The read-out's attention [H, K] in the first layer under one row."""
    found = tiny.backend.run(variants(encoding, [row])).permuted
    assert found is not None
    return found.readout[0, 0].double().numpy()
