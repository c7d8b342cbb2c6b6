"""The tree agrees with RFC 6962, with another implementation, and with nothing that was altered."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree, verify_inclusion

from rollcall.audit import merkle

REFERENCE_LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
"""Leaves that the reference implementations of Certificate Transparency test with."""
REFERENCE_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LARGEST = 39


def leaves_of(size: int) -> list[bytes]:
    """Hash the numbers below `size` as leaves."""
    return [merkle.leaf_hash(str(number).encode()) for number in range(size)]


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_the_published_ones(size: int) -> None:
    """The roots over the reference leaves are those of the reference."""
    leaves = [merkle.leaf_hash(entry) for entry in REFERENCE_LEAVES[:size]]
    assert merkle.root(merkle.nodes_of(leaves), size).hex() == REFERENCE_ROOTS[size - 1]


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    """RFC 6962: the root over no leaves is the hash of the empty string."""
    assert merkle.root(merkle.nodes_of([]), 0) == merkle.Frontier().root() == hashlib.sha256().digest()


def test_another_implementation_makes_the_same_roots_and_paths() -> None:
    """Every root and every inclusion proof up to 39 leaves is accepted by, and equal to, pymerkle's."""
    tree, frontier = InmemoryTree(), merkle.Frontier()
    for size in range(1, LARGEST + 1):
        tree.append_entry(str(size - 1).encode())
        leaves = leaves_of(size)
        node = merkle.nodes_of(leaves)
        frontier.append(leaves[-1])
        theirs = tree.get_root()
        assert merkle.root(node, size) == frontier.root() == theirs
        for index in range(size):
            proof = tree.prove_inclusion(index + 1)
            verify_inclusion(leaves[index], theirs, proof)
            path = merkle.inclusion_proof(node, index, size)
            assert path == [hashed for hashed in proof.path if hashed != leaves[index]]
            assert merkle.verify_inclusion(leaf=leaves[index], index=index, size=size, path=path, root=theirs)


def test_every_consistency_proof_holds() -> None:
    """Each tree up to 39 leaves begins with each smaller one."""
    leaves = leaves_of(LARGEST)
    node = merkle.nodes_of(leaves)
    roots = [merkle.root(merkle.nodes_of(leaves[:size]), size) for size in range(LARGEST + 1)]
    for new in range(1, LARGEST + 1):
        for old in range(1, new + 1):
            path = merkle.consistency_proof(node, old, new)
            assert merkle.verify_consistency(old=old, old_root=roots[old], new=new, new_root=roots[new], path=path)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), size=st.integers(1, 2_000))
def test_no_altered_inclusion_proof_holds(data: st.DataObject, size: int) -> None:
    """A flipped bit, another index, another size, or one hash more or less: nothing of it verifies."""
    leaves = leaves_of(size)
    node = merkle.nodes_of(leaves)
    index = data.draw(st.integers(0, size - 1))
    root = merkle.root(node, size)
    path = merkle.inclusion_proof(node, index, size)
    assert merkle.verify_inclusion(leaf=leaves[index], index=index, size=size, path=path, root=root)
    flipped = data.draw(st.integers(0, len(path)))
    altered = [_flip(hashed) if at == flipped else hashed for at, hashed in enumerate((*path, leaves[index]))]
    assert not merkle.verify_inclusion(leaf=altered[-1], index=index, size=size, path=altered[:-1], root=root)
    assert not merkle.verify_inclusion(leaf=leaves[index], index=index, size=size, path=path, root=_flip(root))
    assert not merkle.verify_inclusion(leaf=leaves[index], index=index, size=size, path=[*path, root], root=root)
    other = data.draw(st.integers(0, size - 1))
    if other != index:
        assert not merkle.verify_inclusion(leaf=leaves[index], index=other, size=size, path=path, root=root)
    if path:
        assert not merkle.verify_inclusion(leaf=leaves[index], index=index, size=size, path=path[:-1], root=root)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), new=st.integers(2, 2_000))
def test_no_altered_consistency_proof_holds(data: st.DataObject, new: int) -> None:
    """Neither other roots nor another path show that a tree begins with another."""
    leaves = leaves_of(new)
    old = data.draw(st.integers(1, new - 1))
    path = merkle.consistency_proof(merkle.nodes_of(leaves), old, new)
    roots = {size: merkle.root(merkle.nodes_of(leaves[:size]), size) for size in (old, new)}

    def holds(path: list[bytes], old_root: bytes, new_root: bytes) -> bool:
        return merkle.verify_consistency(old=old, old_root=old_root, new=new, new_root=new_root, path=path)

    assert holds(path, roots[old], roots[new])
    assert not holds(path, _flip(roots[old]), roots[new])
    assert not holds(path, roots[old], _flip(roots[new]))
    assert not holds(path[:-1], roots[old], roots[new])
    assert not holds([*path, roots[old]], roots[old], roots[new])
    at = data.draw(st.integers(0, len(path) - 1))
    assert not holds([*path[:at], _flip(path[at]), *path[at + 1 :]], roots[old], roots[new])


def test_edges_are_refused() -> None:
    """An empty hash, and a proof from nothing, prove nothing."""
    leaf = merkle.leaf_hash(b"x")
    assert not merkle.verify_inclusion(leaf=b"", index=0, size=1, path=[], root=b"")
    assert not merkle.verify_inclusion(leaf=leaf, index=0, size=0, path=[], root=leaf)
    assert not merkle.verify_consistency(old=0, old_root=merkle.EMPTY_ROOT, new=1, new_root=leaf, path=[])
    assert not merkle.verify_consistency(old=1, old_root=leaf, new=2, new_root=leaf, path=[])
    assert merkle.verify_consistency(old=1, old_root=leaf, new=1, new_root=leaf, path=[])
    for index, size in ((0, 0), (1, 1), (-1, 1)):
        with pytest.raises(IndexError):
            merkle.inclusion_proof(merkle.nodes_of([leaf]), index, size)
    for old, new in ((0, 1), (2, 1)):
        with pytest.raises(IndexError):
            merkle.consistency_proof(merkle.nodes_of([leaf]), old, new)


def _flip(hashed: bytes) -> bytes:
    return bytes([hashed[0] ^ 1]) + hashed[1:]
