"""Exact limits against sums of the binomial distribution, and what they say of nothing."""

from __future__ import annotations

import pytest
from scipy.stats import binom, binomtest

from rollcall.domain.binomial import interval, lower_limit, upper_limit


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 30), (3, 30), (15, 30), (30, 30), (2, 1000)])
def test_they_are_those_of_scipys_exact_test(k: int, n: int) -> None:
    """An independent implementation agrees."""
    found = binomtest(k, n).proportion_ci(0.95, method="exact")
    assert interval(k, n) == pytest.approx((found.low, found.high))


@pytest.mark.parametrize(("k", "n"), [(1, 12), (5, 12), (11, 12)])
def test_at_the_limit_the_count_is_as_rare_as_the_confidence_allows(k: int, n: int) -> None:
    """Were the share there, so few or so many would turn up with exactly the probability that is left."""
    assert binom.sf(k - 1, n, lower_limit(k, n, confidence=0.9)) == pytest.approx(0.1)
    assert binom.cdf(k, n, upper_limit(k, n, confidence=0.9)) == pytest.approx(0.1)


def test_nothing_counted_says_nothing() -> None:
    """Without trials every share is possible."""
    assert interval(0, 0) == (0.0, 1.0)
