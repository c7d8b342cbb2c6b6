"""Means with bootstrap intervals that know which values belong together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

DRAWS: Final = 2000
"""Resamples of the clusters: enough for two digits of an interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean with its percentile bootstrap interval (95 %), the spread of single values, and how many there were."""

    value: float
    low: float
    high: float
    deviation: float
    count: int
    clusters: int

    def __str__(self) -> str:
        """E.g. ".71 (.68 to .74)"."""
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"

    def to_json(self) -> dict[str, Any]:
        """All numbers by name."""
        return {
            "mean": round(self.value, 5),
            "interval_95": [round(self.low, 5), round(self.high, 5)],
            "deviation": round(self.deviation, 5),
            "count": self.count,
            "clusters": self.clusters,
        }


def mean_of(values: Sequence[float | None], clusters: Sequence[Hashable] | None = None, *, seed: int = 0) -> Mean:
    """The mean of the values that there are; `clusters` says of each which others it is not independent of.

    Whole clusters are drawn with replacement: one text under several seeds is one observation. ValueError of nothing.
    """
    known = [(value, number if clusters is None else clusters[number]) for number, value in enumerate(values)]
    present = [(value, cluster) for value, cluster in known if value is not None]
    if not present:
        message = "there is no value to take the mean of"
        raise ValueError(message)
    numbers = {cluster: number for number, cluster in enumerate(dict.fromkeys(cluster for _, cluster in present))}
    owner = np.array([numbers[cluster] for _, cluster in present])
    found = np.array([value for value, _ in present], dtype=np.float64)
    sums, counts = np.bincount(owner, weights=found), np.bincount(owner)
    drawn = np.random.default_rng(seed).integers(len(counts), size=(DRAWS, len(counts)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Mean(
        value=float(found.mean()),
        low=float(low),
        high=float(high),
        deviation=float(found.std()),
        count=len(found),
        clusters=len(counts),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Auroc:
    """How probably a value of the first kind is larger than one of the second, ties halved; a bootstrap interval.

    `first` and `second` are the means of both kinds over so many `pairs`.
    """

    value: float
    low: float
    high: float
    first: float
    second: float
    pairs: int

    @property
    def apart(self) -> float:
        """How well it tells the two apart, whichever is the larger one: 0.5 to 1."""
        return max(self.value, 1 - self.value)

    def __str__(self) -> str:
        """E.g. "0.93 (0.90 to 0.96)"."""
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"

    def to_json(self) -> dict[str, Any]:
        """All numbers by name."""
        return {
            "auroc": round(self.value, 4),
            "interval_95": [round(self.low, 4), round(self.high, 4)],
            "means": [round(self.first, 5), round(self.second, 5)],
            "pairs": self.pairs,
        }


def auroc_of(first: Sequence[float | None], second: Sequence[float | None], *, seed: int = 0) -> Auroc | None:
    """Of pairs of values, one pair an input: an input is drawn with both; pairs that lack a value are left out.

    None where no pair is whole, or all values are the same: then there is nothing to tell apart.
    """
    pairs = [(one, two) for one, two in zip(first, second, strict=True) if one is not None and two is not None]
    if not pairs or len({value for pair in pairs for value in pair}) == 1:
        return None
    ones, twos = (np.array(side, dtype=np.float64) for side in zip(*pairs, strict=True))
    larger = (ones[:, None] > twos[None]) + (ones[:, None] == twos[None]) / 2
    count = len(pairs)
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=DRAWS)
    drawn = np.einsum("ri,ij,rj->r", weights, larger, weights, optimize=True) / count**2
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Auroc(
        value=float(larger.mean()),
        low=float(low),
        high=float(high),
        first=float(ones.mean()),
        second=float(twos.mean()),
        pairs=count,
    )
