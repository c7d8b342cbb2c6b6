"""There is a sentence for everything that the service can say."""

from __future__ import annotations

import pytest

from rollcall_client import (
    CalibrationRef,
    CheckKind,
    CheckOutcome,
    Flag,
    MapKind,
    Reason,
    RemovalOperator,
    Scope,
    phrases,
)
from rollcall_client.phrases import calibration_sentence, flag_label, flag_sentence


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        (phrases.FLAGS, Flag),
        (phrases.REASONS, Reason),
        (phrases.CHECKS, CheckKind),
        (phrases.OUTCOMES, CheckOutcome),
        (phrases.MAPS, MapKind),
        (phrases.OPERATORS, RemovalOperator),
        (phrases.SCOPES, Scope),
    ],
    ids=lambda part: getattr(part, "__name__", ""),
)
def test_every_member_has_its_sentence(table: dict[object, str], kind: type) -> None:
    """Nothing that can be sent today is without words."""
    assert set(table) == {member for member in kind if member.value}  # type: ignore[attr-defined]  # an enum


def test_only_faithful_says_yes() -> None:
    """Every other flag, also one from the future, keeps the reader from relying on the map."""
    assert flag_sentence(Flag.FAITHFUL, Reason.UNSPECIFIED).startswith("This map may be relied on")
    for flag in (Flag.UNSPECIFIED, Flag.UNFAITHFUL, Flag.INCONCLUSIVE, Flag.NOT_CHECKED, Flag(99)):
        assert "This map may be relied on" not in flag_sentence(flag, Reason.UNSPECIFIED)
        assert flag_label(flag) != flag_label(Flag.FAITHFUL)


def test_a_reason_from_the_future_is_named_as_such() -> None:
    """The sentence promises nothing about it."""
    assert flag_sentence(Flag.INCONCLUSIVE, Reason(99)).endswith("does not know.")


def test_calibrations_promise_only_what_they_hold() -> None:
    """Without a calibration nothing is promised; with one its own statement is."""
    assert "no promise" in calibration_sentence(None)
    for name in ("NONE", "FAILED", "OUT_OF_RANGE"):
        reference = CalibrationRef(id=name, alpha=None, confidence=None, statement="")
        assert "no promise" in calibration_sentence(reference)
    held = CalibrationRef(id="reviews-3", alpha=0.05, confidence=0.9, statement="at most 5 % are wrong")
    assert calibration_sentence(held) == "Calibration reviews-3: at most 5 % are wrong"
