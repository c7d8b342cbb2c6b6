"""Randomness that a record can be replayed from, years later and on any backend.

Everything random is a sort of raw Philox words, whose stream numpy guarantees never to change, keyed by a seed and a
purpose.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from rollcall.domain.maps import Ints

SEED_BITS = 64


def digest_seed(*parts: bytes) -> int:
    """Make a seed (0 to 2**64 - 1) from bytes; the parts' boundaries count."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return int.from_bytes(digest.digest()[: SEED_BITS // 8], "little")


def derived_seed(seed: int, purpose: str, index: int = 0) -> int:
    """Make an independent seed for one purpose."""
    return digest_seed(seed.to_bytes(8, "little"), purpose.encode(), index.to_bytes(8, "little"))


def random_words(seed: int, purpose: str, shape: tuple[int, ...]) -> npt.NDArray[np.uint64]:
    """Raw random words of `shape`."""
    key = derived_seed(seed, purpose)
    words = np.random.Philox(key=key).random_raw(int(np.prod(shape)))
    return np.asarray(words, dtype=np.uint64).reshape(shape)


def random_permutations(seed: int, purpose: str, shape: tuple[int, ...]) -> Ints:
    """Independent permutations along the last axis of `shape`."""
    return np.argsort(random_words(seed, purpose, shape), axis=-1, kind="stable")
