"""Comprehensiveness and sufficiency, plain and normalised."""

from __future__ import annotations

from itertools import permutations, product
from math import ceil

import numpy as np
import pytest

from rollcall.checks.erasure import Curve, Limits, curve, first_units, judge_erasure
from rollcall.domain.decision import Decision, Task
from rollcall.domain.rows import RemovalOperator, Row, RowResult
from rollcall.domain.verdicts import CheckOutcome
from rollcall.verdict.policies import THOROUGH
from tests.subjects import NAN, answer, drive, removed_units, subject

N = 5
EFFECTS = np.array([1.5, 0.2, -0.7, 0.9, 0.4])
MARGIN = float(EFFECTS.sum())


def probability(removed: frozenset[int] | set[int]) -> float:
    """Of "yes", with words interacting."""
    left = [i for i in range(N) if i not in removed]
    margin = sum(EFFECTS[i] for i in left) + (0.8 if {0, 3} <= set(left) else 0.0)
    return float(1 / (1 + np.exp(-margin)))


def respond(row: Row) -> RowResult:
    """Answer by what is taken out."""
    chance = probability(removed_units(row))
    return answer(float(np.log(chance / (1 - chance))))


BASE = subject(N, base=respond(Row()))


def fall(removed: frozenset[int] | set[int]) -> float:
    """How far the probability falls."""
    return probability(set()) - probability(removed)


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (3, 0, 2, 4, 1)])
def test_curves_are_the_falls_without_and_with_only_the_first_words(order: tuple[int, ...]) -> None:
    """By deletion, one row for each set, against the sets written out."""
    driven = drive(curve(BASE, order), respond)
    assert {row.operator for row in driven.rows} == {RemovalOperator.DELETION}
    assert len(driven.rows) == 2 * N - 1
    found = driven.finding
    for k in range(N + 1):
        assert found.removed[k] == pytest.approx(fall(set(order[:k])))
        assert found.kept[k] == pytest.approx(fall(set(order[k:])))
    assert found.areas["comprehensiveness"] == pytest.approx(np.mean([fall(set(order[:k])) for k in range(1, N + 1)]))
    assert found.areas["sufficiency"] == pytest.approx(np.mean([fall(set(order[k:])) for k in range(1, N + 1)]))


def test_erasers_shares_are_rounded_up() -> None:
    """One, five, ten, twenty and fifty per cent of the words, at least one."""
    found = drive(curve(BASE, range(N)), respond).finding
    sizes = [ceil(share * N) for share in (0.01, 0.05, 0.1, 0.2, 0.5)]
    assert sizes == [1, 1, 1, 1, 3]
    eraser = found.eraser(THOROUGH.eraser_shares)
    assert eraser["comprehensiveness"] == pytest.approx(np.mean([fall(set(range(k))) for k in sizes]))
    assert eraser["sufficiency"] == pytest.approx(np.mean([fall(set(range(k, N))) for k in sizes]))


def test_exact_limits_are_those_of_all_orders() -> None:
    """The chain of best subsets finds what 120 orders find."""
    falls = {
        np.array(mask, dtype=np.bool_).tobytes(): fall({i for i in range(N) if mask[i]})
        for mask in product((0, 1), repeat=N)
    }
    limits = Limits.exact(falls, N)
    curves = [
        Curve(
            removed=np.array([fall(set(order[:k])) for k in range(N + 1)]),
            kept=np.array([fall(set(order[k:])) for k in range(N + 1)]),
        )
        for order in permutations(range(N))
    ]
    for name in ("comprehensiveness", "sufficiency"):
        areas = [each.areas[name] for each in curves]
        assert limits.between(name) == pytest.approx((min(areas), max(areas)))
    tried = Limits.of(curves)
    assert (tried.least, tried.most) == pytest.approx((limits.least, limits.most))


def test_one_curve_is_also_that_of_its_reverse() -> None:
    """What an order keeps, its reverse takes out: one curve limits from both sides."""
    order = [0, 3, 4, 1, 2]
    one = drive(curve(BASE, order), respond).finding
    other = drive(curve(BASE, order[::-1]), respond).finding
    limits = Limits.of([one])
    assert sorted((limits.least, limits.most)) == pytest.approx(
        sorted((one.areas["comprehensiveness"], other.areas["comprehensiveness"]))
    )
    assert limits.orders == 2


def test_normalised_areas_lie_between_the_limits() -> None:
    """The best order of all has 1 and the worst 0 (and the other way round for sufficiency)."""
    best = max(permutations(range(N)), key=lambda order: sum(fall(set(order[:k])) for k in range(1, N + 1)))
    curves = [drive(curve(BASE, order), respond).finding for order in (best, best[::-1])]
    limits = Limits.of(curves)
    found = {each.statistic: each for each in judge_erasure(BASE, curves[0], limits, THOROUGH)}
    assert len(found) == 6
    assert found["normalised_comprehensiveness_aopc"].value == pytest.approx(1.0)
    assert found["normalised_sufficiency_aopc"].value == pytest.approx(0.0)
    assert {each.outcome for each in found.values()} == {CheckOutcome.MEASURED}
    assert len(judge_erasure(BASE, curves[0], None, THOROUGH)) == 4


def test_equal_logits_leave_nothing_to_normalise_by() -> None:
    """Where taking words out changes nothing, areas are 0 and the normalised ones are none."""
    flat = drive(curve(subject(3), range(3)), lambda _: answer(2.0)).finding
    found = {each.statistic: each for each in judge_erasure(subject(3), flat, Limits.of([flat]), THOROUGH)}
    assert found["comprehensiveness_aopc_ferret"].value == 0
    assert found["normalised_comprehensiveness_aopc"].outcome is CheckOutcome.SKIPPED


@pytest.mark.parametrize("n", [1, 2])
def test_one_and_two_words_have_curves(n: int) -> None:
    """One word: without it, and with it."""
    driven = drive(curve(subject(n), range(n)), lambda row: answer(2.0 - len(removed_units(row))))
    assert len(driven.rows) == 2 * n - 1
    assert driven.finding.kept[-1] == 0
    assert driven.finding.kept[0] == driven.finding.removed[-1] > 0
    assert first_units(range(n), n).sum() == n * (n + 1) / 2


def test_what_is_no_number_stays_none() -> None:
    """A curve with NaN has no normalised area, and no number that looks like one."""
    found = drive(curve(subject(3), range(3)), lambda _: answer(NAN)).finding
    results = judge_erasure(subject(3), found, Limits.of([found]), THOROUGH)
    assert all(each.value is None or np.isnan(each.value) for each in results)


def test_not_the_target_has_its_own_probability() -> None:
    """Where margin and effects speak for "not the target", so do the falls."""
    negated = Decision(task=Task.SINGLE_LABEL, target=1, threshold=0.9, negated=True, by_sign=True)
    about = subject(2, margin=1.0, decision=negated)
    found = drive(curve(about, (0, 1)), lambda row: answer(1.0 - len(removed_units(row)))).finding
    assert found.removed[2] < 0
