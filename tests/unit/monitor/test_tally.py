"""Shares of wrong flags come with exact intervals."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from rollcall.monitor.tally import Tally

CASES = [(0, 1), (1, 1), (0, 60), (1, 60), (5, 20), (60, 60), (37, 1000)]


@pytest.mark.parametrize(("wrong", "checked"), CASES)
def test_intervals_are_clopper_pearsons(wrong: int, checked: int) -> None:
    """The interval and the one-sided limit are SciPy's exact ones."""
    tally = Tally(checked=checked, wrong=wrong)
    both = binomtest(wrong, checked).proportion_ci(0.95, method="exact")
    below = binomtest(wrong, checked, alternative="greater").proportion_ci(0.95, method="exact")
    assert tally.interval == pytest.approx((both.low, both.high), abs=1e-12)
    assert tally.lower_limit == pytest.approx(below.low, abs=1e-12)


def test_nothing_is_known_of_nothing() -> None:
    """Before anything was checked the share can be anything."""
    assert Tally().interval == (0.0, 1.0)
    assert Tally().lower_limit == 0.0


def test_one_more_counts() -> None:
    """Each flag counts once, wrong ones also among the wrong."""
    assert Tally().after(wrong=True).after(wrong=False).after(wrong=True) == Tally(checked=3, wrong=2)
