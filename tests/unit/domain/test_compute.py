"""The order in which work reaches a device."""

from __future__ import annotations

from rollcall.domain.compute import Job, Priority


def test_predictions_go_before_explanations_and_their_checks() -> None:
    """A prediction never waits behind somebody's counterfactuals that have not started."""
    assert sorted(Priority) == [Priority.PREDICT, Priority.BASE, Priority.CHECK, Priority.BACKGROUND]


def test_a_background_job_is_background_in_all_it_asks_for() -> None:
    """Work that can wait waits with all its rows."""
    assert Job(arrived=0.0).priority(Priority.CHECK) is Priority.CHECK
    assert {Job(arrived=0.0, background=True).priority(usual) for usual in Priority} == {Priority.BACKGROUND}
