"""The estimate that decides: which removals are made, how effects are read from them, and how a map is held to them."""

from __future__ import annotations

import hashlib
import itertools
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from rollcall.checks.alignment import (
    RIDGE_LAMBDAS,
    EffectEstimate,
    Look,
    alignment_value,
    alignment_values,
    estimate_effects,
    plan_looks,
    relabelling_p_values,
)
from rollcall.checks.base import OPERATORS
from rollcall.domain.maps import Bools, Floats
from rollcall.domain.rows import RemovalOperator, Row
from rollcall.domain.seeds import random_permutations
from rollcall.verdict.policies import STANDARD
from tests.subjects import NAN

MASK, HIDE = OPERATORS
LONG = (7, 8, 64)


def sets_of(looks: tuple[Look, ...]) -> list[tuple[int, ...]]:
    """Removed units of all looks, in order."""
    return [tuple(int(i) for i in np.flatnonzero(row)) for look in looks for row in look.removed]


def design(looks: tuple[Look, ...]) -> tuple[Bools, tuple[RemovalOperator, ...]]:
    """All removals and operators of some looks."""
    return np.concatenate([look.removed for look in looks]), tuple(o for look in looks for o in look.operators)


def linear_margins(removed: Bools, operators: tuple[RemovalOperator, ...], effects: Floats, noise: float) -> Floats:
    """Margins of a model in which removing a unit costs its effect, the operators differ by 0.3, and there is noise."""
    shift = np.array([0.3 if o is HIDE else 0.0 for o in operators])
    jitter = np.random.default_rng(3).normal(size=len(operators)) * noise
    return np.asarray(2.0 - removed @ effects + shift + jitter)


class TestPlannedLooks:
    """Which sets of words are removed."""

    def test_a_single_word_has_no_removals(self) -> None:
        """One word cannot be compared with any other, so nothing is removed."""
        assert plan_looks(1, 0, STANDARD) == ()

    @pytest.mark.parametrize("n", [2, 3, 4])
    def test_short_texts_are_tried_completely(self, n: int) -> None:
        """Up to four words every way of removing some but not all of them is tried, once under each operator."""
        (look,) = plan_looks(n, 0, STANDARD)
        tried = list(zip(sets_of((look,)), look.operators, strict=True))
        proper = [s for size in range(1, n) for s in itertools.combinations(range(n), size)]
        assert sorted(tried, key=str) == sorted(itertools.product(proper, OPERATORS), key=str)

    @pytest.mark.parametrize(("n", "rows"), [(5, 20), (6, 40)])
    def test_five_and_six_words_lose_every_half(self, n: int, rows: int) -> None:
        """With five or six words every half is removed, once under each operator, in one look with the last width."""
        (look,) = plan_looks(n, 0, STANDARD)
        tried = list(zip(sets_of((look,)), look.operators, strict=True))
        halves = list(itertools.combinations(range(n), n // 2))
        assert len(tried) == rows
        assert sorted(tried, key=str) == sorted(itertools.product(halves, OPERATORS), key=str)

    @pytest.mark.parametrize("n", LONG)
    def test_longer_texts_get_three_looks_of_sixteen_halves(self, n: int) -> None:
        """A longer text is looked at up to three times, sixteen random halves each, the operators taking turns."""
        looks = plan_looks(n, 11, STANDARD)
        for look in looks:
            assert look.removed.shape == (16, n)
            assert look.operators == OPERATORS * 8
            assert (look.removed.sum(axis=1) == n // 2).all()

    @pytest.mark.parametrize("n", [8, 9, 64])
    def test_no_half_is_removed_twice(self, n: int) -> None:
        """No half is paid for twice while there are enough of them."""
        assert len(set(sets_of(plan_looks(n, 5, STANDARD)))) == 48

    def test_seven_words_repeat_halves_only_once_all_were_used(self) -> None:
        """Seven words have 35 different halves: all of them come first, then each at most once again."""
        sets = sets_of(plan_looks(7, 5, STANDARD))
        assert set(sets[:35]) == set(itertools.combinations(range(7), 3))
        assert len(set(sets[35:])) == 13

    @pytest.mark.parametrize("n", range(1, 70))
    def test_the_same_seed_removes_the_same_words(self, n: int) -> None:
        """An auditor who repeats an explanation with its seed gets the same removals."""
        once, again = plan_looks(n, 123, STANDARD), plan_looks(n, 123, STANDARD)
        assert sets_of(once) == sets_of(again)
        assert [look.operators for look in once] == [look.operators for look in again]

    def test_another_seed_removes_other_words(self) -> None:
        """The seed decides, not the length of the text."""
        assert sets_of(plan_looks(20, 1, STANDARD)) != sets_of(plan_looks(20, 2, STANDARD))

    def test_removals_of_old_records_never_change(self) -> None:
        """A record from years ago can be replayed: these very sets belong to seed 2026 for ever."""
        first, *_ = plan_looks(8, 2026, STANDARD)
        assert sets_of((first,)) == GOLDEN_FIRST_LOOK
        digests = {
            n: hashlib.sha256(np.packbits(design(plan_looks(n, 2026, STANDARD))[0]).tobytes()).hexdigest()[:16]
            for n in GOLDEN_DIGESTS
        }
        assert digests == GOLDEN_DIGESTS

    def test_a_look_becomes_one_row_per_removal(self) -> None:
        """What is planned is what is run."""
        look, *_ = plan_looks(9, 4, STANDARD)
        rows = look.rows()
        assert all(isinstance(row, Row) and row.removed is not None and not row.readout for row in rows)
        assert [row.operator for row in rows] == list(look.operators)
        assert np.array_equal(np.stack([row.removed for row in rows if row.removed is not None]), look.removed)


GOLDEN_FIRST_LOOK: list[tuple[int, ...]] = [
    (0, 1, 2, 4),
    (0, 1, 2, 5),
    (1, 2, 3, 6),
    (0, 2, 5, 7),
    (2, 3, 5, 6),
    (0, 2, 4, 7),
    (1, 2, 5, 6),
    (1, 3, 4, 5),
    (1, 2, 3, 5),
    (2, 3, 4, 7),
    (0, 1, 3, 6),
    (1, 2, 3, 7),
    (0, 4, 5, 6),
    (0, 1, 4, 6),
    (0, 4, 5, 7),
    (0, 3, 4, 6),
]
GOLDEN_DIGESTS = {7: "13687e6618c33e8d", 12: "cc56365e6c64cc5e", 64: "303e9954833c3b39"}


def dense_estimate(
    removed: Bools, operators: tuple[RemovalOperator, ...], margins: Floats
) -> tuple[float, Floats, Floats]:
    """Lambda, effects and covariance by generalised least squares with explicit matrices, from the textbook formulas.

    y = Z b + X u + error, b fixed (intercept and operator), u ~ N(0, s^2 / lambda), error ~ N(0, s^2); the restricted
    likelihood with s^2 profiled, the best linear unbiased prediction of u, and its covariance given b unknown.
    """
    x, y = removed.astype(float), margins
    codes = np.array([-0.5 if o is MASK else 0.5 for o in operators])
    z = np.stack([np.ones(len(y)), codes], axis=1) if len(set(operators)) > 1 else np.ones((len(y), 1))
    m = len(y) - z.shape[1]
    best = (-np.inf, 0.0, 0.0, np.zeros((0, 0)))
    for ridge in np.exp(np.linspace(math.log(0.02), math.log(50), 15)):
        v = np.eye(len(y)) + x @ x.T / ridge
        inverse = np.linalg.inv(v)
        inner = z.T @ inverse @ z
        projector = inverse - inverse @ z @ np.linalg.inv(inner) @ z.T @ inverse
        variance = float(y @ projector @ y) / m
        log_determinants = np.linalg.slogdet(v)[1] + np.linalg.slogdet(inner)[1]
        likelihood = -(m * math.log(variance) + log_determinants) / 2
        if likelihood > best[0]:
            best = (likelihood, float(ridge), variance, projector)
    _, ridge, variance, projector = best
    posterior_mean = x.T @ projector @ y / ridge
    covariance = variance / ridge * (np.eye(x.shape[1]) - x.T @ projector @ x / ridge)
    return ridge, -posterior_mean, covariance


def dense_estimate_with_prior(
    removed: Bools, operators: tuple[RemovalOperator, ...], margins: Floats, prior: Floats
) -> tuple[float, Floats, Floats]:
    """Penalty, effects and covariance by generalised least squares: the prior's multiple is one more fixed effect."""
    x = -removed.astype(float)
    kinds = sorted(set(operators), key=lambda o: o.value)
    fixed = np.column_stack([np.array([o is kind for o in operators], dtype=float) for kind in kinds] + [x @ prior])
    freedom = len(margins) - fixed.shape[1]
    best = (np.inf, 0.0, np.zeros(0), np.zeros((0, 0)))
    for ridge in RIDGE_LAMBDAS:
        precision = np.linalg.inv(np.eye(len(margins)) + x @ x.T / ridge)
        known = fixed.T @ precision @ fixed
        coefficients = np.linalg.solve(known, fixed.T @ precision @ margins)
        left = margins - fixed @ coefficients
        noise = left @ precision @ left / freedom
        deviance = freedom * np.log(noise) - np.linalg.slogdet(precision)[1] + np.linalg.slogdet(known)[1]
        if deviance < best[0]:
            beside = x.T @ precision @ left / ridge
            gain = np.outer(prior, np.eye(fixed.shape[1])[-1]) - x.T @ precision @ fixed / ridge
            covariance = noise * (
                (np.eye(x.shape[1]) - x.T @ precision @ x / ridge) / ridge + gain @ np.linalg.solve(known, gain.T)
            )
            best = (deviance, ridge, coefficients[-1] * prior + beside, covariance)
    return best[1:]


class TestPrior:
    """A guess at the effects, believed as far as the rows confirm it."""

    @pytest.mark.parametrize(("n", "rows"), [(4, 28), (9, 8), (9, 16), (20, 16), (40, 48), (64, 32)])
    @pytest.mark.parametrize("noise", [0.05, 0.5])
    def test_it_is_generalised_least_squares_with_one_more_column(self, n: int, rows: int, noise: float) -> None:
        """Penalty, effects and covariance equal those written with dense matrices."""
        removed, operators = design(plan_looks(n, n, STANDARD))
        removed, operators = removed[:rows], operators[:rows]
        random = np.random.default_rng(n)
        effects = random.normal(size=n)
        margins = linear_margins(removed, operators, effects, noise)
        prior = effects + random.normal(size=n)
        ridge, expected, covariance = dense_estimate_with_prior(removed, operators, margins, prior)
        found = estimate_effects(removed, operators, margins, prior=prior)
        assert found is not None
        assert found.ridge_lambda == pytest.approx(ridge, rel=1e-12)
        assert_allclose(found.effects, expected, atol=1e-8)
        assert_allclose(found.covariance, covariance, atol=1e-8)

    def test_a_true_guess_needs_few_rows_and_its_size_does_not_matter(self) -> None:
        """Eight rows confirm what forty-eight would have found; scaled or turned round, it says the same."""
        removed, operators = design(plan_looks(30, 3, STANDARD, prior=True)[:1])
        effects = np.random.default_rng(3).normal(size=30)
        margins = linear_margins(removed, operators, effects, 0.1)
        found = [estimate_effects(removed, operators, margins, prior=scale * effects) for scale in (1.0, 1e4, -1e-4)]
        plain = estimate_effects(removed, operators, margins)
        assert plain is not None
        assert np.corrcoef(plain.effects, effects)[0, 1] < 0.8
        assert plain.reliability < 0.8
        for one in found:
            assert one is not None
            assert np.corrcoef(one.effects, effects)[0, 1] > 0.99
            assert one.reliability > 0.98
            assert found[0] is not None
            assert_allclose(one.effects, found[0].effects, rtol=1e-6)

    def test_a_false_guess_does_little_harm(self) -> None:
        """With enough rows an unrelated guess is worth one row less."""
        worse = []
        for seed in range(40):
            removed, operators = design(plan_looks(20, seed, STANDARD))
            random = np.random.default_rng(seed)
            effects = random.normal(size=20)
            margins = linear_margins(removed, operators, effects, 0.3)
            misled = estimate_effects(removed, operators, margins, prior=random.normal(size=20))
            plain = estimate_effects(removed, operators, margins)
            assert misled is not None
            assert plain is not None
            pair = [np.corrcoef(one.effects, effects)[0, 1] for one in (plain, misled)]
            worse.append(pair[0] - pair[1])
        assert abs(float(np.median(worse))) < 0.01

    @pytest.mark.parametrize("prior", [np.zeros(12), np.full(12, 3.0)])
    def test_a_guess_that_says_nothing_changes_nothing(self, prior: Floats) -> None:
        """Zero, or the same for all: half-size sets cannot tell a common shift from the intercept."""
        removed, operators = design(plan_looks(12, 5, STANDARD))
        margins = linear_margins(removed, operators, np.random.default_rng(5).normal(size=12), 0.2)
        plain, helped = (
            estimate_effects(removed, operators, margins),
            estimate_effects(removed, operators, margins, prior=prior),
        )
        assert plain is not None
        assert helped is not None
        assert_allclose(helped.effects - helped.effects.mean(), plain.effects - plain.effects.mean(), atol=1e-9)

    def test_the_looks_draw_the_same_removals(self) -> None:
        """8, 8, 16 and 16 of the same 48: a calibration can replay either way."""
        with_prior, without = design(plan_looks(15, 9, STANDARD, prior=True)), design(plan_looks(15, 9, STANDARD))
        assert [len(look.removed) for look in plan_looks(15, 9, STANDARD, prior=True)] == [8, 8, 16, 16]
        assert np.array_equal(with_prior[0], without[0])
        assert with_prior[1] == without[1]


class TestEffects:
    """What is read from the removals."""

    @pytest.mark.parametrize(
        ("n", "looks"), [(2, 1), (3, 1), (4, 1), (5, 1), (6, 1), (7, 1), (12, 2), (30, 3), (48, 3), (64, 1), (64, 3)]
    )
    @pytest.mark.parametrize("noise", [0.01, 0.5])
    def test_effects_are_the_bayesian_ridge_of_the_textbook(self, n: int, looks: int, noise: float) -> None:
        """Effects, their uncertainty and the penalty equal generalised least squares written with dense matrices."""
        removed, operators = design(plan_looks(n, n, STANDARD)[:looks])
        margins = linear_margins(removed, operators, np.random.default_rng(n).normal(size=n), noise)
        ridge, effects, covariance = dense_estimate(removed, operators, margins)
        found = estimate_effects(removed, operators, margins)
        assert found is not None
        assert found.ridge_lambda == pytest.approx(ridge, rel=1e-12)
        assert_allclose(found.effects, effects, atol=1e-9)
        assert_allclose(found.covariance, covariance, atol=1e-9)

    def test_one_operator_alone_can_be_estimated(self) -> None:
        """The rows of a single operator give effects of their own, without an operator to correct for."""
        removed, operators = design(plan_looks(12, 1, STANDARD))
        margins = linear_margins(removed, operators, np.random.default_rng(0).normal(size=12), 0.1)
        rows = np.array([o is HIDE for o in operators])
        alone = (HIDE,) * int(rows.sum())
        ridge, effects, _ = dense_estimate(removed[rows], alone, margins[rows])
        found = estimate_effects(removed[rows], alone, margins[rows])
        assert found is not None
        assert found.ridge_lambda == pytest.approx(ridge, rel=1e-12)
        assert_allclose(found.effects, effects, atol=1e-9)

    def test_a_given_penalty_is_used(self) -> None:
        """A study can fix the penalty instead of estimating it."""
        removed, operators = design(plan_looks(9, 1, STANDARD))
        margins = linear_margins(removed, operators, np.arange(9.0), 0.1)
        found = estimate_effects(removed, operators, margins, lambdas=np.array([0.1]))
        assert found is not None
        assert found.ridge_lambda == 0.1

    def test_penalties_are_fifteen_values_from_a_fiftieth_to_fifty(self) -> None:
        """The grid of penalties is the documented one."""
        assert len(RIDGE_LAMBDAS) == 15
        assert_allclose(RIDGE_LAMBDAS[[0, -1]], [0.02, 50.0])
        assert np.ptp(np.diff(np.log(RIDGE_LAMBDAS))) < 1e-12

    def test_an_operator_that_shifts_every_answer_is_no_effect(self) -> None:
        """That hiding words costs more than masking them says nothing about any single word."""
        removed, operators = design(plan_looks(10, 2, STANDARD))
        effects = np.linspace(-1, 1, 10)
        plain = linear_margins(removed, operators, effects, 0.05)
        shifted = plain + np.array([9.0 if o is HIDE else 0.0 for o in operators])
        first, second = estimate_effects(removed, operators, plain), estimate_effects(removed, operators, shifted)
        assert first is not None
        assert second is not None
        assert_allclose(first.effects, second.effects, atol=1e-9)

    @pytest.mark.parametrize("margins", [np.full(16, 1.5), np.r_[np.ones(15), NAN], np.r_[np.ones(15), np.inf]])
    def test_constant_or_broken_margins_give_no_effects(self, margins: Floats) -> None:
        """Where nothing ever changes, or an answer is not a number, no effect is made up."""
        look, *_ = plan_looks(8, 0, STANDARD)
        assert estimate_effects(look.removed, look.operators, margins) is None

    def test_two_rows_are_too_few(self) -> None:
        """Two answers cannot tell a word from an operator."""
        look, *_ = plan_looks(8, 0, STANDARD)
        assert estimate_effects(look.removed[:2], look.operators[:2], np.array([0.0, 1.0])) is None

    @pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 8, 12])
    def test_words_that_weigh_the_same_are_never_ranked_by_rounding(self, n: int) -> None:
        """Where every word has the same effect, rounding errors must not decide which map is right."""
        removed, operators = design(plan_looks(n, 1, STANDARD))
        rounding = np.random.default_rng(n).normal(size=len(operators)) * 3e-7
        margins = linear_margins(removed, operators, np.full(n, 0.4), 0.0) + rounding
        found = estimate_effects(removed, operators, margins)
        assert found is not None
        assert found.reliability == 0
        assert alignment_value(np.random.default_rng(0).dirichlet(np.ones(n)), found.effects) is None

    def test_small_differences_above_rounding_count(self) -> None:
        """A word that matters a thousandth more than the others is still seen."""
        removed, operators = design(plan_looks(4, 1, STANDARD))
        effects = np.array([0.4, 0.4, 0.401, 0.4])
        found = estimate_effects(removed, operators, linear_margins(removed, operators, effects, 0.0))
        assert found is not None
        assert int(np.argmax(found.effects)) == 2

    def test_reliability_is_signal_over_signal_and_noise(self) -> None:
        """Rho is the root of the share of centred effect that is not posterior noise."""
        covariance = np.array([[0.5, 0.1, 0.0], [0.1, 0.4, 0.2], [0.0, 0.2, 0.9]])
        estimate = EffectEstimate(effects=np.array([1.0, 2.0, 6.0]), covariance=covariance, ridge_lambda=1.0)
        centring = np.eye(3) - 1 / 3
        noise = np.trace(centring @ covariance @ centring)
        assert estimate.reliability == pytest.approx(math.sqrt(14 / (14 + noise)))
        assert_allclose(estimate.standard_errors, np.sqrt([0.5, 0.4, 0.9]))

    def test_no_signal_and_no_noise_is_no_reliability(self) -> None:
        """Nothing measured is not something known perfectly."""
        empty = EffectEstimate(effects=np.zeros(3), covariance=np.zeros((3, 3)), ridge_lambda=1.0)
        assert empty.reliability == 0

    def test_reliability_predicts_the_correlation_with_the_truth(self) -> None:
        """Rho is, on average, how well the estimated effects correlate with the true ones."""
        rng = np.random.default_rng(5)
        claimed, actual = [], []
        for seed in range(150):
            removed, operators = design(plan_looks(20, seed, STANDARD)[:2])
            truth = rng.normal(size=20)
            found = estimate_effects(removed, operators, 2 - removed @ truth + rng.normal(size=32) * 0.8)
            assert found is not None
            claimed.append(found.reliability)
            actual.append(np.corrcoef(found.effects, truth)[0, 1])
        assert np.mean(claimed) == pytest.approx(np.mean(actual), abs=0.03)

    def test_effects_shown_to_people_add_up(self) -> None:
        """The effects that people read sum to what removing everything does, and keep their differences."""
        estimate = EffectEstimate(effects=np.array([1.0, 3.0, 5.0]), covariance=np.eye(3), ridge_lambda=1.0)
        assert_allclose(estimate.shifted(12.0), [2.0, 4.0, 6.0])


class TestAlignment:
    """How a map is held to the effects."""

    @pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
    @pytest.mark.parametrize("seed", range(5))
    def test_one_is_the_best_relabelling_and_zero_the_average(self, n: int, seed: int) -> None:
        """A compares with the best, the worst and the average of all ways to put these weights on these words."""
        rng = np.random.default_rng([n, seed])
        weights, effects = rng.dirichlet(np.ones(n)), rng.normal(size=n)
        agreements = [float(np.dot(p, effects)) for p in itertools.permutations(weights)]
        observed, average = float(weights @ effects), float(np.mean(agreements))
        span = max(agreements) - average if observed >= average else average - min(agreements)
        assert alignment_value(weights, effects) == pytest.approx((observed - average) / span)

    def test_the_order_of_the_effects_is_perfect_and_its_reverse_is_the_opposite(self) -> None:
        """A map in the order of the effects gets 1, one in the opposite order -1."""
        effects = np.array([-1.0, 0.5, 2.0, 9.0])
        weights = np.array([0.1, 0.2, 0.3, 0.4])
        assert alignment_value(weights, effects) == pytest.approx(1)
        assert alignment_value(weights[::-1], effects) == pytest.approx(-1)

    @pytest.mark.parametrize(
        ("weights", "effects"),
        [([1.0], [2.0]), ([0.5, 0.5], [1.0, 2.0]), ([0.3, 0.7], [1.0, 1.0])],
    )
    def test_a_constant_has_no_alignment(self, weights: list[float], effects: list[float]) -> None:
        """One word, a constant map or constant effects: there is no A, not an A of 0."""
        assert alignment_value(np.array(weights), np.array(effects)) is None

    @pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
    @pytest.mark.parametrize("seed", range(4))
    def test_p_values_agree_with_all_relabellings(self, n: int, seed: int) -> None:
        """The shown p-values are within four standard errors of what all relabellings together would give."""
        rng = np.random.default_rng([n, seed, 1])
        weights, effects = rng.dirichlet(np.ones(n)), rng.normal(size=n)
        agreements = np.array([np.dot(p, effects) for p in itertools.permutations(weights)])
        observed = float(weights @ effects)
        ((up, low),) = relabelling_p_values(weights[None], effects, 999)
        for shown, exact in (
            (up, float(np.mean(agreements >= observed - 1e-12))),
            (low, float(np.mean(agreements <= observed + 1e-12))),
        ):
            counted = (shown * 1000 - 1) / 999
            assert abs(counted - exact) <= 4 * math.sqrt(exact * (1 - exact) / 999) + 1e-12

    @pytest.mark.parametrize("n", [2, 5, 12, 64])
    def test_p_values_of_many_maps_are_counted_one_relabelling_at_a_time(self, n: int) -> None:
        """All maps share the fixed relabellings, and each p-value is a plain count over them, ties included."""
        rng = np.random.default_rng([n, 2])
        maps, effects = np.stack([*rng.dirichlet(np.ones(n), 3), np.arange(n) % 2 / n]), rng.normal(size=n)
        orders = random_permutations(0, "relabellings", (999, n))
        for weights, (up, low) in zip(maps, relabelling_p_values(maps, effects, 999), strict=True):
            observed = float(weights @ effects)
            agreements = [observed, *(float(weights[order] @ effects) for order in orders)]
            assert up == sum(a >= observed - 1e-12 for a in agreements) / 1000
            assert low == sum(a <= observed + 1e-12 for a in agreements) / 1000

    @pytest.mark.parametrize("n", [2, 5, 64])
    def test_many_maps_have_the_alignment_that_each_has_alone(self, n: int) -> None:
        """A of one map does not depend on the others; a constant one among them has none."""
        rng = np.random.default_rng([n, 3])
        maps, effects = np.stack([*rng.dirichlet(np.ones(n), 3), np.full(n, 1 / n)]), rng.normal(size=n)
        assert alignment_values(maps, effects) == [alignment_value(weights, effects) for weights in maps]
        assert alignment_values(maps, effects)[3] is None

    def test_no_p_value_is_zero(self) -> None:
        """The observed map counts among its relabellings, so that no finite number of draws proves the impossible."""
        weights = np.arange(1.0, 21.0) / 210
        ((up, low),) = relabelling_p_values(weights[None], weights, 999)
        assert (up, low) == (1 / 1000, 1.0)

    def test_p_values_are_the_same_every_time(self) -> None:
        """Two explanations of one input show the same p-values."""
        weights, effects = np.random.default_rng(0).dirichlet(np.ones(9), 2), np.random.default_rng(1).normal(size=9)
        assert relabelling_p_values(weights, effects, 999) == relabelling_p_values(weights, effects, 999)
