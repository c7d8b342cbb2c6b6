"""Verifies the tiles of a log's tree against its leaves. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence

from rollcall.audit.merkle import HASH_BYTES, node_hash
from rollcall.audit.verifying import Ask, Report, blob

TILE_WIDTH = 256


class Tiles:
    """Holds the tiles of the database against the leaves, level by level, as the tree grows."""

    def __init__(self, ask: Ask, report: Report) -> None:
        self._ask = ask
        self._report = report
        self._open: list[list[bytes]] = []
        self._counts: list[int] = []

    def take(self, hashed: bytes) -> None:
        """Take a leaf's hash."""
        level = 0
        while True:
            if level == len(self._open):
                self._open.append([])
                self._counts.append(0)
            self._open[level].append(hashed)
            if len(self._open[level]) < TILE_WIDTH:
                return
            full, self._open[level] = self._open[level], []
            self._check(level, full)
            hashed, level = _perfect_root(full), level + 1

    def finish(self) -> None:
        """Check the tiles at the edge, and that there are no others."""
        for level, hashes in enumerate(self._open):
            if hashes:
                self._check(level, hashes)
        (row,) = self._ask("SELECT COUNT(*) AS tiles FROM tile")
        count = row["tiles"]
        if count != sum(self._counts):
            self._report.wrong("tile", f"there are {count} tiles where {sum(self._counts)} are due")

    def _check(self, level: int, hashes: Sequence[bytes]) -> None:
        index = self._counts[level]
        self._counts[level] += 1
        row = next(iter(self._ask("SELECT hashes FROM tile WHERE level = ? AND tile_index = ?", level, index)), None)
        if row is None or blob(row["hashes"]) != b"".join(hashes):
            first = index * TILE_WIDTH ** (level + 1)
            self._report.wrong(f"tile {level}/{index}", f"does not hold the tree from entry {first} on")


def _perfect_root(hashes: Sequence[bytes]) -> bytes:
    row = list(hashes)
    while len(row) > 1:
        row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)]
    assert len(row[0]) == HASH_BYTES
    return row[0]
