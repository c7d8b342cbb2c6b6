"""Spreads are what numpy says they are; actions are timed in turn, and by themselves."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.spread import Spread, in_turn


@pytest.mark.parametrize("values", [[2.0], [1.0, 4.0], [3.0, 1.0, 2.0], [5.0, 1.0, 4.0, 2.0, 9.0, 9.0]])
def test_a_spread_is_median_and_quartiles(values: list[float]) -> None:
    """One value has no spread."""
    found = Spread.of(values)
    assert (found.low, found.middle, found.high) == pytest.approx(tuple(np.percentile(values, [25, 50, 75])))


def test_ratios_are_of_the_same_turn() -> None:
    """A machine that is three times as slow for one turn changes no ratio."""
    assert Spread.of_ratios([2.0, 6.0, 2.0], [1.0, 3.0, 1.0]) == Spread(middle=2.0, low=2.0, high=2.0)
    assert Spread(middle=1234.5, low=1.0, high=2000.0).text(1) == "1,234.5 [1.0, 2,000.0]"


def test_each_goes_first_in_its_turn() -> None:
    """What is measured first may find the caches cold: nobody always is."""
    now = 0.0
    order: list[str] = []

    def act(name: str, seconds: float) -> None:
        nonlocal now
        now += seconds
        order.append(name)

    spent = in_turn({"a": lambda: act("a", 1.0), "b": lambda: act("b", 2.0)}, repeats=3, clock=lambda: now)
    assert spent == {"a": [1.0, 1.0, 1.0], "b": [2.0, 2.0, 2.0]}
    assert order == ["a", "b", "b", "a", "a", "b"]
