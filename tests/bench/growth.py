"""Does a series of measurements grow? A slope with its error, and an answer that may be "cannot tell". Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

SURE = 2.0
"""Standard errors on either side of a slope: 95 % of normal errors."""
LEAST_SAMPLES = 8
MOST_CORRELATION = 0.99
SECONDS_PER_HOUR = 3600.0


class Growth(Enum):
    """What a slope comes to. Only FLAT says that there is no leak above the bound."""

    FLAT = "flat"
    GROWS = "grows"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """Change per hour with its standard error, and the scatter around the line."""

    per_hour: float
    error: float
    scatter: float

    def judged(self, bound: float) -> Growth:
        """Hold the slope, with `SURE` standard errors on either side, against a bound per hour."""
        if self.per_hour - SURE * self.error > bound:
            return Growth.GROWS
        return Growth.FLAT if self.per_hour + SURE * self.error <= bound else Growth.CANNOT_TELL


def fit(seconds: Sequence[float], values: Sequence[float]) -> Slope:
    """Fit a line by least squares.

    Memory moves in steps that stay for a while, so neighbours resemble each other and say less than their number
    promises: the error is widened by the first-order correlation r of the residuals, by sqrt((1 + r) / (1 - r)).
    With fewer than LEAST_SAMPLES values, or all at one moment, the error is infinite.
    """
    x, y = np.asarray(seconds, dtype=np.float64) / SECONDS_PER_HOUR, np.asarray(values, dtype=np.float64)
    if len(x) < LEAST_SAMPLES or not np.ptp(x):
        return Slope(per_hour=0.0, error=float("inf"), scatter=float("nan"))
    away = x - x.mean()
    slope = float(away @ y / (away @ away))
    residuals = y - y.mean() - slope * away
    square = float(residuals @ residuals)
    scatter = float(np.sqrt(square / (len(x) - 2)))
    correlation = float(residuals[1:] @ residuals[:-1] / square) if square else 0.0
    correlation = min(max(correlation, 0.0), MOST_CORRELATION)
    error = scatter / float(np.sqrt(away @ away)) * float(np.sqrt((1 + correlation) / (1 - correlation)))
    return Slope(per_hour=slope, error=error, scatter=scatter)


def high_water(seconds: Sequence[float], values: Sequence[float], blocks: int) -> tuple[list[float], list[float]]:
    """Return the middle and the largest value of each of so many equal stretches of time, where there are values.

    Resident memory falls whenever the allocator happens to give pages back, and is up again a moment later; its peaks
    hardly scatter, and a leak raises them like everything else.
    """
    if not seconds:
        return [], []
    edges = np.linspace(min(seconds), max(seconds), blocks + 1)
    block = np.clip(np.searchsorted(edges, seconds, side="right") - 1, 0, blocks - 1)
    peaks = {number: max(value for value, at in zip(values, block, strict=True) if at == number) for number in block}
    middles = (edges[1:] + edges[:-1]) / 2
    return [float(middles[number]) for number in peaks], list(peaks.values())


def floor_rise(values: Sequence[float]) -> float:
    """Return the rise of the least value from the first third to the last: what comes and goes is no leak."""
    third = max(1, len(values) // 3)
    return min(values[-third:]) - min(values[:third]) if values else 0.0
