"""What exactly is asked of a model's logits: target, foil, threshold, and so the margin and what counts as a change."""

from __future__ import annotations

import numpy as np

from rollcall.domain.decision import Decision, Prediction, Task, probabilities
from rollcall.domain.errors import InvalidInput
from rollcall.domain.explanation import PredictRequest
from rollcall.domain.inputs import ClassRef, Threshold
from rollcall.domain.maps import Floats
from rollcall.domain.model import ModelCard

SCORE_TOLERANCE = 0.01
"""A reported probability may differ from ours by this much before it counts as a mismatch."""


def check_question(request: PredictRequest, card: ModelCard) -> None:
    """Check target, foil and threshold against the model's labels; raises InvalidInput before anything is run."""
    target = _class_index(request.target.target, "target", card)
    foil = _class_index(request.target.foil, "target.foil", card)
    threshold = effective_threshold(request, card)
    if target is not None and target == foil:
        raise InvalidInput.of("target.foil", "must differ from the target")
    if request.threshold is None:
        return
    watched = _class_index(request.threshold.label, "threshold.label", card)
    if foil is not None:
        raise InvalidInput.of("threshold", "cannot be combined with a foil")
    if threshold is not None and target is not None and target != watched:
        raise InvalidInput.of("threshold.label", "must be the target, if both are given")


def effective_threshold(request: PredictRequest, card: ModelCard) -> Threshold | None:
    """The request's rule; else the model's, unless the request asks about another class or against a foil."""
    if request.threshold is not None or card.threshold is None:
        return request.threshold
    asked = request.target.target
    about_it = asked is None or asked in {card.threshold.label, card.labels.index(card.threshold.label)}
    return card.threshold if about_it and request.target.foil is None else None


def make_decision(request: PredictRequest, card: ModelCard, logits: Floats) -> Decision:
    """Fix the question for these logits [C].

    Of a language model it is the most probable of its named tokens against the next one, unless others are asked for:
    its last class is all other tokens together, which is no answer to contrast with.
    """
    predicted = int(np.argmax(logits))
    explicit = _class_index(request.target.target, "target", card)
    foil = _class_index(request.target.foil, "target.foil", card)
    threshold = effective_threshold(request, card)
    multi = card.task is Task.MULTI_LABEL
    if threshold is not None:
        watched = card.labels.index(threshold.label)
        met = bool(probabilities(logits, card.task)[watched] >= threshold.probability)
        return Decision(
            task=card.task,
            target=watched,
            threshold=threshold.probability,
            negated=explicit is None and not met,
            by_sign=True,
        )
    if card.task is Task.NEXT_TOKEN:
        named = [i for i in np.argsort(-logits[:-1], kind="stable").tolist() if i != foil]
        predicted = named[0]
        explicit = predicted if explicit is None else explicit
        foil = next(i for i in named if i != explicit) if foil is None else foil
    target = predicted if explicit is None else explicit
    if foil is not None and foil == target:
        raise InvalidInput.of("target.foil", "must differ from the target, here the predicted class")
    return Decision(task=card.task, target=target, foil=foil, by_sign=multi or foil is not None or target != predicted)


def make_prediction(request: PredictRequest, card: ModelCard, logits: Floats, decision: Decision) -> Prediction:
    """State the model's answer."""
    chances = probabilities(logits, card.task)
    threshold = effective_threshold(request, card)
    return Prediction(
        labels=card.labels,
        logits=logits,
        probabilities=chances,
        predicted=int(np.argmax(logits)),
        margin=decision.margin(logits),
        target=decision.target,
        threshold_met=None if threshold is None else bool(chances[decision.target] >= threshold.probability),
        target_negated=decision.negated,
    )


def reported_mismatch(request: PredictRequest, card: ModelCard, prediction: Prediction) -> bool:
    """Whether the caller acted on another answer than this one."""
    label = card.labels[prediction.predicted] if request.reported_label is None else request.reported_label
    if request.reported_label is not None:
        threshold = effective_threshold(request, card)
        if threshold is None:
            agreed = label == card.labels[prediction.predicted]
        else:
            agreed = (label == threshold.label) == prediction.threshold_met
        if not agreed:
            return True
    if request.reported_score is None:
        return False
    if label not in card.labels:
        return True
    return bool(abs(prediction.probabilities[card.labels.index(label)] - request.reported_score) > SCORE_TOLERANCE)


def _class_index(reference: ClassRef | None, field: str, card: ModelCard) -> int | None:
    """Index of a class; an index is named field_class_index or class_index as on the wire, a label likewise."""
    if reference is None:
        return None
    wire = {
        "target": ("target.class_index", "target.label"),
        "target.foil": ("target.foil_class_index", "target.foil_label"),
    }
    by_index, by_label = wire.get(field, (field, field))
    if isinstance(reference, int):
        if not 0 <= reference < len(card.labels):
            raise InvalidInput.of(by_index, f"must be between 0 and {len(card.labels) - 1}")
        return reference
    if reference not in card.labels:
        raise InvalidInput.of(by_label, f"unknown; the model's labels are {', '.join(card.labels)}"[:500])
    return card.labels.index(reference)
