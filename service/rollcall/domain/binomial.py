"""Exact limits of a share that was counted (Clopper and Pearson 1934, Biometrika 26)."""

from __future__ import annotations

from scipy.special import betaincinv


def lower_limit(successes: int, trials: int, *, confidence: float) -> float:
    """One-sided lower limit of the share; 0 without trials."""
    return float(betaincinv(successes, trials - successes + 1, 1 - confidence)) if successes else 0.0


def upper_limit(successes: int, trials: int, *, confidence: float) -> float:
    """One-sided upper limit of the share; 1 without trials."""
    return float(betaincinv(successes + 1, trials - successes, confidence)) if successes < trials else 1.0


def interval(successes: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided interval of the share; (0, 1) without trials."""
    one_sided = (1 + confidence) / 2
    low = lower_limit(successes, trials, confidence=one_sided)
    return low, upper_limit(successes, trials, confidence=one_sided)
