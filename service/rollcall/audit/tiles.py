"""The tree as tiles (C2SP tlog-tiles): 256 hashes each, of one height; only those at the right edge ever change.

Tile (level, index) holds the nodes of height 8 * level from number 256 * index on, 32 bytes each, in order. A tile of
fewer than 256 grows at its end. Nodes of other heights are computed from the tile below them. Pure: whoever keeps the
tiles hands in how to read one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from rollcall.audit.merkle import HASH_BYTES, Node, node_hash

HEIGHT = 8
WIDTH = 1 << HEIGHT

Coordinates: TypeAlias = tuple[int, int]
"""Level and index of a tile."""
ReadTile: TypeAlias = Callable[[Coordinates], bytes]
"""Gives the hashes of a tile so far; nothing for one that does not exist yet."""


def grow(read: ReadTile, size: int, leaves: Sequence[bytes]) -> dict[Coordinates, bytes]:
    """Tiles that are new or longer once `leaves` (hashes) are appended to a tree of `size`, whole."""
    grown: dict[Coordinates, bytes] = {}
    hashes = list(leaves)
    level = 0
    while hashes:
        start = size >> HEIGHT * level
        for offset, hashed in enumerate(hashes):
            at = (level, (start + offset) // WIDTH)
            if at not in grown:
                grown[at] = read(at)
            grown[at] += hashed
        first, last = start // WIDTH, (start + len(hashes)) // WIDTH
        hashes = [_tile_root(grown[level, index]) for index in range(first, last)]
        level += 1
    return grown


def nodes_from(read: ReadTile) -> Node:
    """Give the nodes of the tree that the tiles hold. What does not exist is an IndexError."""

    def node(height: int, index: int) -> bytes:
        level, above = divmod(height, HEIGHT)
        first = index << above
        tile = read((level, first // WIDTH))
        start = first % WIDTH
        hashes = _split(tile[start * HASH_BYTES : (start + (1 << above)) * HASH_BYTES])
        if len(hashes) != 1 << above:
            message = f"the tiles hold no node {index} of height {height}"
            raise IndexError(message)
        return _perfect_root(hashes)

    return node


def _tile_root(tile: bytes) -> bytes:
    return _perfect_root(_split(tile))


def _perfect_root(hashes: Sequence[bytes]) -> bytes:
    row = list(hashes)
    while len(row) > 1:
        row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)]
    return row[0]


def _split(tile: bytes) -> list[bytes]:
    return [tile[i : i + HASH_BYTES] for i in range(0, len(tile), HASH_BYTES)]
