"""Calibrated widths and the promise that goes with them."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rollcall.domain.maps import MapKind
from rollcall.verdict.calibration import (
    UNCALIBRATED,
    Calibration,
    CalibrationError,
    Promise,
    calibration_path,
    parse_calibration,
    width_after,
)
from rollcall.verdict.policies import STANDARD
from tests.calibrations import CREATED, DIGEST, as_file, calibration

HELD = calibration(longest=40)
FAILED = calibration(c=None, longest=40)
FILE = as_file(HELD)
USUAL = MapKind.GRADIENT_ROLLOUT
OTHER = MapKind.INTEGRATED_GRADIENTS


@pytest.mark.parametrize(("look", "width"), [(0, 0.2), (1, 0.1), (2, 0.05)])
def test_calibrated_widths_shrink_four_two_one(look: int, width: float) -> None:
    """Widths follow one path: c times 4, 2 and 1 after the three looks."""
    assert width_after(16 * (look + 1), 20, USUAL, STANDARD, HELD) == pytest.approx(width)


def test_every_map_has_widths_of_its_own() -> None:
    """A map whose flags are harder to get right has wider ones, and its own promise in words."""
    promises = {**HELD.promises, MapKind.RAW_ATTENTION: Promise(c=0.1, wrong_faithful=0.5), OTHER: Promise(c=0.0)}
    found = replace(HELD, promises=promises)
    assert width_after(16, 20, MapKind.RAW_ATTENTION, STANDARD, found) == pytest.approx(0.4)
    assert width_after(16, 20, USUAL, STANDARD, found) == pytest.approx(0.2)
    assert width_after(16, 20, OTHER, STANDARD, found) == 0.0
    assert "50.0% of FAITHFUL flags were wrong" in found.reference(20, MapKind.RAW_ATTENTION).statement
    assert "on held-out data" not in found.reference(20, OTHER).statement


@pytest.mark.parametrize("found", [None, FAILED])
@pytest.mark.parametrize(("look", "width"), [(0, 0.4), (1, 0.2), (2, 0.1)])
def test_without_a_kept_promise_the_default_widths_hold(look: int, width: float, found: Calibration | None) -> None:
    """No calibration, or one in which no width kept the promise: the policy's wide defaults."""
    assert width_after(16 * (look + 1), 20, USUAL, STANDARD, found) == width


@pytest.mark.parametrize(("n", "width", "identity"), [(7, 0.2, "cal"), (40, 0.2, "cal"), (41, 0.4, "OUT_OF_RANGE")])
def test_longer_inputs_than_calibrated_use_the_default(n: int, width: float, identity: str) -> None:
    """An input longer than any that was calibrated gets the wide default, and its answer says so."""
    assert width_after(16, n, USUAL, STANDARD, HELD) == pytest.approx(width)
    assert HELD.covers(n, USUAL) is (identity == "cal")
    reference = HELD.reference(n, USUAL)
    assert (reference.id, reference.created) == (identity, CREATED)
    assert (reference.alpha is None) is (identity == "OUT_OF_RANGE")


def test_maps_that_were_not_calibrated_use_the_default() -> None:
    """A promise about some kinds of maps says nothing about another kind, and the answer says so."""
    assert width_after(16, 20, OTHER, STANDARD, HELD) == STANDARD.widths[0]
    assert not HELD.covers(20, OTHER)
    reference = HELD.reference(20, OTHER)
    assert (reference.id, reference.alpha) == ("NONE", None)
    assert "did not see" in reference.statement


def test_a_failed_calibration_says_failed_and_promises_nothing() -> None:
    """FAILED is not the same as never tried."""
    assert not FAILED.covers(5, USUAL)
    for reference in (FAILED.reference(), FAILED.reference(5), FAILED.reference(500)):
        assert reference.id == "FAILED"
        assert reference.alpha is None
    assert UNCALIBRATED.id == "NONE"
    assert UNCALIBRATED.alpha is None


def test_the_promise_is_said_in_the_agreed_words() -> None:
    """What was measured, on what, with which confidence, and what was found on data that it never saw."""
    reference = HELD.reference()
    assert (reference.id, reference.alpha, reference.confidence) == ("cal", 0.05, 0.9)
    assert reference.statement == (
        "For inputs like the calibration set (reviews), lengths 2 to 40 units, with 90% confidence at most 5% of "
        "answers carry a flag of this map that contradicts this model's own effects (two removal "
        "operators, additive effects); on held-out data 1.2% of FAITHFUL flags and 3.4% of UNFAITHFUL flags were wrong."
    )


@pytest.mark.parametrize("found", [HELD, FAILED])
def test_a_file_is_read_whole(found: Calibration) -> None:
    """What the calibration found is what the service uses."""
    assert parse_calibration(as_file(found), model_digest=DIGEST, policy=STANDARD) == found


def changed(*path: str, to: object = None, drop: bool = False) -> dict[str, Any]:
    """The file with one of its values changed, or dropped."""
    whole = copy.deepcopy(FILE)
    at: Any = whole
    for name in path[:-1]:
        at = at[name]
    if drop:
        del at[path[-1]]
    else:
        at[path[-1]] = to
    return whole


@pytest.mark.parametrize(
    ("file", "says"),
    [
        (changed("model", "digest", to="sha256:" + "b" * 64), "other weights"),
        (changed("policy", "digest", to="sha256:" + "b" * 64), "another policy"),
        (changed("maps", "raw_attention", "c", to="wide"), "not a calibration"),
        (changed("maps", "raw_attention", "c", to=-0.1), "no width"),
        (changed("maps", "raw_attention", "c", to=float("nan")), "no width"),
        (changed("maps", "raw_attention", "c", to=float("inf")), "no width"),
        (changed("maps", "a_nice_picture", to={"c": 0.1}), "not a calibration"),
        (changed("primary_map", to="a_nice_picture"), "not a calibration"),
        (changed("primary_map", to="effect"), "none of its maps"),
        (changed("data", "inputs", to=None), "not a calibration"),
        (changed("data", to="sst2"), "not a calibration"),
        (changed("created", to="yesterday"), "not a calibration"),
        (changed("prior", "used", to=1), "not a calibration"),
        (changed("created", to="2026-11-20T12:30:00"), "no time zone"),
        (changed("format", to=1), "rollcall calibrate"),
    ],
)
def test_a_calibration_of_something_else_is_refused(file: dict[str, Any], says: str) -> None:
    """A promise holds for the weights and the policy that it was made for; a broken one is never guessed at."""
    with pytest.raises(CalibrationError, match=says):
        parse_calibration(file, model_digest=DIGEST, policy=STANDARD)


@pytest.mark.parametrize("path", [(name,) for name in FILE] + [("data", name) for name in FILE["data"]])
def test_a_file_that_lacks_something_is_refused(path: tuple[str, ...]) -> None:
    """Nothing is filled in."""
    with pytest.raises(CalibrationError, match="not a calibration"):
        parse_calibration(changed(*path, drop=True), model_digest=DIGEST, policy=STANDARD)


@pytest.mark.parametrize("raw", [[], "x", None, 3])
def test_what_is_no_object_is_refused(raw: Any) -> None:  # noqa: ANN401 - any JSON value
    """Any JSON may stand in a file."""
    with pytest.raises(CalibrationError, match="rollcall calibrate"):
        parse_calibration(raw, model_digest=DIGEST, policy=STANDARD)


def test_a_calibration_holds_in_its_own_precision() -> None:
    """Widths measured in single precision promise nothing in half, and the other way round."""
    for made in ("float32", "bfloat16"):
        assert parse_calibration(as_file(HELD, made), model_digest=DIGEST, policy=STANDARD, dtype=made) == HELD
    for made, served in (("float32", "bfloat16"), ("bfloat16", "float32")):
        with pytest.raises(CalibrationError, match=f"made in {made}; the model is served in {served}"):
            parse_calibration(as_file(HELD, made), model_digest=DIGEST, policy=STANDARD, dtype=served)


def test_a_calibration_lies_beside_its_model() -> None:
    """Not in it: every JSON file of the directory is part of the model's digest."""
    path = calibration_path(Path("models/../models/reviews/"))
    assert path == Path("models").resolve() / "reviews.calibration.json"
