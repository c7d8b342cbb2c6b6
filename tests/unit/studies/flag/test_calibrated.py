"""Families calibrated on some inputs and checked on others: no input does both, and shares are of what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rollcall.studies.flag.calibrated import (
    CHECKED_ON,
    SHARES_OF,
    Pool,
    cross_calibrated,
    learning_curve,
    pooled,
    pools_of,
    saved_by_prior,
)
from rollcall.studies.flag.members import FAMILIES
from rollcall.studies.flag.run import Measured
from rollcall.verdict.policies import STANDARD
from tests.unit.studies.test_calibrating import case, cases


def measured(name: str, seed: int, number: int, prior_noise: float | None = None) -> Measured:
    """So many made-up cases of one model of a family."""
    family = next(one for one in FAMILIES if one.name == name)
    some = cases(number) if prior_noise is None else cases(number, prior_noise=prior_noise)
    return Measured(family=family, seed=seed, accuracy=1.0, cases=tuple(some))


def test_widths_are_checked_on_inputs_that_did_not_fit_them() -> None:
    """Five folds: about alpha of all maps wrong at most, and no fold for too few inputs."""
    found = cross_calibrated(Pool(cases(400, prior_noise=0.02), STANDARD), alpha=0.05)
    assert found is not None
    assert found["prior_folds"] == 5
    assert found["promised"] == 1
    assert found["maps"] == 800
    assert 0 < found["wrong"] < 0.05
    assert found["decided"] > 0.9
    assert cross_calibrated(Pool(cases(9), STANDARD), alpha=0.05) is None
    by_map = found["maps_of"].values()
    assert len(by_map) == 2
    assert sum(one["wrong"] for one in by_map) == round(found["wrong"] * found["maps"])
    assert sum(one["unfaithful"] for one in by_map) == found["unfaithful"]
    assert all(one["right faithful"] <= min(one["right"], one["faithful"]) <= 400 for one in by_map)
    few = cross_calibrated(Pool(cases(20), STANDARD), alpha=0.02)
    assert few is not None
    assert few["promised"] == 0


def test_whether_a_prior_helps_is_decided_without_the_inputs_that_check() -> None:
    """One input that it misleads keeps it from four folds, and not from the one in which this input is left out."""
    random = np.random.default_rng(0)
    found = cross_calibrated(
        Pool([*cases(29, prior_noise=0.02), case(29, random, prior_noise=99.0)], STANDARD), alpha=0.05
    )
    assert found is not None
    assert found["prior_folds"] == 1


def test_shares_of_all_families_are_of_what_they_are_shares_of() -> None:
    """A family with few maps of a kind counts little, and one without any not at all; by hand."""
    some = [
        {"maps": 40, "uneven": 10, "unfaithful": 4, "wrong": 0.5, "decided": 0.2, "wrong_unfaithful": 0.5},
        {"maps": 40, "uneven": 40, "unfaithful": 0, "wrong": 0.1, "decided": 1.0, "wrong_unfaithful": 0.0},
    ]
    expected = {"wrong": 24 / 80, "decided": 42 / 50, "wrong_unfaithful": 2 / 4}
    assert {share: pooled(some, share, SHARES_OF[share]) for share in expected} == pytest.approx(expected)
    assert pooled(some[1:], "wrong_unfaithful", "unfaithful") == 0
    found = cross_calibrated(Pool(cases(40), STANDARD), alpha=0.05)
    assert found is not None
    assert {*SHARES_OF, *SHARES_OF.values()} <= set(found)


def test_what_a_prior_saves_is_told_of_families_that_have_one() -> None:
    """A good one saves removals; each way has widths of its own, which keep the promise."""
    helped = measured("honest", 0, 400, prior_noise=0.02)
    bare = tuple(cases(60))
    found = saved_by_prior(
        pools_of([helped, replace(helped, family=replace(helped.family, name="bare"), cases=bare)], STANDARD),
        alpha=0.05,
    )
    assert set(found) == {"honest"}
    saved = found["honest"]
    assert saved["with"]["removals"] < saved["without"]["removals"]
    assert max(one["wrong"] for one in saved.values()) < 0.05
    crossed = cross_calibrated(Pool(helped.cases, STANDARD), alpha=0.05)
    assert crossed is not None
    assert {name: crossed[name] for name in saved["with"]} == saved["with"]  # all five folds wanted it


def test_more_inputs_promise_more() -> None:
    """Every point is of the same families: those that leave enough to check the largest."""
    few, many = measured("selector", 0, 100), [measured("honest", seed, 130, prior_noise=0.02) for seed in (0, 1)]
    sizes = (20, 100, 200, 260)
    found = learning_curve(pools_of([few, *many], STANDARD), alpha=0.05, sizes=sizes)
    assert found["families"] == ["honest"]
    assert list(found["points"]) == ["20", "100", "200"]  # 260 would leave none to check
    promised = [point["promised"] for point in found["points"].values()]
    assert promised == sorted(promised)
    assert (promised[0], promised[-1]) == (0, 1)
    assert all(0 <= point["wrong"] <= 0.05 for point in found["points"].values())
    assert found == learning_curve(pools_of([few, *many], STANDARD), alpha=0.05, sizes=sizes)
    assert learning_curve(pools_of([few], STANDARD), alpha=0.05, sizes=(100 - CHECKED_ON + 1,)) == {}
