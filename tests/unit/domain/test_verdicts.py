"""The words in which a verdict is given."""

from __future__ import annotations

from rollcall.domain.verdicts import CheckOutcome, Flag, Reason


def test_there_are_four_flags() -> None:
    """A map is faithful, unfaithful, inconclusive, or nobody checked."""
    assert {flag.name for flag in Flag} == {"FAITHFUL", "UNFAITHFUL", "INCONCLUSIVE", "NOT_CHECKED"}


def test_every_documented_reason_exists() -> None:
    """The eleven reasons of INCONCLUSIVE, and none for the other flags."""
    documented = (
        "NO_EFFECT FLAT_MAP LOW_POWER OMISSION NOT_USED OPERATOR_DISAGREEMENT CONFLICT INSTRUMENT NUMERICS BUDGET "
        "UNCALIBRATED"
    )
    assert {reason.name for reason in Reason} == {"NONE", *documented.split()}


def test_a_check_can_fail_to_say_anything_in_three_ways() -> None:
    """Not run, run without result, and crashed are different things to an auditor."""
    assert {"SKIPPED", "INCONCLUSIVE", "ERRORED"} < {outcome.name for outcome in CheckOutcome}
