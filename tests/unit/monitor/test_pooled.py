"""Evidence over requests may be looked at whenever anybody likes, and says "better than chance" only if it is."""

from __future__ import annotations

import numpy as np
import pytest

from rollcall.checks.alignment import relabelling_p_values
from rollcall.domain.verdicts import Flag
from rollcall.monitor.pooled import LAMBDA, Pooled

RUNS, REQUESTS, LEVEL = 400, 150, 0.05


def p_values(agreement: float, runs: int) -> np.ndarray:
    """p_up [runs, REQUESTS] of maps whose weights are the effects times `agreement`, plus noise; lengths vary."""
    rng = np.random.default_rng(11)
    found = np.empty((runs, REQUESTS))
    lengths = rng.integers(3, 20, REQUESTS)
    for request, n in enumerate(lengths):
        effects = rng.normal(size=n)
        weights = agreement * effects + rng.normal(size=(runs, n))
        found[:, request] = [p_up for p_up, _ in relabelling_p_values(weights, effects, 199)]
    return found


def paths(p_up: np.ndarray) -> np.ndarray:
    """Logarithms of the e-process [runs, requests], as the service accumulates them."""
    logs = np.empty(p_up.shape)
    for run, values in enumerate(p_up):
        pooled = Pooled()
        for request, value in enumerate(values):
            pooled = pooled.after(Flag.INCONCLUSIVE, None, float(value))
            logs[run, request] = pooled.log_e
    return logs


def test_the_level_is_kept_under_the_null_at_any_time() -> None:
    """Of maps that are pure chance at most a share of alpha ever reaches 1 / alpha, looked at after each request."""
    highest = paths(p_values(0.0, RUNS)).max(axis=1)
    crossed = (highest >= np.log(1 / LEVEL)).mean()
    assert crossed <= LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / RUNS)


def test_right_maps_are_told_from_chance() -> None:
    """A map that follows the effects is above 1 / alpha after a few dozen requests, and evidence grows on."""
    logs = paths(p_values(1.0, 40))
    assert (logs[:, 40] > np.log(1 / LEVEL)).all()
    assert (logs[:, -1] > logs[:, 40]).all()


def test_the_process_is_the_product_of_the_bets() -> None:
    """E is prod(1 + lambda (1 - 2 p)) where that can be multiplied out, and has no overflow where it cannot."""
    values = [0.001, 0.4, 1.0, 0.7]
    pooled = Pooled()
    for value in values:
        pooled = pooled.after(Flag.FAITHFUL, None, value)
    assert np.exp(pooled.log_e) == pytest.approx(np.prod([1 + LAMBDA * (1 - 2 * p) for p in values]))
    assert Pooled(log_e=5000.0).after(Flag.FAITHFUL, None, 0.001).log_e == pytest.approx(5000.404, abs=1e-3)


def test_requests_without_a_number_count_as_requests_only() -> None:
    """A flag counts; a missing A or p is neither 0 nor evidence."""
    pooled = Pooled().after(Flag.FAITHFUL, 0.8, 0.01).after(Flag.INCONCLUSIVE, None, None)
    assert (pooled.requests, pooled.alignments) == (2, 1)
    assert pooled.mean_alignment == pytest.approx(0.8)
    assert pooled.flags == {Flag.FAITHFUL: 1, Flag.INCONCLUSIVE: 1}
    assert Pooled().mean_alignment is None
    assert Pooled().after(Flag.INCONCLUSIVE, None, None).log_e == 0.0
