"""Everything that the study's report says, in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final

import numpy as np
from scipy.stats import spearmanr

from rollcall.domain.distances import jensen_shannon
from rollcall.studies.papers.frame import Json
from rollcall.studies.papers.intervals import Mean, mean_of

CONTROL: Final = "rarest words (control)"
RAW: Final = "raw_attention"
EFFECT: Final = "effect"
TOP: Final = 5
"""Units whose overlap says how steady the head of a map is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """How well something picks edited words: precision and recall, and both above chance, paired by input."""

    precision: Mean
    recall: Mean
    above_chance: Mean
    below_flip: Mean | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Steady:
    """How alike maps of one text are: Spearman's correlation, nats apart, and the overlap of the first TOP units."""

    spearman: Mean
    apart: Mean
    overlap: Mean

    def to_json(self) -> dict[str, Any]:
        """All numbers by name."""
        return {
            "spearman": self.spearman.to_json(),
            "nats_apart": self.apart.to_json(),
            f"top_{TOP}_overlap": self.overlap.to_json(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Summed:
    """Everything that the report says, in numbers."""

    pairs: int
    turned: Mean
    texts: Sequence[Mapping[str, Any]] = field(repr=False)
    found: Mean
    flip: Hit
    maps: Mapping[str, Hit]
    chance: Mean
    as_edited: Mapping[str, Mean]
    aurocs: Mapping[str, Mean]
    edited_flips: Mean
    random_flips: Mean
    seeds: Mapping[str, Steady]
    dropout: Mapping[str, Steady]
    seed_predictions: Mean | None
    dropout_predictions: Mean


def summed(found: Mapping[int, Json]) -> Summed:
    """Sum up all seeds; texts count where the model is right on both of their pair."""
    pairs = [pair for seed in found.values() for pair in seed["pairs"]]
    owners = [pair["number"] for pair in pairs]
    turned = [all(text["right"] for text in pair["texts"]) for pair in pairs]
    texts = [
        (pair["number"], text)
        for pair, right in zip(pairs, turned, strict=True)
        if right
        for text in pair["texts"]
        if 0 < text["edited"] < text["units"]
    ]
    flipped = [(number, text) for number, text in texts if text["flip"] is not None]
    names = list(flipped[0][1]["hits"])
    clusters = [number for number, _ in flipped]
    chance = [text["edited"] / text["units"] for _, text in flipped]
    flip = [(text["flip"][1], text["flip"][0], text["edited"]) for _, text in flipped]
    removed = [(number, text["without_edited"]) for number, text in texts if text["without_edited"] is not None]
    return Summed(
        pairs=len(set(owners)),
        turned=mean_of([float(right) for right in turned], owners),
        texts=[text for _, text in texts],
        found=mean_of([float(text["flip"] is not None) for _, text in texts], [number for number, _ in texts]),
        flip=_hit(flip, chance, None, clusters),
        maps={
            name: _hit(
                [(text["hits"][name]["as_flip"], text["flip"][0], text["edited"]) for _, text in flipped],
                chance,
                flip,
                clusters,
            )
            for name in names
        },
        chance=mean_of(chance, clusters),
        as_edited={
            name: mean_of(
                [text["hits"][name]["as_edited"] / text["edited"] for _, text in texts], [number for number, _ in texts]
            )
            for name in names
        },
        aurocs={
            name: mean_of([text["hits"][name]["auroc"] for _, text in texts], [number for number, _ in texts])
            for name in names
        },
        edited_flips=mean_of([one["edited"] for _, one in removed], [number for number, _ in removed]),
        random_flips=mean_of([one["random"] for _, one in removed], [number for number, _ in removed]),
        **_steadiness(found),
    )


def _hit(
    counted: Sequence[tuple[int, int, int]],
    chance: Sequence[float],
    flip: Sequence[tuple[int, int, int]] | None,
    clusters: Sequence[int],
) -> Hit:
    """From hits, units chosen and units edited of each text, beside the flip set's own."""
    precision = [hit / chosen for hit, chosen, _ in counted]
    return Hit(
        precision=mean_of(precision, clusters),
        recall=mean_of([hit / edited for hit, _, edited in counted], clusters),
        above_chance=mean_of([one - other for one, other in zip(precision, chance, strict=True)], clusters),
        below_flip=None
        if flip is None
        else mean_of(
            [hit / chosen - one for (hit, chosen, _), one in zip(flip, precision, strict=True)],
            clusters,
        ),
    )


def _steadiness(found: Mapping[int, Json]) -> dict[str, Any]:
    """Maps of the same text held against each other: across seeds, and across passes under dropout."""
    by_text: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
    for seed in found.values():
        for pair in seed["pairs"]:
            for number, text in enumerate(pair["texts"]):
                by_text.setdefault((pair["number"], number), []).append(text)
    across = [(number, one, other) for (number, _), same in by_text.items() for one, other in combinations(same, 2)]
    dropped = [text for seed in found.values() for text in seed["dropout"]["texts"]]
    names = [name for name in found[min(found)]["pairs"][0]["texts"][0]["maps"] if name != CONTROL]
    return {
        "seeds": {
            name: _steady([(number, one["maps"][name], other["maps"][name]) for number, one, other in across])
            for name in names
            if across
        },
        "dropout": {
            name: _steady(
                [(text["number"], one, other) for text in dropped for one, other in combinations(text["maps"][name], 2)]
            )
            for name in dropped[0]["maps"]
        },
        "seed_predictions": mean_of(
            [abs(_positive(one) - _positive(other)) for _, one, other in across], [number for number, _, _ in across]
        )
        if across
        else None,
        "dropout_predictions": mean_of(
            [abs(one - other) for text in dropped for one, other in combinations(text["probabilities"], 2)],
            [text["number"] for text in dropped for _ in combinations(text["probabilities"], 2)],
        ),
    }


def _positive(text: Mapping[str, Any]) -> float:
    """Probability of one and the same class: `right` says whether that of the decision is of the text's own."""
    probability: float = text["probability"]
    return probability if text["right"] else 1 - probability


def _steady(pairs: Sequence[tuple[int, Sequence[float], Sequence[float]]]) -> Steady:
    clusters, correlations, apart, overlaps = [], [], [], []
    for number, one, other in pairs:
        first, second = np.array(one), np.array(other)
        if len(first) <= TOP or not (np.ptp(first) > 0 and np.ptp(second) > 0):
            continue
        clusters.append(number)
        correlations.append(float(spearmanr(first, second).statistic))
        apart.append(float(jensen_shannon(first / first.sum(), second / second.sum())))
        heads = [set(np.argsort(-weights, kind="stable")[:TOP].tolist()) for weights in (first, second)]
        overlaps.append(len(heads[0] & heads[1]) / TOP)
    return Steady(
        spearman=mean_of(correlations, clusters), apart=mean_of(apart, clusters), overlap=mean_of(overlaps, clusters)
    )
