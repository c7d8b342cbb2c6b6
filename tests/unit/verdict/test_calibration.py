"""Calibrated widths and the promise that goes with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rollcall.domain.maps import MapKind
from rollcall.verdict.calibration import UNCALIBRATED, Calibration, CalibrationError, parse_calibration, width_after
from rollcall.verdict.policies import STANDARD

DIGEST = "sha256:" + "a" * 64
CALIBRATION = Calibration(
    id="demo-1",
    model_digest=DIGEST,
    policy_digest=STANDARD.digest,
    c=0.05,
    alpha=0.05,
    confidence=0.9,
    inputs=300,
    shortest=3,
    longest=40,
    primary_map=MapKind.GRADIENT_ROLLOUT,
    statement="at most 5 % of answers",
)
FAILED = replace(CALIBRATION, c=None)

FILE: dict[str, Any] = {
    "id": "demo-1",
    "model_digest": DIGEST,
    "policy_digest": STANDARD.digest,
    "c": 0.05,
    "alpha": 0.05,
    "confidence": 0.9,
    "inputs": 300,
    "shortest": 3,
    "longest": 40,
    "primary_map": "gradient_rollout",
    "statement": "at most 5 % of answers",
}


USUAL = MapKind.GRADIENT_ROLLOUT


@pytest.mark.parametrize(("look", "width"), [(0, 0.2), (1, 0.1), (2, 0.05)])
def test_calibrated_widths_shrink_four_two_one(look: int, width: float) -> None:
    """Widths follow one path: c times 4, 2 and 1 after the three looks."""
    assert width_after(look, 20, USUAL, STANDARD, CALIBRATION) == pytest.approx(width)


@pytest.mark.parametrize("calibration", [None, FAILED])
@pytest.mark.parametrize(("look", "width"), [(0, 0.4), (1, 0.2), (2, 0.1)])
def test_without_a_kept_promise_the_default_widths_hold(
    look: int, width: float, calibration: Calibration | None
) -> None:
    """No calibration, or one in which no width kept the promise: the policy's wide defaults."""
    assert width_after(look, 20, USUAL, STANDARD, calibration) == width


@pytest.mark.parametrize(
    ("n", "width", "identity"), [(2, 0.2, "demo-1"), (40, 0.2, "demo-1"), (41, 0.4, "OUT_OF_RANGE")]
)
def test_longer_inputs_than_calibrated_use_the_default(n: int, width: float, identity: str) -> None:
    """An input longer than any that was calibrated gets the wide default, and its answer says so."""
    assert width_after(0, n, USUAL, STANDARD, CALIBRATION) == pytest.approx(width)
    assert CALIBRATION.covers(n, USUAL) is (identity == "demo-1")
    reference = CALIBRATION.reference(n, USUAL)
    assert reference.id == identity
    assert (reference.alpha is None) is (identity == "OUT_OF_RANGE")


def test_maps_that_were_not_calibrated_use_the_default() -> None:
    """A promise about some kinds of maps says nothing about another kind, and the answer says so."""
    other = MapKind.INTEGRATED_GRADIENTS
    assert width_after(0, 20, other, STANDARD, CALIBRATION) == STANDARD.widths[0]
    assert not CALIBRATION.covers(20, other)
    reference = CALIBRATION.reference(20, other)
    assert (reference.id, reference.alpha) == ("NONE", None)
    assert "did not see" in reference.statement
    assert FAILED.reference(20, other).id == "FAILED"


def test_a_failed_calibration_says_failed_and_promises_nothing() -> None:
    """FAILED is not the same as never tried."""
    assert not FAILED.covers(5, USUAL)
    for reference in (FAILED.reference(), FAILED.reference(5), FAILED.reference(500)):
        assert reference.id == "FAILED"
        assert reference.alpha is None
    assert UNCALIBRATED.id == "NONE"
    assert UNCALIBRATED.alpha is None


def test_the_card_names_the_calibration_whatever_the_length() -> None:
    """A model's card tells the promise as it was made."""
    reference = CALIBRATION.reference()
    assert (reference.id, reference.alpha, reference.confidence) == ("demo-1", 0.05, 0.9)
    assert reference.statement == CALIBRATION.statement


def test_a_file_is_read_whole() -> None:
    """What the calibration found is what the service uses."""
    assert parse_calibration(FILE, model_digest=DIGEST, policy=STANDARD) == CALIBRATION
    failed = FILE | {"c": None, "primary_map": None}
    assert parse_calibration(failed, model_digest=DIGEST, policy=STANDARD) == replace(FAILED, primary_map=None)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_digest": "sha256:" + "b" * 64}, "other weights"),
        ({"policy_digest": "sha256:" + "b" * 64}, "another policy"),
        ({"c": "wide"}, "not a calibration"),
        ({"c": -0.1}, "no width"),
        ({"c": float("nan")}, "no width"),
        ({"c": float("inf")}, "no width"),
        ({"primary_map": "a_nice_picture"}, "not a calibration"),
        ({"inputs": None}, "not a calibration"),
    ],
)
def test_a_calibration_of_something_else_is_refused(changes: dict[str, Any], says: str) -> None:
    """A promise holds for the weights and the policy that it was made for; a broken one is never guessed at."""
    with pytest.raises(CalibrationError, match=says):
        parse_calibration(FILE | changes, model_digest=DIGEST, policy=STANDARD)


@pytest.mark.parametrize("name", FILE)
def test_a_file_that_lacks_something_is_refused(name: str) -> None:
    """Nothing is filled in."""
    with pytest.raises(CalibrationError, match=name):
        parse_calibration({k: v for k, v in FILE.items() if k != name}, model_digest=DIGEST, policy=STANDARD)


def test_a_calibration_holds_in_its_own_precision() -> None:
    """Widths measured in single precision promise nothing in half, and the other way round."""
    parse_calibration(FILE, model_digest=DIGEST, policy=STANDARD, dtype="float32")
    parse_calibration(FILE | {"dtype": "bfloat16"}, model_digest=DIGEST, policy=STANDARD, dtype="bfloat16")
    for made, served in (("float32", "bfloat16"), ("bfloat16", "float32")):
        with pytest.raises(CalibrationError, match=f"made in {made}; the model is served in {served}"):
            parse_calibration(FILE | {"dtype": made}, model_digest=DIGEST, policy=STANDARD, dtype=served)
