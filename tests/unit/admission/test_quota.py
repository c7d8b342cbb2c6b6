"""A tenant gets what its quota says, at no time more, and learns when to come back; others do not notice."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.admission.quota import MOST_TENANTS, Quota, Quotas, parse_quotas
from rollcall.domain.errors import QuotaExceeded


def let_in(quotas: Quotas, now: float, tenant: str = "a") -> bool:
    """Make a request that ends at once; tell whether it was let in."""
    try:
        with quotas.request(tenant, now):
            return True
    except QuotaExceeded:
        return False


def test_without_a_quota_everything_is_let_in() -> None:
    """By default nothing is bounded, and nothing adds up."""
    quotas = Quotas()
    assert all(let_in(quotas, 0.0) for _ in range(1000))
    quotas.spend("a", 10**9, 0.0)
    assert let_in(quotas, 0.0)


def test_requests_come_at_their_rate() -> None:
    """Of two a second for at most five seconds ten pass at once, then one each half second."""
    quotas = Quotas(of=lambda _: Quota(requests_per_second=2.0), burst_seconds=5.0)
    assert [let_in(quotas, 100.0) for _ in range(12)] == [True] * 10 + [False] * 2
    assert [let_in(quotas, 100.0 + 0.25 * step) for step in range(1, 9)] == [False, True] * 4
    assert [let_in(quotas, 1000.0) for _ in range(12)].count(True) == 10


def test_a_slow_rate_lets_one_in() -> None:
    """One request a minute is one at once, whatever the burst."""
    quotas = Quotas(of=lambda _: Quota(requests_per_second=1 / 60), burst_seconds=1.0)
    assert [let_in(quotas, at) for at in (0.0, 30.0, 59.9, 60.1, 61.0)] == [True, False, False, True, False]


def test_rows_are_paid_for_as_they_run() -> None:
    """Who has taken more rows than a burst allows waits until the debt is paid, however few requests it made."""
    quotas = Quotas(of=lambda _: Quota(rows_per_second=100.0), burst_seconds=1.0)
    with quotas.request("a", 0.0):
        quotas.spend("a", 500, 0.0)
    with pytest.raises(QuotaExceeded) as refused, quotas.request("a", 1.0):
        pass
    assert refused.value.retry_after == pytest.approx(3.01)
    assert (let_in(quotas, 4.0), let_in(quotas, 4.02)) == (False, True)


def test_so_many_at_a_time() -> None:
    """A permit is given back however the request ends."""
    quotas = Quotas(of=lambda _: Quota(concurrency=2))
    with ExitStack() as inside:
        for _ in range(2):
            inside.enter_context(quotas.request("a", 0.0))
        assert not let_in(quotas, 0.0)
        assert let_in(quotas, 0.0, tenant="b")
    with pytest.raises(KeyError), quotas.request("a", 0.0):
        raise KeyError
    assert let_in(quotas, 0.0)
    assert quotas.usages["a"].running == 0


def test_tenants_do_not_notice_each_other() -> None:
    """One tenant's storm leaves the others what is theirs, each by its own quota."""
    quotas = Quotas(of={"a": Quota(requests_per_second=1.0), "b": Quota(requests_per_second=3.0)}.__getitem__)
    assert sum(let_in(quotas, 0.0, "a") for _ in range(100)) == 10
    assert sum(let_in(quotas, 0.0, "b") for _ in range(100)) == 30


def test_a_refusal_says_what_and_when() -> None:
    """The message names the limit; it counts against nothing."""
    quotas = Quotas(of=lambda _: Quota(requests_per_second=0.5), burst_seconds=2.0)
    assert let_in(quotas, 0.0)
    for _ in range(5):
        with pytest.raises(QuotaExceeded, match=r"at most 0\.5 requests per second") as refused, quotas.request("a", 0):
            pass
        assert (refused.value.tenant, refused.value.retry_after) == ("a", 2.0)
    assert let_in(quotas, 2.0)


def test_a_quota_that_changes_counts_at_once() -> None:
    """An operator who gives a tenant more need not wait for the old debt."""
    now = {"a": Quota(requests_per_second=0.1)}
    quotas = Quotas(of=now.__getitem__, burst_seconds=10.0)
    assert [let_in(quotas, 0.0), let_in(quotas, 0.0)] == [True, False]
    now["a"] = Quota(requests_per_second=10.0)
    assert let_in(quotas, 0.0)
    now["a"] = Quota()
    assert all(let_in(quotas, 0.0) for _ in range(1000))


def test_tenants_who_have_paid_are_forgotten() -> None:
    """However many tenants there ever were, memory stays bounded; who owes or is here is remembered."""
    quotas = Quotas(of=lambda _: Quota(requests_per_second=1.0, rows_per_second=1.0, concurrency=1))
    quotas.spend("debtor", 10**6, 0.0)
    with quotas.request("here", 0.0):
        for number in range(3 * MOST_TENANTS):
            assert let_in(quotas, 100.0 * number, f"tenant-{number}")
            assert len(quotas.usages) <= MOST_TENANTS + 1
        assert not let_in(quotas, 300.0 * MOST_TENANTS, "debtor")
        assert not let_in(quotas, 300.0 * MOST_TENANTS, "here")


@given(
    rate=st.floats(0.01, 1000),
    burst=st.floats(0.1, 100),
    gaps=st.lists(st.floats(0, 10), min_size=1, max_size=60),
)
def test_no_window_has_more_than_the_quota(rate: float, burst: float, gaps: list[float]) -> None:
    """Over any time, no more pass than the burst and the rate allow; who waits as told is let in."""
    quotas, now, passed = Quotas(of=lambda _: Quota(requests_per_second=rate), burst_seconds=burst), 0.0, list[float]()
    for gap in gaps:
        now += gap
        try:
            with quotas.request("a", now):
                passed.append(now)
        except QuotaExceeded as refused:
            now += refused.retry_after * (1 + 1e-9) + 1e-9
            assert let_in(quotas, now)
            passed.append(now)
    most = max(1.0, rate * burst)
    for first, start in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= most + rate * (passed[last] - start) + 1e-3


# --- the file of tenants -------------------------------------------------------------------------------------------


def test_what_a_section_leaves_out_is_as_usual() -> None:
    """A tenant of its own quota keeps the other bounds."""
    usual = Quota(requests_per_second=1.0, concurrency=4)
    found = parse_quotas(b'[big]\nrequests_per_second = 50\nrows_per_second = 0.5\n["a@b/c"]\nconcurrency = 9', usual)
    assert found == {
        "big": Quota(requests_per_second=50, rows_per_second=0.5, concurrency=4),
        "a@b/c": Quota(requests_per_second=1.0, concurrency=9),
    }


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[a", "is not valid TOML"),
        (b"\xff", "is not valid TOML"),
        (b"a = 1", "a: expected a section with some of requests_per_second, rows_per_second, concurrency"),
        (b"[a]\nrequests = 1", "a: expected a section with some of"),
        (b"[a]\nrequests_per_second = 0", "a.requests_per_second: expected a number above 0"),
        (b"[a]\nrows_per_second = nan", "a.rows_per_second: expected a number above 0"),
        (b"[a]\nrows_per_second = true", "a.rows_per_second: expected a number above 0"),
        (b"[a]\nconcurrency = 1.5", "a.concurrency: expected a whole number above 0"),
        (b"[a]\nconcurrency = '1'", "a.concurrency: expected a whole number above 0"),
    ],
)
def test_mistakes_in_the_file_are_named(content: bytes, problem: str) -> None:
    """An operator learns which tenant's section is wrong, and what was expected."""
    with pytest.raises(ValueError, match=problem):
        parse_quotas(content, Quota())
