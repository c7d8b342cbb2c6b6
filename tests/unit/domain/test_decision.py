"""What is asked of a model's logits: margins, their gradients, and when a decision has changed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from rollcall.domain.decision import Decision, Task, probabilities, total_variation
from rollcall.domain.maps import Floats

SINGLE, MULTI = Task.SINGLE_LABEL, Task.MULTI_LABEL
FLOAT32_MAX = float(np.finfo(np.float32).max)

QUESTIONS = {
    "predicted class": Decision(task=SINGLE, target=1),
    "another class": Decision(task=SINGLE, target=0, by_sign=True),
    "against a foil": Decision(task=SINGLE, target=1, foil=2, by_sign=True),
    "threshold met": Decision(task=SINGLE, target=1, threshold=0.3, by_sign=True),
    "threshold not met": Decision(task=SINGLE, target=0, threshold=0.93, negated=True, by_sign=True),
    "multi-label": Decision(task=MULTI, target=1, by_sign=True),
    "multi-label against a foil": Decision(task=MULTI, target=2, foil=0, by_sign=True),
    "multi-label, threshold not met": Decision(task=MULTI, target=0, threshold=0.8, negated=True, by_sign=True),
}
LOGITS = np.array([0.4, 1.3, -0.6])


class TestProbabilities:
    """From logits to what people read."""

    def test_one_label_probabilities_are_the_softmax(self) -> None:
        """Classes of a single-label model share the probability."""
        assert_allclose(probabilities(np.log([1.0, 2.0, 5.0]), SINGLE), [1 / 8, 2 / 8, 5 / 8])

    def test_several_labels_have_a_probability_each(self) -> None:
        """Labels of a multi-label model are judged one by one."""
        assert_allclose(probabilities(np.array([0.0, math.log(3), -math.log(3)]), MULTI), [0.5, 0.75, 0.25])

    @pytest.mark.parametrize("task", Task)
    @pytest.mark.parametrize("size", [1e3, FLOAT32_MAX])
    def test_extreme_logits_give_certainty_not_errors(self, task: Task, size: float) -> None:
        """A model that is very sure is no reason for NaN."""
        assert_allclose(probabilities(np.array([size, -size]), task), [1.0, 0.0])

    def test_rows_are_independent(self) -> None:
        """A batch gives what its rows give alone."""
        batch = np.random.default_rng(0).normal(size=(4, 3))
        for task in Task:
            assert_allclose(probabilities(batch, task), [probabilities(row, task) for row in batch])

    def test_distance_is_half_the_absolute_difference(self) -> None:
        """Total variation: from 0, the same, to 1, nothing in common."""
        p, q = np.array([0.7, 0.2, 0.1]), np.array([0.1, 0.2, 0.7])
        assert total_variation(p, q, SINGLE) == pytest.approx(0.6)
        assert total_variation(p, p, SINGLE) == 0

    def test_distance_of_independent_labels_is_the_largest_change(self) -> None:
        """In a multi-label model one label that flips is not diluted by those that stay."""
        assert total_variation(np.array([0.9, 0.5]), np.array([0.1, 0.4]), MULTI) == pytest.approx(0.8)


class TestMargins:
    """How far the decision is, in log-odds."""

    def test_of_two_classes_it_is_the_difference_of_the_logits(self) -> None:
        """In a binary model the margin is what everybody calls the margin."""
        assert Decision(task=SINGLE, target=1).margin(np.array([0.5, 2.0])) == pytest.approx(1.5)
        assert Decision(task=SINGLE, target=0).margin(np.array([0.5, 2.0])) == pytest.approx(-1.5)

    @pytest.mark.parametrize("target", [0, 1, 2])
    def test_of_several_classes_it_is_the_log_odds_of_the_probability(self, target: int) -> None:
        """The margin is log(p / (1 - p)) of the target."""
        p = probabilities(LOGITS, SINGLE)[target]
        assert Decision(task=SINGLE, target=target).margin(LOGITS) == pytest.approx(math.log(p / (1 - p)))

    def test_of_a_label_it_is_its_logit(self) -> None:
        """In a multi-label model the logit is the log-odds."""
        assert Decision(task=MULTI, target=2).margin(LOGITS) == LOGITS[2]

    @pytest.mark.parametrize("task", Task)
    def test_against_a_foil_it_is_the_difference_to_it(self, task: Task) -> None:
        """Asked why this and not that, the two logits are compared, whatever the others are."""
        assert Decision(task=task, target=0, foil=2).margin(LOGITS) == pytest.approx(1.0)

    @pytest.mark.parametrize("task", Task)
    @pytest.mark.parametrize("threshold", [0.05, 0.5, 0.93])
    def test_with_a_threshold_it_is_the_log_odds_beyond_it(self, task: Task, threshold: float) -> None:
        """Fraud at .93 is decided at .93: the margin is 0 exactly there."""
        p = probabilities(LOGITS, task)[1]
        expected = math.log(p / (1 - p)) - math.log(threshold / (1 - threshold))
        decision = Decision(task=task, target=1, threshold=threshold)
        assert decision.margin(LOGITS) == pytest.approx(expected)
        assert replace(decision, negated=True).margin(LOGITS) == pytest.approx(-expected)

    def test_equal_logits_are_even_odds_among_the_classes(self) -> None:
        """Three equal logits are one against two."""
        assert Decision(task=SINGLE, target=0).margin(np.full(3, 7.0)) == pytest.approx(-math.log(2))
        assert Decision(task=SINGLE, target=0).margin(np.zeros(2)) == 0

    @pytest.mark.parametrize("decision", QUESTIONS.values(), ids=QUESTIONS.keys())
    def test_finite_logits_give_finite_margins(self, decision: Decision) -> None:
        """However large the logits: a margin never becomes infinite before the model does."""
        for logits in np.array(np.meshgrid(*[[-FLOAT32_MAX, -800.0, 0.0, 800.0, FLOAT32_MAX]] * 3)).reshape(3, -1).T:
            assert math.isfinite(decision.margin(logits))

    @pytest.mark.parametrize("decision", QUESTIONS.values(), ids=QUESTIONS.keys())
    def test_margins_of_a_batch_are_those_of_its_rows(self, decision: Decision) -> None:
        """One call for many rows."""
        batch = np.random.default_rng(0).normal(size=(5, 3))
        assert_allclose(decision.margins(batch), [decision.margin(row) for row in batch])


class TestGradients:
    """The direction in which the margin grows."""

    @pytest.mark.parametrize("decision", QUESTIONS.values(), ids=QUESTIONS.keys())
    @pytest.mark.parametrize("logits", [LOGITS, np.zeros(3), np.array([5.0, -3.0, 4.0])])
    def test_it_is_the_slope_of_the_margin(self, decision: Decision, logits: Floats) -> None:
        """The gradient equals finite differences, for every kind of question."""
        steps = np.eye(3) * 1e-6
        slopes = [(decision.margin(logits + step) - decision.margin(logits - step)) / 2e-6 for step in steps]
        assert_allclose(decision.gradient(logits), slopes, atol=1e-6)

    @pytest.mark.parametrize("decision", QUESTIONS.values(), ids=QUESTIONS.keys())
    def test_it_stays_finite_where_the_probability_is_saturated(self, decision: Decision) -> None:
        """A saturated probability has no slope; the margin still has."""
        gradient = decision.gradient(np.array([1e4, -1e4, 0.0]))
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() == 1


class TestFlips:
    """Has the decision changed?"""

    def test_the_arg_max_flips_when_another_class_wins(self) -> None:
        """Among three classes the winner may stay the winner below one half."""
        decision = Decision(task=SINGLE, target=0)
        base = np.array([2.0, 0.0, 0.0])
        assert not decision.flipped(base, np.array([0.2, 0.1, 0.1]))
        assert decision.flipped(base, np.array([0.1, 0.2, 0.0]))

    @pytest.mark.parametrize("negated", [False, True])
    @pytest.mark.parametrize("task", Task)
    def test_a_threshold_flips_where_the_probability_crosses_it(self, task: Task, negated: bool) -> None:  # noqa: FBT001 - both sides
        """The decision is "probability >= threshold", not the arg max."""
        decision = Decision(task=task, target=1, threshold=0.9, negated=negated, by_sign=True)
        rows = [np.array([0.0, z]) for z in np.linspace(1.0, 4.0, 13)]
        for base in rows:
            for row in rows:
                met = [bool(probabilities(z, task)[1] >= 0.9) for z in (base, row)]
                assert bool(decision.flipped(base, row)) is (met[0] != met[1])

    @pytest.mark.parametrize("negated", [False, True])
    def test_on_the_line_itself_a_threshold_is_met(self, negated: bool) -> None:  # noqa: FBT001 - both sides
        """Exactly at the threshold the rule "at least" is fulfilled, whichever side the question is asked from."""
        decision = Decision(task=SINGLE, target=1, threshold=0.5, negated=negated, by_sign=True)
        line, above, below = np.zeros(2), np.array([0.0, 1.0]), np.array([0.0, -1.0])
        assert not decision.flipped(above, line)
        assert decision.flipped(below, line)

    def test_a_target_that_was_not_predicted_flips_when_it_wins_the_odds(self) -> None:
        """For another class than the predicted one a change of sign is the change."""
        decision = Decision(task=SINGLE, target=0, by_sign=True)
        assert decision.flipped(np.array([0.0, 1.0]), np.array([1.0, 0.0]))
        assert not decision.flipped(np.array([0.0, 1.0]), np.array([0.5, 1.0]))

    def test_a_foil_flips_when_it_overtakes(self) -> None:
        """Against a foil only the two are compared: a third class may win or lose meanwhile."""
        decision = Decision(task=SINGLE, target=0, foil=1, by_sign=True)
        assert not decision.flipped(np.array([1.0, 0.0, 0.0]), np.array([1.0, 0.0, 9.0]))
        assert decision.flipped(np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 9.0]))

    def test_distance_between_predictions(self) -> None:
        """The distance of two answers follows the task."""
        base, row = np.array([0.0, 0.0]), np.array([0.0, math.log(3)])
        assert Decision(task=SINGLE, target=1).tvd(base, row) == pytest.approx(0.25)
        assert Decision(task=MULTI, target=0).tvd(base, row) == pytest.approx(0.25)

    @pytest.mark.parametrize(
        ("decision", "logits", "distance", "carried_by"),
        [
            (Decision(task=SINGLE, target=1), [0.0, 2.0], 2.0, 1),
            (Decision(task=SINGLE, target=0), [0.3, 0.1, 0.2], 0.1, 1),
            (Decision(task=SINGLE, target=0, by_sign=True), [0.0, 2.0], 2.0, -1),
            (Decision(task=SINGLE, target=1, foil=2, by_sign=True), [9.0, 2.0, 1.5], 0.5, 1),
            (Decision(task=SINGLE, target=1, threshold=0.5, negated=True, by_sign=True), [0.7, 0.0], 0.7, 1),
            (Decision(task=MULTI, target=0, by_sign=True), [-1.5, 3.0], 1.5, -1),
            (Decision(task=SINGLE, target=1, by_sign=True), [0.0, 0.0], 0.0, 1),
        ],
    )
    def test_distance_to_the_change_and_what_holds_the_decision(
        self, decision: Decision, logits: list[float], distance: float, carried_by: float
    ) -> None:
        """The arg max is as far from changing as its runner-up is behind, and is held by what speaks for it."""
        assert decision.distance(np.array(logits)) == pytest.approx(distance)
        assert decision.carried_by(np.array(logits)) == carried_by
