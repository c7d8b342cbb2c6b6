"""One model taken apart, in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from rollcall.studies.papers.frame import Json
from rollcall.studies.papers.intervals import Mean, mean_of

KEPT: Final = 0.95
"""Share of the decisions that stay, at which a loss is called unnoticeable."""
FEW: Final = 0.05
"""A head that changes no more of the decisions by itself is called dispensable by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One model taken apart, in numbers. Shares are of inputs or decisions, `flips` [L * H] of each head by itself."""

    name: str
    layers: int
    heads: int
    accuracy: float
    flips: Sequence[float]
    none_flips: Mean
    uniform_flips: Mean
    uniform_tvd: Mean
    all_flips: Mean
    single_sum: Mean
    together: Mean
    hidden: Mean
    """What the heads do together beyond the sum of what they do singly, paired by input."""
    least_first: Sequence[float]
    random: Sequence[float]
    most_first: Sequence[float]
    one_head: Sequence[float]
    longest: Sequence[int]
    parts: Mapping[str, Mapping[str, Sequence[float]]]
    """Flip shares by "nothing" or "mean" and by part: of each layer, and last of all layers together."""
    attention_share: Mean
    signed_share: float

    @property
    def total(self) -> int:
        """Heads in all."""
        return self.layers * self.heads

    @property
    def dispensable(self) -> int:
        """Heads that change few decisions by themselves."""
        return sum(share <= FEW for share in self.flips)

    @property
    def unnoticed(self) -> int:
        """How many heads can go at least, least important first, before fewer decisions stay than KEPT."""
        return next((gone - 1 for gone, kept in enumerate(self.least_first) if kept < KEPT), self.total)


def taken(name: str, found: Mapping[str, Json]) -> Taken:
    """Sum one model up."""
    singles, pruning, parts = found["singles"], found["pruning"], found["parts"]
    inputs = singles["inputs"]
    total = singles["layers"] * singles["heads"]
    flips = np.array([[number in one["flips"] for number in range(total)] for one in inputs])
    # What speaks for the decision is positive before; so a fall is what the head carried.
    falls = [-sum(one["changes"]) for one in inputs]
    joint = [one["margin"] - one["all_heads"]["margin"] for one in inputs]
    shares, players = [], parts["layers"]
    for one in parts["inputs"]:
        values = np.abs(one["shapley"]["values"])
        shares.append(float(values[:players].sum() / values.sum()))
    signed = np.array([one["shapley"]["values"] for one in parts["inputs"]])
    return Taken(
        name=name,
        layers=singles["layers"],
        heads=singles["heads"],
        accuracy=singles["accuracy"],
        flips=[float(share) for share in flips.mean(axis=0)],
        none_flips=mean_of([float(not row.any()) for row in flips]),
        uniform_flips=mean_of([float(one["uniform"]["flip"]) for one in inputs]),
        uniform_tvd=mean_of([one["uniform"]["tvd"] for one in inputs]),
        all_flips=mean_of([float(one["all_heads"]["flip"]) for one in inputs]),
        single_sum=mean_of(falls),
        together=mean_of(joint),
        hidden=mean_of([both - single for both, single in zip(joint, falls, strict=True)]),
        least_first=pruning["least_first"]["kept"],
        random=[float(share) for share in np.mean([one["kept"] for one in pruning["random"]], axis=0)],
        most_first=pruning["most_first"]["kept"],
        one_head=pruning["one_head"]["kept"],
        longest=pruning["longest"],
        parts={off: _flip_shares(parts, off) for off in ("nothing", "mean")},
        attention_share=mean_of(shares),
        signed_share=float(signed[:, :players].sum() / signed.sum()),
    )


def _flip_shares(parts: Json, off: str) -> dict[str, list[float]]:
    """By part, the share of decisions that turn round without it: of each layer, and of all."""
    per_part = parts["layers"] + 1
    turned = (np.array([one[off] for one in parts["inputs"]]) <= 0).mean(axis=0)
    return {
        name: [float(share) for share in turned[number * per_part : (number + 1) * per_part]]
        for number, name in enumerate(parts["names"])
    }
