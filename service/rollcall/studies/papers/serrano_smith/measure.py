"""What is measured on one input: units erased from the last attention layer, one at a time and in growing sets.

An erased unit's weight becomes 0 and the others are renormalised: a knock-out before the softmax, in the last layer
alone. Shapes: n unit, R row, C class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from rollcall.checks.erasure import first_units
from rollcall.domain.decision import probabilities
from rollcall.domain.distances import jensen_shannon
from rollcall.domain.inputs import TextInput
from rollcall.domain.maps import Bools, Floats
from rollcall.domain.rows import AttentionEdit, RemovalOperator, Row
from rollcall.domain.seeds import random_permutations
from rollcall.studies.laboratory import Laboratory
from rollcall.studies.papers.inquiry import Inquiry

ATTENTION, GRADIENT, PRODUCT, RANDOM = ORDERS = ("attention", "gradient", "gradient x attention", "random")
DELETED: Final = {"attention, words deleted": ATTENTION, "random, words deleted": RANDOM}
"""The same orders with the words taken out of the text: what erasure in the last layer does not see."""
RANDOM_ORDERS: Final = 3
FEWEST: Final = 2


def measure(laboratory: Laboratory, text: TextInput) -> dict[str, Any] | None:
    """Numbers of one input as JSON; None where it has a single word."""
    inquiry = Inquiry.of(laboratory, text)
    subject = inquiry.subject
    n = subject.n
    if n < FEWEST:
        return None
    weights, gradient = inquiry.attention.scores, inquiry.attention_gradient()
    shuffled = random_permutations(subject.seed, "random orders", (RANDOM_ORDERS, n))
    orders: Mapping[str, Sequence[Sequence[int]]] = {
        ATTENTION: [_descending(weights)],
        GRADIENT: [_descending(gradient)],
        PRODUCT: [_descending(gradient * weights)],
        RANDOM: shuffled.tolist(),
    }
    top = int(weights.argmax())
    other = next(int(unit) for unit in shuffled[0] if unit != top)
    singles = inquiry.bench.run([_erased(inquiry, subject.selection((unit,))) for unit in (top, other)])
    base = probabilities(subject.base.logits, subject.decision.task)
    moved = [float(jensen_shannon(base, probabilities(row.logits, subject.decision.task))) for row in singles]
    flips = subject.flips(singles)
    return {
        "units": n,
        "largest": float(weights[top]),
        "weight_difference": float(weights[top] - weights[other]),
        "top": {"js": moved[0], "flips": bool(flips[0])},
        "other": {"js": moved[1], "flips": bool(flips[1])},
        "fractions": {
            **{name: _fraction(inquiry, some, deleted=False) for name, some in orders.items()},
            **{name: _fraction(inquiry, orders[order], deleted=True) for name, order in DELETED.items()},
        },
    }


def _descending(scores: Floats) -> list[int]:
    """Units from the largest score to the smallest; ties in reading order."""
    order: list[int] = np.argsort(-scores, kind="stable").tolist()
    return order


def _erased(inquiry: Inquiry, units: Bools) -> Row:
    layers = inquiry.bench.laboratory.model.backend.shape.layers
    return Row(edit=AttentionEdit.KNOCKED_OUT, units=units, layers=(layers - 1,))


def _fraction(inquiry: Inquiry, orders: Sequence[Sequence[int]], *, deleted: bool) -> float:
    """Mean over orders of the share of units erased when the decision first changes; 1 where it never does."""
    subject = inquiry.subject
    shares = []
    for order in orders:
        sets = first_units(order, subject.n)[1:-1]
        rows = [
            Row(removed=units, operator=RemovalOperator.DELETION) if deleted else _erased(inquiry, units)
            for units in sets
        ]
        flips = np.flatnonzero(subject.flips(inquiry.bench.run(rows)))
        shares.append((flips[0] + 1) / subject.n if len(flips) else 1.0)
    return float(np.mean(shares))
