"""How much memory rows take while they run, and how many of them fit: a line and a square, fitted at load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls


@dataclass(frozen=True, slots=True, kw_only=True)
class RowMemory:
    """Bytes that one row of T tokens takes at its peak: per_token * T + per_square * T * T, both non-negative.

    The square is that of explicit attention, the line everything else.
    """

    per_token: float
    per_square: float

    @classmethod
    def fit(cls, measured: Sequence[tuple[int, int]]) -> RowMemory:
        """Fit (tokens, bytes) of single rows, at least one: relatively, and no point lies above the curve.

        A single point could be all line or all square: it is taken for both.
        """
        lengths, found = np.array(measured, dtype=np.float64).T
        found = np.maximum(found, 1.0)
        terms = np.stack((lengths, lengths**2), axis=1)
        if len(measured) == 1:
            return cls(per_token=float(found[0] / lengths[0]), per_square=float(found[0] / lengths[0] ** 2))
        (per_token, per_square), _ = nnls(terms / found[:, None], np.ones(len(found)))
        curve = terms @ np.array([per_token, per_square])
        # A peak is the highest of several moments, each with a curve of its own: a fit may run below some of them.
        scale = float((found / curve).max())
        return cls(per_token=float(per_token) * scale, per_square=float(per_square) * scale)

    def bytes(self, length: int) -> float:
        """Bytes of one row."""
        return self.per_token * length + self.per_square * length**2

    def rows_within(self, budget: float, length: int) -> int:
        """Rows of so many tokens that fit into `budget` bytes; at least 1: a single row is always tried."""
        return max(1, int(budget // max(self.bytes(length), 1.0)))
