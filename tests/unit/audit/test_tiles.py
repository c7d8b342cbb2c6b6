"""Tiles hold the same tree as a list of leaves does, however it has grown."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollcall.audit import merkle, tiles
from rollcall.audit.merkle import HASH_BYTES
from tests.unit.audit.test_merkle import leaves_of


def grown(batches: list[int]) -> dict[tuple[int, int], bytes]:
    """Grow tiles by batches of leaves."""
    kept: dict[tuple[int, int], bytes] = {}
    leaves = leaves_of(sum(batches))
    size = 0

    def read(at: tuple[int, int]) -> bytes:
        return kept.get(at, b"")

    for batch in batches:
        kept.update(tiles.grow(read, size, leaves[size : size + batch]))
        size += batch
    return kept


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=6), st.data())
def test_tiles_hold_the_tree(batches: list[int], data: st.DataObject) -> None:
    """Roots, inclusion and consistency proofs from tiles are those from the leaves."""
    kept = grown(batches)
    size = sum(batches)
    ours, theirs = tiles.nodes_from(lambda at: kept.get(at, b"")), merkle.nodes_of(leaves_of(size))
    assert merkle.root(ours, size) == merkle.root(theirs, size)
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    assert merkle.inclusion_proof(ours, index, size) == merkle.inclusion_proof(theirs, index, size)
    assert merkle.consistency_proof(ours, old, size) == merkle.consistency_proof(theirs, old, size)


def test_a_tree_of_two_levels() -> None:
    """70,000 leaves need a third level of tiles, and every full tile has 256 hashes."""
    kept = grown([65_535, 2, 4_463])
    assert max(level for level, _ in kept) == 2
    assert len(kept[2, 0]) == HASH_BYTES
    assert {len(tile) for (level, index), tile in kept.items() if level == 0 and index < 273} == {256 * HASH_BYTES}
    node = tiles.nodes_from(lambda at: kept.get(at, b""))
    assert merkle.root(node, 70_000) == merkle.root(merkle.nodes_of(leaves_of(70_000)), 70_000)


def test_what_is_not_there_is_an_error() -> None:
    """A node that no tile holds is not made up."""
    kept = grown([3])
    with pytest.raises(IndexError):
        tiles.nodes_from(lambda at: kept.get(at, b""))(2, 0)
