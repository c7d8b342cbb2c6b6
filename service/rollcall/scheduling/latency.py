"""How long a batch takes: a fixed part and a part for each padded token, fitted to the batches that have been run."""

from __future__ import annotations

from dataclasses import dataclass

FORGETTING = 0.97
"""Weight of a batch beside the next one."""
PRIOR_WEIGHT = 0.05
"""Weight of what was believed before, so that batches of a single size cannot bend the line."""


def row_work(rows: int, length: int, width: int | None) -> float:
    """What rows of `length` tokens cost beside each other, in tokens of a very short text.

    The arithmetic of one row of T tokens in a transformer of width d is proportional to T * (1 + T / (6 d)).
    """
    return rows * length * (1.0 if width is None else 1 + length / (6 * width))


@dataclass(slots=True, kw_only=True)
class LatencyModel:
    """Seconds = fixed + per_work * work, by least squares with forgetting; both stay non-negative."""

    fixed: float = 0.0
    per_work: float = 0.0
    observed: int = 0
    _weight: float = 0.0
    _x: float = 0.0
    _y: float = 0.0
    _xx: float = 0.0
    _xy: float = 0.0

    def observe(self, work: float, seconds: float) -> None:
        """Take one batch into account."""
        self.observed += 1
        keep = FORGETTING
        self._weight = keep * self._weight + 1
        self._x = keep * self._x + work
        self._y = keep * self._y + seconds
        self._xx = keep * self._xx + work * work
        self._xy = keep * self._xy + work * seconds
        mean_x, mean_y = self._x / self._weight, self._y / self._weight
        variance = self._xx / self._weight - mean_x**2
        covariance = self._xy / self._weight - mean_x * mean_y
        # A slope that the sizes seen cannot tell is drawn to the one believed; at first, to no fixed part at all.
        believed = self.per_work if self.observed > 1 else mean_y / mean_x
        strength = PRIOR_WEIGHT * mean_x**2
        slope = (covariance + strength * believed) / (variance + strength)
        self.per_work = min(max(slope, 0.0), mean_y / mean_x)
        self.fixed = max(0.0, mean_y - self.per_work * mean_x)

    def estimate(self, work: float, batches: float = 1) -> float:
        """Expected seconds of so much work in so many batches; 0 before the first observation."""
        return batches * self.fixed + self.per_work * work

    def work_within(self, seconds: float) -> float:
        """How much work one batch can do in `seconds`."""
        return max(0.0, seconds - self.fixed) / self.per_work if self.per_work > 0 else float("inf")
