"""Knock-outs of attention against random sets, by betting."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import betaln

from rollcall.checks.knock_out import MASS, SIZE, TRIALS, Trial, knock_out, random_set, wealth
from rollcall.domain.policy import ThoroughPolicy
from rollcall.domain.rows import AttentionEdit, Row, RowResult
from rollcall.domain.verdicts import CheckOutcome, CheckResult
from rollcall.verdict.policies import THOROUGH
from tests.subjects import NAN, Driven, answer, drive, subject

N = 24
TOP = (1, 4)
EFFECTS = np.linspace(0.0, 0.1, N)
ATTENTION = np.full(N, 1 / N)
PLAIN = Trial(mode="renormalised", match=SIZE)


def cut(row: Row) -> set[int]:
    """Whose edges a row cuts."""
    assert row.units is not None
    return set(np.flatnonzero(row.units).tolist())


def driven(
    top_effect: float, trial: Trial = PLAIN, policy: ThoroughPolicy = THOROUGH, attention: np.ndarray = ATTENTION
) -> Driven[CheckResult]:
    """Each unit carries its effect through attention, and each of the top `top_effect`."""

    def respond(row: Row) -> RowResult:
        return answer(2.0 - sum(top_effect if i in TOP else EFFECTS[i] for i in cut(row)))

    return drive(knock_out(subject(N), TOP, attention, policy, trial), respond)


@pytest.mark.parametrize(("losses", "draws"), [(0, 0), (0, 10), (1, 30), (5, 40), (10, 10)])
@pytest.mark.parametrize("c", [0.045, 0.2])
def test_the_wealth_is_the_mixture_of_binomial_bets(losses: int, draws: int, c: float) -> None:
    """Each probability of a loss up to c is bet on alike: likelihood under it over its mean under the null."""

    def density(p: float) -> float:
        log_beta = betaln(losses + 1, draws - losses + 1)
        return float(np.exp(losses * np.log(p) + (draws - losses) * np.log1p(-p) - log_beta)) if 0 < p < 1 else 0.0

    expected, _ = quad(density, 0, c)
    assert wealth(losses, draws, c) == pytest.approx(expected / c, rel=1e-6)


def test_it_takes_fifty_draws_without_a_loss() -> None:
    """At level .05 with c = .9 alpha the wealth reaches 20 with the fiftieth draw, and no earlier."""
    c = THOROUGH.alpha * THOROUGH.betting_share
    assert wealth(0, 49, c) < 20 <= wealth(0, 50, c)


def test_the_bet_is_a_fair_game() -> None:
    """If the top is one of the random sets, it is called better than them in at most 5 % of cases."""
    generator = np.random.default_rng(5)
    c, alpha, cases = THOROUGH.alpha * THOROUGH.betting_share, THOROUGH.alpha, 4_000
    rank = generator.random((cases, 1))
    losses = np.cumsum(generator.random((cases, 100)) >= rank, axis=1)
    draws = np.arange(1, 101)
    rejected = np.array(
        [any(wealth(int(k), int(t), c) >= 1 / alpha for k, t in zip(row, draws, strict=True)) for row in losses[:1_000]]
    )
    assert rejected.mean() <= alpha + 3 * np.sqrt(alpha / len(rejected))


def test_a_top_that_carries_the_decision_is_found() -> None:
    """Fifty random sets that all lose less are enough, and the p-value is valid whenever it is read."""
    found = driven(1.0).finding
    assert found.outcome is CheckOutcome.SUPPORTS
    assert found.value == pytest.approx(2.0)
    assert found.p_value is not None
    assert 0.045 <= found.p_value <= 0.05
    assert found.rows == 51


def test_a_top_that_carries_nothing_is_given_up() -> None:
    """Ten random sets that lose as much end it: that is no evidence against the map."""
    run = driven(0.0)
    assert run.finding.outcome is CheckOutcome.INCONCLUSIVE
    assert run.finding.p_value is not None
    assert run.finding.p_value > 0.2
    assert run.finding.rows == len(run.rows) <= 31


@pytest.mark.parametrize("trial", TRIALS)
def test_each_trial_cuts_and_matches_in_its_own_way(trial: Trial) -> None:
    """Edges are cut before or after the softmax, the top's first; sets are as large as the top, or hold as much."""
    attention = np.array([0.01, 0.2, *[0.02] * 21, 0.37])
    rows = driven(1.0, trial, attention=attention).rows
    kind = AttentionEdit.KNOCKED_OUT if trial.mode == "renormalised" else AttentionEdit.CUT
    assert {row.edit for row in rows} == {kind}
    assert cut(rows[0]) == set(TOP)
    held = [sum(attention[list(cut(row))]) for row in rows[1:]]
    if trial.match == SIZE:
        assert {len(cut(row)) for row in rows} == {2}
    else:
        assert min(held) >= attention[list(TOP)].sum() - 1e-9


def test_a_set_of_equal_mass_is_the_shortest_start_of_the_order() -> None:
    """Units are added in a random order until they hold as much, all of them at most."""
    attention = np.array([0.1, 0.2, 0.3, 0.4])
    order = np.array([2, 0, 3, 1])
    for mass in (0.05, 0.3, 0.35, 0.4, 0.75, 1.0):
        expected = next(k for k in range(1, 5) if attention[order[:k]].sum() >= mass - 1e-9)
        assert random_set(order, 1, attention, mass, MASS) == tuple(sorted(order[:expected].tolist()))
    assert random_set(order, 3, attention, 0.9, SIZE) == (0, 2, 3)


@pytest.mark.parametrize(("n", "top"), [(1, (0,)), (2, (0,)), (5, (2,)), (6, (0, 1, 2, 3, 4, 5))])
def test_too_few_sets_are_no_test(n: int, top: tuple[int, ...]) -> None:
    """Where even the best of all sets could be it by chance, no row is spent."""
    run = drive(knock_out(subject(n), top, np.full(n, 1 / n), THOROUGH, PLAIN), lambda _: answer(2.0))
    assert run.rows == []
    assert (run.finding.outcome, run.finding.value) == (CheckOutcome.SKIPPED, None)


@pytest.mark.parametrize("margin", [2.0, NAN], ids=["equal logits", "no numbers"])
def test_ties_and_what_is_no_number_are_losses(margin: float) -> None:
    """A top that cannot be told from random sets is not better than they are."""
    run = drive(knock_out(subject(N), TOP, ATTENTION, THOROUGH, PLAIN), lambda _: answer(margin))
    assert run.finding.outcome is CheckOutcome.INCONCLUSIVE
    assert run.finding.p_value == 1.0
    assert len(run.rows) == 11


def test_draws_run_out() -> None:
    """A top that is good but not good enough ends after the last draw."""
    counter = iter(range(10_000))

    def respond(_: Row) -> RowResult:
        number = next(counter)
        return answer(1.0 if number == 0 or number % 12 == 0 else 2.0)

    found = drive(knock_out(subject(N), TOP, ATTENTION, THOROUGH, PLAIN), respond).finding
    assert found.rows == 1 + THOROUGH.knock_out_draws
    assert found.outcome is CheckOutcome.INCONCLUSIVE
