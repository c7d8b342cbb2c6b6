"""Deceptive twins: every check is asked as the service asks it, and the contrast of twins counts what it says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from rollcall.domain.inputs import TextInput
from rollcall.domain.maps import DEFAULT_MAPS, MapKind
from rollcall.domain.verdicts import CheckKind, CheckLevel
from rollcall.studies.laboratory import Laboratory
from rollcall.studies.papers.pruthi.contrast import ALIGNMENT, SWAPS
from rollcall.studies.papers.pruthi.report import result
from rollcall.studies.papers.pruthi.study import KINDS, checked
from rollcall.studies.papers.pruthi.thorough import thorough_checks
from rollcall.studies.papers.pruthi.twins import HIDDEN_FROM, HONEST, LAST, ROLLOUT, SST_WIKI, TRIGGER, twins
from rollcall.verdict.policies import STANDARD, THOROUGH
from tests import toys
from tests.harness import ask, serving

TEXT = " ".join([*toys.SALIENCE][:7])


def test_the_thorough_checks_are_those_of_the_service() -> None:
    """Every check of every map with the same outcome and value, where the searches have the same seeds."""
    model = toys.selector()
    with serving(model) as service:
        answer = service.explain(ask(TEXT, check_level=CheckLevel.THOROUGH, maps=KINDS, max_rows=4096))
    bench = Laboratory(model=model, policy=STANDARD, kinds=KINDS).open(TextInput(text=TEXT))
    found = thorough_checks(bench, bench.maps(), THOROUGH)
    for attribution in answer.attributions:
        served = [check for check in attribution.verdict.checks if check.kind.thorough]
        own = found.checks[attribution.map.kind]
        assert [(one.kind, one.statistic, one.outcome) for one in own] == [
            (one.kind, one.statistic, one.outcome) for one in served
        ]
        for one, other in zip(own, served, strict=True):
            if one.kind is not CheckKind.ERASURE:  # its limits are of all maps that were asked for thoroughly
                assert one.value == pytest.approx(other.value, abs=1e-4), one


def test_of_every_map_all_checks_and_its_weight_on_what_decides_are_kept() -> None:
    """As JSON; the share of one word of a map is that of its unit."""
    laboratory = Laboratory(model=toys.selector(), policy=STANDARD, kinds=KINDS)
    found = json.loads(json.dumps(checked(laboratory, TextInput(text=TEXT), [(0, TEXT.index(" "))])))
    assert set(found) == {kind.value for kind in KINDS}
    asked = {name.split(" ")[0] for one in found.values() for name in one["checks"]}
    assert asked == {kind.value for kind in CheckKind}
    attention = next(
        one for one in laboratory.open(TextInput(text=TEXT)).captured.maps if one.kind is MapKind.RAW_ATTENTION
    )
    assert found["raw_attention"]["mass"] == pytest.approx(attention.scores[0], abs=1e-5)


def test_twins_differ_in_what_they_hide_alone() -> None:
    """Two tasks, one of them real, and on each an honest model and two that deceive."""
    found = twins()
    assert set(found) == {TRIGGER, SST_WIKI}
    for by_twin in found.values():
        assert set(by_twin) == {HONEST, *HIDDEN_FROM}
        assert len({family.digest for family in by_twin.values()}) == 3
        assert len({(family.data, family.layers) for family in by_twin.values()}) == 1


def said(alignment: float, swap: float, flag: str) -> dict[str, Any]:
    """What the checks said of one input's maps."""
    checks = {ALIGNMENT: {"outcome": "measured", "value": alignment}}
    checks |= {name: {"outcome": "measured", "value": swap} for name in SWAPS}
    one = {"flag": flag, "reason": "none", "mass": 0.5, "witnesses": ["omission"] if alignment < 0 else []}
    return {kind.value: {**one, "checks": checks} for kind in DEFAULT_MAPS}


def built(mass: float, inputs: list[dict[str, Any]]) -> dict[str, Any]:
    """One twin of one seed."""
    facts = {
        "accuracy_of_honest_twin": 0.9,
        "attention_on_decisive_words": mass,
        "rollout_on_decisive_words": mass,
        "accuracy_without_decisive_words": 0.5,
    }
    return {"accuracy": 0.895, "facts": facts, "inputs": inputs}


def test_a_check_that_notices_has_an_area_of_one_and_one_that_does_not_a_half() -> None:
    """Alignment falls on every input of the deceptive twin, swaps say the same of both."""
    swaps = np.linspace(0, 1, 10)
    honest = built(0.7, [said(0.9, swap, "faithful") for swap in swaps])
    deceptive = built(0.01, [said(-0.8, swap, "unfaithful") for swap in swaps])
    found = {task: {HONEST: {0: honest}, LAST: {0: deceptive}, ROLLOUT: {0: deceptive}} for task in (TRIGGER, SST_WIKI)}
    made = result(found)
    scores = made.findings["checks"][f"{TRIGGER}, {LAST}"]
    assert scores[ALIGNMENT]["auroc"] == 1.0
    assert all(scores[name]["auroc"] == 0.5 for name in SWAPS)
    assert scores["omission witness"] == {"auroc": 0.0, "interval_95": [0.0, 0.0], "means": [0.0, 1.0], "pairs": 10}
    assert all(claim.holds for claim in made.claims)
    assert made.findings["flags"][f"{SST_WIKI}, {LAST}"]["raw_attention"]["unfaithful"] == 10


def test_claims_fail_where_the_twin_is_none() -> None:
    """A twin that looks like the honest one in everything fails on its weight and on what the checks can tell."""
    honest = built(0.7, [said(alignment, 0.5, "faithful") for alignment in (0.1, 0.4, 0.8)])
    found = {task: {HONEST: {0: honest}, LAST: {0: honest}, ROLLOUT: {0: honest}} for task in (TRIGGER, SST_WIKI)}
    failing = {claim.claim.split(": ")[1] for claim in result(found).claims if not claim.holds}
    assert failing == {
        "the map's weight on what decides falls to less than half",
        "the deceptive map is called FAITHFUL on fewer inputs than the honest one",
    }
