"""Decisions: what a model's logits mean, the margin, and when a counterfactual changes the answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np

from rollcall.domain.maps import Bools, Floats


class Task(Enum):
    """What the logits mean."""

    SINGLE_LABEL = "single_label"
    MULTI_LABEL = "multi_label"
    NEXT_TOKEN = "next_token"  # noqa: S105 - a piece of text
    """One of a few tokens of a language model, or another one."""
    TOKEN_LABEL = "token_label"  # noqa: S105 - a token of a text
    """One class of several for the word that is asked about, of a model that labels each token of a text."""


def probabilities(logits: Floats, task: Task) -> Floats:
    """Class probabilities [..., C] of logits [..., C]."""
    z = np.asarray(logits, dtype=np.float64)
    if task is Task.MULTI_LABEL:
        return np.asarray(np.where(z >= 0, 1 / (1 + np.exp(-np.abs(z))), np.exp(-np.abs(z)) / (1 + np.exp(-np.abs(z)))))
    shifted = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def total_variation(p: Floats, q: Floats, task: Task) -> Floats:
    """Half the L1 distance [...] of [..., C]; in a multi-label model the largest change of one label's probability."""
    difference = np.abs(p - q)
    return np.asarray(difference.max(axis=-1) if task is Task.MULTI_LABEL else difference.sum(axis=-1) / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The question that the checks ask of each row: how far is the decision, and has it changed?

    `target` and `foil` are class indices; `threshold` a probability of the target; `negated` means that margin and
    effects speak for "not the target" (a threshold that was not met, with no explicit target).
    """

    task: Task
    target: int
    foil: int | None = None
    threshold: float | None = None
    negated: bool = False
    by_sign: bool = False
    """Flips are sign changes of the margin: another target than the predicted, a foil, a threshold, multi-label."""

    def margins(self, logits: Floats) -> Floats:
        """Log-odds of the target [...] for logits [..., C]; finite logits give finite margins."""
        z = np.asarray(logits, dtype=np.float64)
        if self.foil is not None:
            return np.asarray(z[..., self.target] - z[..., self.foil])
        if self.task is Task.MULTI_LABEL:
            odds = z[..., self.target]
        else:
            others = np.concatenate((z[..., : self.target], z[..., self.target + 1 :]), axis=-1)
            top = others.max(axis=-1, keepdims=True)
            odds = z[..., self.target] - (top[..., 0] + np.log(np.exp(others - top).sum(axis=-1)))
        if self.threshold is not None:
            odds = odds - math.log(self.threshold / (1 - self.threshold))
        return np.asarray(-odds if self.negated else odds)

    def margin(self, logits: Floats) -> float:
        """Margin of one row's logits [C]."""
        return float(self.margins(logits))

    def gradient(self, logits: Floats) -> Floats:
        """Gradient of the margin [C] with respect to the logits [C]."""
        z = np.asarray(logits, dtype=np.float64)
        direction = np.zeros(len(z))
        if self.foil is not None:
            direction[self.foil] = -1.0
        elif self.task is not Task.MULTI_LABEL:
            others = np.delete(np.arange(len(z)), self.target)
            direction[others] = -probabilities(z[others], Task.SINGLE_LABEL)
        direction[self.target] = 1.0
        return -direction if self.negated else direction

    def flipped(self, base: Floats, rows: Floats) -> Bools:
        """Whether the decisions [...] on `rows` [..., C] differ from that on `base` (logits [C])."""
        if self.by_sign:
            return np.asarray(self._met(base) != self._met(rows))
        return np.asarray(base.argmax() != rows.argmax(axis=-1))

    def _met(self, logits: Floats) -> Bools:
        """Whether the margins speak for the target; on the line itself a threshold is met."""
        margins = self.margins(logits)
        return np.asarray(margins > 0 if self.negated else margins >= 0)

    def distance(self, logits: Floats) -> float:
        """How far the margin may move before the decision changes: to 0, or as far as the runner-up is behind."""
        if self.by_sign:
            return abs(self.margin(logits))
        first, second = np.sort(np.asarray(logits, dtype=np.float64))[:-3:-1]
        return float(first - second)

    def carried_by(self, logits: Floats) -> float:
        """Sign of the effects that hold the decision where it is.

        The arg max is held by what speaks for it, however improbable it is; a margin below 0 by what speaks against.
        """
        return -1.0 if self.by_sign and self.margin(logits) < 0 else 1.0

    def tvd(self, base: Floats, rows: Floats) -> Floats:
        """Total variation distances [...] of the predictions on `rows` [..., C] from that on `base` (logits [C])."""
        return total_variation(probabilities(base, self.task), probabilities(rows, self.task), self.task)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the model says: `probabilities` and `logits` [C]."""

    labels: tuple[str, ...]
    logits: Floats
    probabilities: Floats
    predicted: int
    margin: float
    target: int
    threshold_met: bool | None
    target_negated: bool
