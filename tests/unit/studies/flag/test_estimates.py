"""What is said of the estimated effects: rho is right where margins are additive, wrong where the truth is another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rollcall.domain.verdicts import Flag
from rollcall.studies.cases import Case
from rollcall.studies.flag.estimates import estimated_effects
from rollcall.studies.flag.families.base import Undecidable
from rollcall.studies.flag.run import Measured
from rollcall.verdict.decide import Ruling
from rollcall.verdict.policies import STANDARD
from tests.unit.studies.flag.conftest import family_of
from tests.unit.studies.test_calibrating import N, cases


def told(some: list[Case], **changes: object) -> dict[str, dict[str, object]]:
    """What is said of one model's cases, by removals."""
    family = replace(family_of("selector"), name="f")
    one = Measured(family=family, seed=0, accuracy=1.0, cases=tuple(some))
    found: dict[str, dict[str, object]] = estimated_effects([replace(one, **changes)], STANDARD).get("f", {})  # type: ignore[arg-type] # fields by name
    return found


def test_effects_of_additive_margins_are_found_and_known_to_be() -> None:
    """With hardly any noise: correlation and rho near 1 after the last look, and nobody led astray."""
    found = told(cases(60))
    assert list(found) == ["16", "32", "48"]
    last = found["48"]
    assert last["inputs"] == 60
    assert last["correlation"] == pytest.approx(1.0, abs=0.02)
    assert last["reliability"] == pytest.approx(1.0, abs=0.02)
    assert last["additive"] == pytest.approx(1.0, abs=0.01)
    assert last["allowed"]["count"] == 60  # type: ignore[index]
    assert last["astray"]["count"] == 0  # type: ignore[index]


def test_what_does_not_add_up_is_counted() -> None:
    """Noise of the variance of what adds up leaves a half; a step between the operators is no part of either."""
    random, some = np.random.default_rng(0), []
    for one in cases(40):
        removed, operators, _ = one.rows()
        sums = -(removed @ np.array(one.true_effects))
        noise = random.normal(size=48) * sums.std()
        step = np.array([5.0 * (operator is operators[0]) for operator in operators])
        some.append(replace(one, margins=tuple((sums + noise + step).tolist())))
    assert told(some)["48"]["additive"] == pytest.approx(0.5, abs=0.08)


def test_how_far_off_the_alignment_is() -> None:
    """Root mean square over the offered maps, by hand: a map that nobody offers does not count."""
    some = []
    for one in cases(5):
        offered = {name: replace(found, served=Ruling(flag=Flag.FAITHFUL)) for name, found in one.maps.items()}
        some.append(replace(one, maps=offered))
    expected = [
        look.evidence.alignment - found.truth.alignment
        for one in some
        for found in one.maps.values()
        for look in found.looks
        if look.removals == 32 and found.truth is not None and look.evidence.alignment is not None
    ]
    assert told(some)["32"]["error"] == pytest.approx(float(np.sqrt(np.mean(np.square(expected)))))
    assert told(cases(5))["32"]["error"] is None


def test_where_the_truth_is_another_one_inputs_are_led_astray() -> None:
    """The rows are additive, and the true effects are those of other words: rho cannot know."""
    turned = [replace(one, true_effects=tuple(-e for e in one.true_effects)) for one in cases(30)]
    last = told(turned)["48"]
    assert last["correlation"] == pytest.approx(-1.0, abs=0.02)
    assert last["astray"]["count"] == last["allowed"]["count"] == 30  # type: ignore[index]


def test_what_cannot_be_compared_is_left_out() -> None:
    """Inputs without reach, short ones with a single look, effects that are all equal, faults and constants."""
    good = cases(4)
    some = [
        good[0],
        replace(good[1], reached=False),
        replace(good[2], true_effects=(1.0,) * N),
        replace(good[3], margins=(1.0,) * 48),
    ]
    assert told(some)["16"]["inputs"] == 1
    assert told([good[0]], fault="NaN") == {}
    constant = replace(family_of("constant"), undecidable=Undecidable.EVERYTHING)
    assert told([good[0]], family=constant) == {}
    short = replace(good[0], units=3, removed=("100", "010") * 6, operators=(0, 1) * 6, margins=tuple(np.arange(12.0)))
    assert told([short]) == {}
