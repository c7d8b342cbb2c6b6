"""What is measured on one input: agreement of attention with other methods, permutations, and the adversary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from rollcall.checks.rank_agreement import single_drops
from rollcall.checks.rewiring import rewiring_rows
from rollcall.domain.distances import jensen_shannon
from rollcall.domain.inputs import TextInput
from rollcall.domain.maps import Floats, MapKind
from rollcall.domain.seeds import random_permutations
from rollcall.studies.laboratory import Laboratory
from rollcall.studies.papers.inquiry import Inquiry

TOLERANCES: Final = (0.01, 0.05)
"""Of the prediction: the paper's for classification, and what its public plots were filtered with."""
PERMUTATIONS: Final = 100
RESTARTS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Steps of the adversary's search, each of about so much attention logit."""

    steps: int
    step_size: float


def measure(laboratory: Laboratory, text: TextInput, effort: Effort) -> dict[str, Any] | None:
    """Numbers of one input as JSON; None where it has fewer than three words: there is no order to compare."""
    inquiry = Inquiry.of(laboratory, text)
    subject = inquiry.subject
    if subject.n < 3:  # noqa: PLR2004 - as the check has it
        return None
    attention = inquiry.attention.scores
    left_out = inquiry.leave_one_out()
    gradients = {
        "gradient": inquiry.gradient(detached=True),
        "whole_gradient": inquiry.gradient(detached=False),
    }
    gradient = next(found for found in gradients.values() if found is not None)
    order = random_permutations(subject.seed, "control", (subject.n,))
    taus = {
        "leave_one_out": inquiry.tau(attention, left_out),
        **{name: inquiry.tau(attention, found) for name, found in gradients.items()},
        "gradient_and_leave_one_out": inquiry.tau(gradient, left_out),
        "signed_leave_one_out": inquiry.tau(attention, _signed(inquiry)),
        "shuffled_attention": inquiry.tau(attention[order], left_out),
    }
    draws = inquiry.bench.run(rewiring_rows(subject, 0, PERMUTATIONS))
    changes = inquiry.changes(draws)
    moved = jensen_shannon(np.array([draw.maps[MapKind.RAW_ATTENTION] for draw in draws]), attention)
    counting = moved >= subject.policy.rewiring_jsd
    same = subject.same(draws)
    return {
        "units": subject.n,
        "predicted": int(subject.base.logits.argmax()),
        "largest": float(attention.max()),
        "taus": taus,
        "median_change": float(np.median(changes)),
        "median_change_counting": float(np.median(changes[counting])) if counting.any() else None,
        "counting": int(counting.sum()),
        "same": int((same & counting).sum()),
        "furthest": {
            str(tolerance): inquiry.furthest(
                tolerance, restarts=RESTARTS, steps=effort.steps, step_size=effort.step_size, drawn=draws
            )
            for tolerance in TOLERANCES
        },
    }


def _signed(inquiry: Inquiry) -> Floats:
    """Drops of the margin, mean of both usual operators: what the product's own rank agreement compares with."""
    asking = single_drops(inquiry.subject)
    try:
        asking.send(inquiry.bench.run(next(asking)))
    except StopIteration as ended:
        found: Floats = ended.value
        return found
    message = "single drops ask once"
    raise AssertionError(message)
