"""The order in which work reaches a device."""

from __future__ import annotations

from rollcall.domain.compute import Priority


def test_predictions_go_before_explanations_and_their_checks() -> None:
    """A prediction never waits behind somebody's counterfactuals that have not started."""
    assert sorted(Priority) == [Priority.PREDICT, Priority.BASE, Priority.CHECK]
