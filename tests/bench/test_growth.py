"""A leak is told from noise, and "cannot tell" from both."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.growth import Growth, Slope, fit, floor_rise, high_water


def test_a_straight_line_is_found_exactly() -> None:
    """One MiB a minute is 60 an hour."""
    seconds = [10.0 * step for step in range(30)]
    slope = fit(seconds, [100 + second / 60 for second in seconds])
    assert slope.per_hour == pytest.approx(60.0)
    assert slope.error == pytest.approx(0.0, abs=1e-6)


def test_errors_cover_the_truth_when_neighbours_resemble_each_other() -> None:
    """Memory stays where it stepped; two standard errors still cover a slope of zero nearly always."""
    seconds = np.arange(160) * 3.0
    covered = []
    for seed in range(200):
        steps = np.random.default_rng(seed).normal(size=160)
        values = [0.0]
        for step in steps[1:]:
            values.append(0.7 * values[-1] + step)
        slope = fit(list(seconds), values)
        covered.append(abs(slope.per_hour) <= 2 * slope.error)
    assert np.mean(covered) > 0.85


@pytest.mark.parametrize(
    ("per_hour", "error", "growth"),
    [
        (5.0, 5.0, Growth.FLAT),
        (-50.0, 5.0, Growth.FLAT),
        (30.0, 5.0, Growth.CANNOT_TELL),
        (5.0, float("inf"), Growth.CANNOT_TELL),
        (50.0, 5.0, Growth.GROWS),
    ],
)
def test_a_slope_is_held_against_a_bound_with_its_error(per_hour: float, error: float, growth: Growth) -> None:
    """Flat is a finding, not the lack of one."""
    assert Slope(per_hour=per_hour, error=error, scatter=1.0).judged(bound=32.0) is growth


def test_a_few_samples_tell_nothing() -> None:
    """Neither do many of one moment."""
    assert fit([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]).judged(32.0) is Growth.CANNOT_TELL
    assert fit([1.0] * 20, [1.0] * 20).judged(32.0) is Growth.CANNOT_TELL


def test_what_comes_and_goes_is_no_leak() -> None:
    """A descriptor that stays is one; a connection that happened to be open is not."""
    assert floor_rise([15, 16, 15, 18, 15, 16, 16, 15, 17]) == 0
    assert floor_rise([15, 16, 15, 16, 16, 17, 16, 17, 18]) == 1
    assert floor_rise([]) == 0


def test_peaks_show_a_leak_that_dips_would_hide() -> None:
    """One MiB a minute, beneath dips of 50 MiB, is found; the values themselves cannot tell."""
    random = np.random.default_rng(1)
    seconds = list(np.arange(480.0))
    values = [500 + second / 60 - 50 * (random.random() < 0.3) for second in seconds]
    peaks = fit(*high_water(seconds, values, 24))
    assert peaks.per_hour == pytest.approx(60.0, abs=2.0)
    assert peaks.error < 2.0
    assert fit(seconds, values).error > 10.0


def test_each_stretch_of_time_has_its_peak() -> None:
    """The last moment belongs to the last stretch, and stretches without values have none."""
    assert high_water([0.0, 1.0, 2.0, 3.0, 4.0], [5.0, 1.0, 2.0, 7.0, 3.0], 2) == ([1.0, 3.0], [5.0, 7.0])
    assert high_water([0.0, 9.0], [1.0, 2.0], 3) == ([1.5, 7.5], [1.0, 2.0])
    assert high_water([], [], 3) == ([], [])
