"""What the report counts, against counts by hand and an independent AUROC."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from rollcall.domain.verdicts import CheckKind, CheckOutcome, Flag, Reason
from rollcall.studies.flag.aims import targets
from rollcall.studies.flag.baseline import baseline_of, read_baseline, regressions
from rollcall.studies.flag.evaluate import (
    Judged,
    auroc,
    auroc_of,
    checks,
    group_numbers,
    rules,
)
from rollcall.studies.flag.members import FAMILIES
from rollcall.verdict.decide import Ruling
from rollcall.verdict.policies import STANDARD
from rollcall.verdict.truth import Truth

GOOD = Truth(alignment=0.9, omits_top_effect=False)
BAD = Truth(alignment=-0.2, omits_top_effect=False)
FAITHFUL, UNFAITHFUL = Ruling(flag=Flag.FAITHFUL), Ruling(flag=Flag.UNFAITHFUL)
LOW = Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.LOW_POWER)
FLAT = Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.FLAT_MAP)


def one(ruling: Ruling = FAITHFUL, truth: Truth = GOOD, **changes: object) -> Judged:
    """A map that was judged after 16 removals."""
    plain = Judged(
        family="f",
        model="f-0",
        map="raw_attention",
        tokens=12,
        flat=ruling is FLAT,
        ruling=ruling,
        removals=16,
        alignment=truth.alignment,
        p_up=0.01,
        p_low=0.99,
        truth=truth,
        offered=True,
        outcomes={},
    )
    return replace(plain, **changes)  # type: ignore[arg-type] # fields by name


@pytest.mark.parametrize("seed", range(10))
def test_auroc_is_that_of_scikit_learn(seed: int) -> None:
    """With ties, too."""
    random = np.random.default_rng(seed)
    scores, right = random.integers(0, 8, 60) / 8, random.random(60) < 0.3
    assert auroc(scores, right) == pytest.approx(roc_auc_score(right, scores))


def test_one_kind_alone_has_no_auroc() -> None:
    """There is nothing to order."""
    assert auroc(np.array([0.1, 0.2]), np.array([True, True])) is None
    assert auroc_of([one(), one()], STANDARD, bootstrap=True) is None


def test_the_bootstrap_draws_whole_models() -> None:
    """Where all that differs lies between models, the interval is as wide as two models make it."""
    sure = [one(model="a"), one(LOW, BAD, model="a")] * 20
    unsure = [one(model="b", alignment=-0.5), one(LOW, BAD, model="b", alignment=0.5)] * 20
    found = auroc_of([*sure, *unsure], STANDARD, bootstrap=True)
    assert found is not None
    assert found["interval_95"] == [0.0, 1.0]
    assert found["models"] == 2


def test_wrong_flags_are_counted_among_flags_and_flat_maps_are_not_decidable() -> None:
    """By hand: four flags of six maps that are not flat, one of them wrong each way."""
    some = [one(), one(FAITHFUL, BAD), one(UNFAITHFUL, BAD), one(UNFAITHFUL, GOOD), one(LOW), one(LOW, BAD), one(FLAT)]
    found = group_numbers(some, STANDARD)
    assert (found["maps"], found["flags"], found["wrong_of_flags"]["count"]) == (7, 4, 2)
    assert (found["decided"]["count"], found["decided"]["total"]) == (4, 6)
    assert (found["wrong_faithful"]["count"], found["wrong_unfaithful"]["count"]) == (1, 1)
    assert found["reasons"] == {"low_power": 2, "flat_map": 1}
    assert found["far_wrong"]["count"] == 2
    assert found["removals"] == 16


def test_the_older_rule_is_the_one_that_was_written_down() -> None:
    """Significance and size for FAITHFUL, no counterexample; the other tail or a counterexample for UNFAITHFUL."""
    witness = {CheckKind.OMISSION: CheckOutcome.CONTRADICTS}
    some = {
        "faithful": [one(), one(alignment=0.31)],
        "unfaithful": [one(p_up=0.99, p_low=0.01), one(p_up=0.6, p_low=0.4, outcomes=witness)],
        "neither": [one(p_up=0.2), one(alignment=0.2), one(FLAT), one(outcomes=witness), one(p_up=None)],
    }
    for name, group in some.items():
        found = rules(group, STANDARD)["permutation"]
        for flag in ("faithful", "unfaithful"):
            assert found[flag]["count"] == (len(group) if flag == name else 0)


def test_each_check_is_told_by_what_it_says_of_right_and_wrong_maps() -> None:
    """Of those on which it ran to an end; a check that was skipped or crashed says nothing."""
    kind = CheckKind.OMISSION
    some = [
        one(outcomes={kind: CheckOutcome.SUPPORTS}),
        one(outcomes={kind: CheckOutcome.CONTRADICTS}),
        one(LOW, BAD, outcomes={kind: CheckOutcome.CONTRADICTS}),
        one(LOW, BAD, outcomes={kind: CheckOutcome.SKIPPED}),
        one(LOW, BAD, outcomes={kind: CheckOutcome.ERRORED}),
    ]
    found = checks(some, STANDARD)
    assert set(found) == {kind.value}
    counts = {name: (share["count"], share["total"]) for name, share in found[kind.value].items()}
    assert counts == {
        "supports_of_right": (1, 2),
        "supports_of_wrong": (0, 1),
        "contradicts_of_right": (1, 2),
        "contradicts_of_wrong": (1, 1),
    }


def test_a_flag_without_reach_misses_the_aim_of_none() -> None:
    """What is counted is what is judged."""
    nothing: dict[str, object] = {"all": {}, "families": {}}
    found: dict[str, object] = {
        "families": {},
        "calibrated": {"0.05": nothing, "0.02": nothing},
        "tampered": {},
        "undecidable": {},
        "no_reach": {"flagged": 2},
    }
    (aim,) = targets(found, [], STANDARD)
    assert (aim["value"], aim["met"]) == (2.0, False)


def fake_report(wrong: int = 0, decided: int = 20) -> dict[str, object]:
    """As much of a report as a baseline needs."""
    maps = {"m": {"maps": 24, "flags": decided, "wrong_of_flags": {"count": wrong}}}
    return {
        "policy": {"digest": "d"},
        "families": {"f": {"maps_of": maps}},
        "undecidable": {"constant": {"maps": 9, "not_inconclusive": 0}},
        "no_reach": {"flagged": 0},
    }


def test_a_regression_is_what_chance_does_not_explain() -> None:
    """A few more wrong flags are chance, many are not; the same holds for fewer decisions."""
    before = baseline_of(fake_report())
    assert regressions(fake_report(), before) == []
    assert regressions(fake_report(wrong=3, decided=17), before) == []
    assert regressions(fake_report(wrong=12), before) == ["f/m: 12 of 24 flags wrong, 0 of 24 before"]
    assert regressions(fake_report(decided=5), before) == ["f/m: 5 of 24 decided, 20 of 24 before"]


def test_a_flag_where_there_must_be_none_is_a_regression_and_so_is_a_family_that_is_gone() -> None:
    """A single one."""
    report = fake_report()
    report["undecidable"] = {"constant": {"maps": 9, "not_inconclusive": 1}}
    report["no_reach"] = {"flagged": 2}
    report["families"] = {}
    found = regressions(report, baseline_of(fake_report()))
    assert len(found) == 3
    assert found[0] == "f/m: not measured"


def test_the_packaged_baseline_is_of_this_policy_and_of_quick_families() -> None:
    """A baseline of other thresholds would compare apples with pears."""
    found = read_baseline()
    assert found["policy"] == STANDARD.digest
    quick = {family.name for family in FAMILIES if family.quick}
    assert {name.split("/")[0] for name in found["maps"]} <= quick
    assert len(found["maps"]) > 50
