"""The Merkle tree of RFC 6962 section 2.1: roots, inclusion proofs and consistency proofs. Pure; standard library only.

A tree over n leaves is made of perfect subtrees. The root of the one over the leaves [i * 2**h, (i + 1) * 2**h) is the
node (h, i): height h, index i; leaves have height 0. Whoever can give the nodes (a list, tiles of a database) can have
proofs made. Hashes are 32 bytes. What verifies answers False for whatever is wrong, and never raises.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256().digest()
"""Root of the tree without leaves."""

Node: TypeAlias = Callable[[int, int], bytes]
"""Gives the hash of the perfect subtree (height, index)."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash of a leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(node: Node, size: int) -> bytes:
    """Root over the first `size` leaves."""
    return _range_hash(node, 0, size) if size else EMPTY_ROOT


def inclusion_proof(node: Node, index: int, size: int) -> list[bytes]:
    """Audit path of leaf `index` in the tree over the first `size` leaves, from the leaf upwards; IndexError."""
    if not 0 <= index < size:
        message = f"no leaf {index} in a tree of {size}"
        raise IndexError(message)
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_hash(node, middle, end))
            end = middle
        else:
            path.append(_range_hash(node, start, middle))
            start = middle
    return path[::-1]


def consistency_proof(node: Node, old: int, new: int) -> list[bytes]:
    """Proof that the first `old` of `new` leaves are the same as ever (RFC 6962 section 2.1.2); IndexError."""
    if not 0 < old <= new:
        message = f"no proof from size {old} to size {new}"
        raise IndexError(message)
    path: list[bytes] = []
    start, end, whole = 0, new, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_range_hash(node, middle, end))
            end = middle
        else:
            path.append(_range_hash(node, start, middle))
            start, whole = middle, False
    if not whole:
        path.append(_range_hash(node, start, end))
    return path[::-1]


def verify_inclusion(*, leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether `path` shows that the leaf hash is number `index` of the `size` leaves under `root`."""
    if not 0 <= index < size or not _are_hashes(leaf, root, *path):
        return False
    node, last, hashed = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if node & 1 or node == last:
            hashed = node_hash(sibling, hashed)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            hashed = node_hash(hashed, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and hashed == root


def verify_consistency(*, old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether `path` shows that the tree under `new_root` begins with the one under `old_root`.

    A proof from size 0 says nothing and is refused.
    """
    if not 0 < old <= new or not _are_hashes(old_root, new_root, *path):
        return False
    if old == new:
        return not path and old_root == new_root
    hashes = list(path)
    if old & (old - 1) == 0:
        hashes.insert(0, old_root)
    if not hashes:
        return False
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


@dataclass(slots=True)
class Frontier:
    """The right edge of a growing tree: what it takes to append leaves and know the root, and no more.

    `nodes` are the roots of the perfect subtrees that the leaves fall into, the largest first.
    """

    size: int = 0
    nodes: list[bytes] = field(default_factory=list)

    def append(self, leaf: bytes) -> None:
        """Take one more leaf hash."""
        self.nodes.append(leaf)
        self.size += 1
        full = self.size
        while not full & 1:
            right = self.nodes.pop()
            self.nodes.append(node_hash(self.nodes.pop(), right))
            full >>= 1

    def root(self) -> bytes:
        """Root over all leaves so far."""
        if not self.nodes:
            return EMPTY_ROOT
        hashed = self.nodes[-1]
        for left in self.nodes[-2::-1]:
            hashed = node_hash(left, hashed)
        return hashed


def nodes_of(leaves: Sequence[bytes]) -> Node:
    """Give the nodes of a tree whose leaf hashes are at hand."""
    rows = [list(leaves)]
    while len(rows[-1]) > 1:
        below = rows[-1]
        rows.append([node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)])
    return lambda height, index: rows[height][index]


def _split(size: int) -> int:
    """Return the largest power of two below `size`, which is at least 2."""
    return 1 << (size - 1).bit_length() - 1


def _range_hash(node: Node, start: int, end: int) -> bytes:
    """Hash of the leaves [start, end), where `start` is where a subtree of this size may begin."""
    size = end - start
    if size & (size - 1) == 0:
        height = size.bit_length() - 1
        return node(height, start >> height)
    middle = start + _split(size)
    return node_hash(_range_hash(node, start, middle), _range_hash(node, middle, end))


def _are_hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_BYTES for value in values)
