"""Questions: what is asked of the logits, and which questions make no sense."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from rollcall.domain.decision import Decision, Prediction, Task
from rollcall.domain.errors import InvalidInput
from rollcall.domain.inputs import Target, Threshold
from rollcall.domain.model import ModelCard
from rollcall.pipeline.question import check_question, make_decision, make_prediction, reported_mismatch
from tests.harness import ask
from tests.unit.pipeline.cards import PLAIN, card

LOGITS = np.array([0.5, -1.0, 2.0])
"""Of "bad", "so-so" and "good": good is predicted, with probability 0.79."""
CHANCES = np.exp(LOGITS) / np.exp(LOGITS).sum()
MULTI = card(task=Task.MULTI_LABEL)


def decided(model: ModelCard = PLAIN, **fields: Any) -> Decision:  # noqa: ANN401 - the fields of ExplainRequest
    """Check and fix a question."""
    request = ask("a film", **fields)
    check_question(request, model)
    return make_decision(request, model, LOGITS)


def predicted(model: ModelCard = PLAIN, **fields: Any) -> Prediction:  # noqa: ANN401
    """Answer a question."""
    request = ask("a film", **fields)
    return make_prediction(request, model, LOGITS, make_decision(request, model, LOGITS))


def refused(model: ModelCard = PLAIN, **fields: Any) -> tuple[str, str]:  # noqa: ANN401
    """Field and description of a question that makes no sense."""
    with pytest.raises(InvalidInput) as refusal:
        decided(model, **fields)
    (violation,) = refusal.value.violations
    return violation.field, violation.description


def test_by_default_the_predicted_class_is_asked_about() -> None:
    """Who names no target asks why the model answers what it answers."""
    assert decided() == Decision(task=Task.SINGLE_LABEL, target=2)
    prediction = predicted()
    assert prediction.labels[prediction.predicted] == "good"
    assert np.allclose(prediction.probabilities, CHANCES)
    assert prediction.margin == pytest.approx(math.log(CHANCES[2] / (1 - CHANCES[2])))
    assert prediction.threshold_met is None
    assert not prediction.target_negated


@pytest.mark.parametrize("target", [0, "bad"])
def test_a_target_is_an_index_or_a_label(target: int | str) -> None:
    """A class may be named either way; another one than the predicted flips by the sign of its margin."""
    assert decided(target=Target(target=target)) == Decision(task=Task.SINGLE_LABEL, target=0, by_sign=True)
    assert predicted(target=Target(target=target)).margin < 0


def test_the_predicted_class_may_be_named() -> None:
    """Naming the predicted class asks the same question as naming none."""
    assert decided(target=Target(target="good")) == decided()


def test_a_foil_makes_it_a_contrast() -> None:
    """Why this rather than that: the margin is the difference of the two."""
    decision = decided(target=Target(target="good", foil="bad"))
    assert decision == Decision(task=Task.SINGLE_LABEL, target=2, foil=0, by_sign=True)
    assert predicted(target=Target(foil=1)).margin == pytest.approx(3.0)


def test_a_threshold_that_is_met_asks_why() -> None:
    """A rule that fires is explained for its label, from its own line."""
    rule = Threshold(label="good", probability=0.75)
    assert decided(threshold=rule) == Decision(task=Task.SINGLE_LABEL, target=2, threshold=0.75, by_sign=True)
    prediction = predicted(threshold=rule)
    assert prediction.threshold_met is True
    assert prediction.margin == pytest.approx(math.log(CHANCES[2] / (1 - CHANCES[2])) - math.log(3))
    assert prediction.margin > 0


def test_a_threshold_that_is_not_met_asks_why_not() -> None:
    """A rule that does not fire is explained against its label: what kept it below the line."""
    rule = Threshold(label="good", probability=0.93)
    decision = decided(threshold=rule)
    assert decision.negated
    prediction = predicted(threshold=rule)
    assert prediction.threshold_met is False
    assert prediction.target_negated
    assert prediction.margin > 0


def test_a_named_target_is_not_turned_around() -> None:
    """Who asks about the watched class by name gets its own margin, below the line or not."""
    decision = decided(target=Target(target="good"), threshold=Threshold(label="good", probability=0.93))
    assert not decision.negated
    assert decision.margin(LOGITS) < 0


def test_a_models_own_threshold_counts() -> None:
    """A model that decides by a threshold is asked about that decision, unless the request asks something else."""
    own = card(threshold=Threshold(label="good", probability=0.93))
    assert decided(own).negated
    assert decided(own, target=Target(target=2)).threshold == 0.93
    assert decided(own, target=Target(target="good")).threshold == 0.93
    assert decided(own, target=Target(target="bad")).threshold is None
    assert decided(own, target=Target(foil="bad")).threshold is None
    assert decided(own, threshold=Threshold(label="bad", probability=0.1)).threshold == 0.1
    assert predicted(own).threshold_met is False


def test_labels_of_a_multi_label_model_stand_alone() -> None:
    """Where labels do not exclude each other the margin is the label's own logit, and its sign is the decision."""
    assert decided(MULTI, target=Target(target=1)) == Decision(task=Task.MULTI_LABEL, target=1, by_sign=True)
    prediction = predicted(MULTI, target=Target(target=1))
    assert prediction.margin == -1.0
    assert np.allclose(prediction.probabilities, 1 / (1 + np.exp(-LOGITS)))
    assert prediction.predicted == 2
    met = predicted(MULTI, threshold=Threshold(label="bad", probability=0.6))
    assert met.threshold_met is True


def test_questions_that_make_no_sense_are_refused() -> None:
    """An unknown class, a foil that is the target, and two rules at once are the caller's mistakes, by field."""
    assert refused(target=Target(target=3)) == ("target.class_index", "must be between 0 and 2")
    assert refused(target=Target(target=-1)) == ("target.class_index", "must be between 0 and 2")
    assert refused(target=Target(foil=7)) == ("target.foil_class_index", "must be between 0 and 2")
    field, description = refused(target=Target(target="great"))
    assert field == "target.label"
    assert "bad, so-so, good" in description
    assert "great" not in description
    assert refused(target=Target(foil="great"))[0] == "target.foil_label"
    assert refused(target=Target(target="good", foil=2))[0] == "target.foil"
    assert refused(target=Target(foil="good"))[0] == "target.foil"
    assert refused(threshold=Threshold(label="great", probability=0.5))[0] == "threshold.label"
    rule = Threshold(label="good", probability=0.5)
    assert refused(target=Target(foil="bad"), threshold=rule)[0] == "threshold"
    assert refused(target=Target(target="bad"), threshold=rule)[0] == "threshold.label"


def test_a_long_list_of_labels_is_cut() -> None:
    """A model with thousands of labels does not answer with all of them."""
    many = card(labels=tuple(f"label {i}" for i in range(5000)))
    assert len(refused(many, target=Target(target="great"))[1]) <= 500


MISMATCHES: dict[str, tuple[dict[str, Any], bool]] = {
    "nothing reported": ({}, False),
    "the same label": ({"reported_label": "good"}, False),
    "another label": ({"reported_label": "bad"}, True),
    "a label that does not exist": ({"reported_label": "great"}, True),
    "the same score": ({"reported_score": float(CHANCES[2])}, False),
    "nearly the same score": ({"reported_score": float(CHANCES[2]) + 0.009}, False),
    "another score": ({"reported_score": float(CHANCES[2]) + 0.011}, True),
    "label and score": ({"reported_label": "good", "reported_score": float(CHANCES[2])}, False),
    "label and another label's score": ({"reported_label": "good", "reported_score": float(CHANCES[0])}, True),
    "a rule that fired": (
        {"threshold": Threshold(label="good", probability=0.7), "reported_label": "good"},
        False,
    ),
    "a rule that did not fire, reported as fired": (
        {"threshold": Threshold(label="good", probability=0.9), "reported_label": "good"},
        True,
    ),
    "a rule that did not fire, reported so": (
        {"threshold": Threshold(label="good", probability=0.9), "reported_label": "bad"},
        False,
    ),
    "a label that does not exist, with a score": (
        {"threshold": Threshold(label="good", probability=0.9), "reported_label": "other", "reported_score": 0.5},
        True,
    ),
}


@pytest.mark.parametrize("case", MISMATCHES)
def test_acting_on_another_answer_is_noticed(case: str) -> None:
    """A caller who acted on another label or score than this one is told."""
    fields, expected = MISMATCHES[case]
    assert reported_mismatch(ask("a film", **fields), PLAIN, predicted(**fields)) is expected


NEXT = card(task=Task.NEXT_TOKEN)
"""Its labels are two tokens, and the last one all other tokens together."""


def test_a_language_model_is_asked_for_its_best_token_against_the_next_one() -> None:
    """Though another token be more probable than both: that one is no answer to contrast with."""
    assert decided(NEXT) == Decision(task=Task.NEXT_TOKEN, target=0, foil=1, by_sign=True)
    prediction = predicted(NEXT)
    assert prediction.labels[prediction.predicted] == "good"
    assert prediction.margin == pytest.approx(LOGITS[0] - LOGITS[1])


def test_a_language_model_may_be_asked_for_other_tokens() -> None:
    """Target and foil are whatever is named, all other tokens included; what is not named is the best of the rest."""
    assert decided(NEXT, target=Target(target=1)).foil == 0
    assert decided(NEXT, target=Target(foil=0)) == Decision(task=Task.NEXT_TOKEN, target=1, foil=0, by_sign=True)
    assert decided(NEXT, target=Target(target=2, foil=1)).margins(LOGITS) == pytest.approx(3.0)
    assert refused(NEXT, target=Target(target=1, foil=1)) == ("target.foil", "must differ from the target")


def test_a_language_model_may_be_asked_for_a_probability() -> None:
    """A threshold asks for one token's own probability, against all others together."""
    decision = decided(NEXT, threshold=Threshold(label="bad", probability=0.5))
    assert (decision.target, decision.foil, decision.negated) == (0, None, True)
