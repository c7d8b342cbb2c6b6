"""Randomness that can be replayed years later."""

from __future__ import annotations

import hashlib

import numpy as np

from rollcall.domain.seeds import SEED_BITS, derived_seed, digest_seed, random_permutations, random_words


def test_a_seed_is_a_digest_whose_boundaries_count() -> None:
    """Moving a byte from one part to the next gives another seed."""
    expected = hashlib.sha256((2).to_bytes(8, "little") + b"ab" + (1).to_bytes(8, "little") + b"c").digest()[:8]
    assert digest_seed(b"ab", b"c") == int.from_bytes(expected, "little")
    assert digest_seed(b"ab", b"c") != digest_seed(b"a", b"bc")
    assert 0 <= digest_seed() < 2**SEED_BITS


def test_seeds_for_different_purposes_are_unrelated() -> None:
    """What the removals draw says nothing about what the rewiring draws."""
    seeds = {derived_seed(seed, purpose, index) for seed in (0, 1) for purpose in ("a", "b") for index in (0, 1)}
    assert len(seeds) == 8
    assert derived_seed(2**64 - 1, "a") < 2**64


def test_old_seeds_draw_what_they_always_drew() -> None:
    """A record made with the first version replays in every later one: these numbers are frozen."""
    assert digest_seed(b"rollcall") == GOLDEN_DIGEST_SEED
    assert derived_seed(2026, "rewiring", 3) == GOLDEN_DERIVED_SEED
    assert random_words(2026, "removals/0", (2, 2)).tolist() == GOLDEN_WORDS
    assert random_permutations(2026, "keys", (2, 6)).tolist() == GOLDEN_PERMUTATIONS


GOLDEN_DIGEST_SEED = 8446713451094996193
GOLDEN_DERIVED_SEED = 16006743862085725951
GOLDEN_WORDS = [[10149946618773526309, 2964614717373817813], [9537536580491157603, 12141917248432182047]]
GOLDEN_PERMUTATIONS = [[2, 3, 4, 5, 1, 0], [1, 4, 3, 5, 0, 2]]


def test_permutations_are_permutations_one_per_row() -> None:
    """Every draw orders all keys, independently of the other draws."""
    orders = random_permutations(5, "keys", (3, 4, 9))
    assert (np.sort(orders, axis=-1) == np.arange(9)).all()
    assert len({tuple(order) for order in orders.reshape(-1, 9).tolist()}) == 12


def test_permutations_are_fair() -> None:
    """Each of three keys comes first about a third of the time."""
    first = random_permutations(0, "keys", (6000, 3))[:, 0]
    assert np.abs(np.bincount(first, minlength=3) / 6000 - 1 / 3).max() < 0.025
