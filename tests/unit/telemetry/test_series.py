"""Label sets are bound once, and there are never more than were planned for."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter

from rollcall.telemetry.series import OTHER, Family


def family(quota: int) -> tuple[CollectorRegistry, Family[Counter]]:
    """Make a counter by model and code for the models a and b."""
    registry = CollectorRegistry()
    folded = Counter("folded_total", "Folded.", registry=registry)
    metric = Counter("calls_total", "Calls.", ("model", "code"), registry=registry)
    return registry, Family(metric, models=frozenset({"a", "b"}), quota=quota, folded=folded)


def test_a_child_is_bound_once() -> None:
    """The same labels give the same child, so that counting costs no lookup of labels."""
    _, calls = family(quota=4)
    assert calls.child("a", "OK") is calls.child("a", "OK")
    assert calls.child("a", "OK") is not calls.child("b", "OK")


def test_unknown_names_share_a_child() -> None:
    """Names that nobody configured cannot make series."""
    registry, calls = family(quota=4)
    for name in ("x", "y", "", OTHER):
        calls.child(name, "OK").inc()
    assert registry.get_sample_value("calls_total", {"model": OTHER, "code": "OK"}) == 4
    assert registry.get_sample_value("folded_total") == 0


def test_beyond_the_quota_only_the_name_is_lost() -> None:
    """When a family is full, further label sets are counted under "other", and that this happened is counted too."""
    registry, calls = family(quota=1)
    calls.child("a", "OK").inc()
    calls.child("b", "OK").inc()
    calls.child("b", "OK").inc()
    calls.child("a", "OK").inc()
    assert registry.get_sample_value("calls_total", {"model": "a", "code": "OK"}) == 2
    assert registry.get_sample_value("calls_total", {"model": OTHER, "code": "OK"}) == 2
    assert registry.get_sample_value("folded_total") == 1


def test_values_that_cannot_be_added_have_a_child_of_their_own_or_none() -> None:
    """A gauge beyond the quota is left out, and that is counted once; nobody overwrites another's value."""
    registry, calls = family(quota=1)
    own = calls.own("a", "OK")
    assert own is calls.child("a", "OK")
    for _ in range(3):
        assert calls.own("b", "OK") is None
        assert calls.own("a", "OK") is own
    assert registry.get_sample_value("folded_total") == 1
    assert registry.get_sample_value("calls_total", {"model": OTHER, "code": "OK"}) is None
