"""Does what would have changed the decision hit the words that people change, and how steady are maps?

Shapes: n unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from scipy.stats import rankdata
from torch import nn
from transformers import AutoTokenizer, BertForSequenceClassification

from rollcall.backends.torch_backend import TorchBackend
from rollcall.checks.base import OPERATORS, Subject
from rollcall.domain.decision import Task
from rollcall.domain.inputs import TextInput
from rollcall.domain.maps import DEFAULT_MAPS, Bools, Floats, MapKind
from rollcall.models.directory import encoder_of
from rollcall.models.families import FAMILIES
from rollcall.models.loading import LoadedModel, load_model
from rollcall.studies.flag.families.base import Member, units_within
from rollcall.studies.flag.families.corpora import OPINIONS, Labelled
from rollcall.studies.flag.members import member
from rollcall.studies.laboratory import Bench, Laboratory
from rollcall.studies.papers.counterfactual.report import result
from rollcall.studies.papers.counterfactual.reviews import (
    DATA,
    Pair,
    held_out_pairs,
    rarity,
    review_family,
    word_counts,
)
from rollcall.studies.papers.frame import Context, Json, Result, Study
from rollcall.verdict.policies import STANDARD

FULL_PAIRS, QUICK_PAIRS = 60, 30
FULL_STABLE, QUICK_STABLE = 30, 8
"""Pairs whose first text is asked again under dropout."""
PASSES: Final = 5
RANDOM_SETS: Final = 5
KINDS: Final = (
    *DEFAULT_MAPS,
    MapKind.INPUT_X_GRADIENT,
    MapKind.INTEGRATED_GRADIENTS,
    MapKind.LEAVE_ONE_OUT,
    MapKind.EFFECT,
    MapKind.DECOMPOSITION,
)
DROPPED: Final = (*DEFAULT_MAPS, MapKind.INPUT_X_GRADIENT, MapKind.INTEGRATED_GRADIENTS)
"""Maps that come out of forwards and backwards of the input itself, which dropout can disturb."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """One model, with the pairs that all models are asked about."""

    built: Member = field(repr=False)
    laboratory: Laboratory = field(repr=False)
    pairs: tuple[Pair, ...] = field(repr=False)
    counts: Mapping[str, int] = field(repr=False)

    @classmethod
    def of(cls, context: Context, seed: int) -> Opened:
        """Build or load the model of one seed; the pairs are the same for all, and fit into it whole."""
        data, wanted = context.data / DATA, QUICK_PAIRS if context.quick else FULL_PAIRS
        built = member(review_family(), seed=seed, inputs=1, data=data, cache=context.models)
        model = load_model(built.directory)
        whole = [
            pair
            for pair in held_out_pairs(data, seed=0)
            if not any(model.backend.encode(TextInput(text=one.text)).truncated for one in pair.texts)
        ]
        kinds = tuple(kind for kind in KINDS if kind in model.maps)
        return cls(
            built=built,
            laboratory=Laboratory(model=model, policy=STANDARD, kinds=kinds),
            pairs=tuple(whole[:wanted]),
            counts=word_counts(data),
        )


def run(context: Context) -> Result:
    """Ask the models of all seeds about the same pairs, and one model again under dropout."""
    wanted = QUICK_PAIRS if context.quick else FULL_PAIRS
    stable = QUICK_STABLE if context.quick else FULL_STABLE
    step = 10
    found: dict[int, Json] = {}
    for seed in context.seeds:
        opened: list[Opened] = []
        chunks = [f"seed {seed} pairs {first}" for first in range(0, wanted, step)]

        def make(name: str, seed: int = seed, opened: list[Opened] = opened) -> Json:
            if not opened:
                opened.append(Opened.of(context, seed))
            one = opened[0]
            if name.endswith("dropout"):
                return under_dropout(one, one.pairs[:stable])
            first = int(name.rsplit(" ", 1)[1])
            return {
                "accuracy": one.built.accuracy,
                "pairs": [asked(one, pair) for pair in one.pairs[first : first + step]],
            }

        names = [*chunks, f"seed {seed} dropout"]
        parts = context.parts(f"counterfactual, seed {seed}", names, make)
        found[seed] = {
            "accuracy": parts[chunks[0]]["accuracy"],
            "pairs": [pair for chunk in chunks for pair in parts[chunk]["pairs"]],
            "dropout": parts[names[-1]],
        }
    return result(found)


def asked(opened: Opened, pair: Pair) -> Json:
    """What is found of both texts of a pair."""
    return {"number": pair.number, "texts": [of_text(opened, one) for one in pair.texts]}


def of_text(opened: Opened, one: Labelled) -> Json:
    """Where the decision would have flipped, where people edited, and how each map ranks the edited words."""
    bench = opened.laboratory.open(TextInput(text=one.text))
    subject = bench.subject
    found = bench.check(bench.maps(), STANDARD, None)
    edited = subject.selection(sorted(units_within(one.decisive, subject.encoding.units)))
    flip = subject.selection(list(found.flip.units)) if found.flip is not None and found.flip.found else None
    maps = {each.assessment.map.kind.value: each.assessment.map.scores for each in found.maps}
    maps["rarest words (control)"] = rarity(subject.encoding.units, opened.counts)
    return {
        "units": subject.n,
        "edited": int(edited.sum()),
        "right": subject.decision.target == one.label,
        "probability": round(float(subject.probabilities([subject.base])[0]), 4),
        "flip": None if flip is None else [int(flip.sum()), int((flip & edited).sum())],
        "hits": {name: hits(weights, edited, flip) for name, weights in maps.items()},
        "flags": {each.assessment.map.kind.value: each.ruling.flag.value for each in found.maps},
        "without_edited": flipping_without(bench, edited),
        "maps": {name: [round(float(weight), 5) for weight in weights] for name, weights in maps.items()},
    }


def hits(weights: Floats, edited: Bools, flip: Bools | None) -> dict[str, Any]:
    """How many edited units are among a map's first: as many as the flip set has, and as many as were edited.

    `auroc`: how probably an edited unit outranks another, ties halved; None where there are not both.
    """
    order = np.argsort(-weights, kind="stable")
    count = int(edited.sum())
    auroc = None
    if 0 < count < len(weights):
        ranks = rankdata(weights)
        auroc = round(float((ranks[edited].sum() - count * (count + 1) / 2) / (count * (len(weights) - count))), 4)
    return {
        "as_flip": None if flip is None else int(edited[order[: int(flip.sum())]].sum()),
        "as_edited": int(edited[order[:count]].sum()),
        "auroc": auroc,
    }


def flipping_without(bench: Bench, edited: Bools) -> dict[str, float] | None:
    """Whether removing what people edited changes the decision, and as many units at random: shares of operators."""
    subject, count = bench.subject, int(edited.sum())
    if not 0 < count < subject.n:
        return None
    chance = np.random.default_rng(subject.seed % 2**32)
    sets = [np.flatnonzero(edited), *(chance.choice(subject.n, count, replace=False) for _ in range(RANDOM_SETS))]
    rows = [subject.removal(units.tolist(), operator) for units in sets for operator in OPERATORS]
    flips = subject.flips(bench.run(rows)).reshape(len(sets), len(OPERATORS))
    return {"edited": float(flips[0].mean()), "random": float(flips[1:].mean())}


def under_dropout(opened: Opened, pairs: tuple[Pair, ...]) -> Json:
    """Maps of the first text of each pair, in several passes with dropout as in training: [passes, n] by map."""
    laboratory, model = disturbed(opened.built.directory)
    found = []
    for pair in pairs:
        passes = in_passes(laboratory, model, TextInput(text=pair.texts[0].text), number=pair.number)
        found.append(
            {
                "number": pair.number,
                "probabilities": [_first_class(bench.subject) for bench in passes],
                "maps": {
                    kind.value: [
                        [round(float(w), 5) for w in each.scores]
                        for bench in passes
                        for each in bench.captured.maps
                        if each.kind is kind
                    ]
                    for kind in DROPPED
                },
            }
        )
    return {"texts": found}


def in_passes(laboratory: Laboratory, model: nn.Module, text: TextInput, *, number: int) -> list[Bench]:
    """The same text in several passes, each with units of its own dropped; dropout is off again afterwards."""
    passes = []
    for each in range(PASSES):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1000 * number + each)
            model.apply(_drop)
            try:
                passes.append(laboratory.open(text))
            finally:
                model.train(mode=False)
    return passes


def disturbed(directory: Path) -> tuple[Laboratory, nn.Module]:
    """A model behind the engine's seam whose modules can be reached: dropout is switched on from outside."""
    model = BertForSequenceClassification.from_pretrained(directory, local_files_only=True)
    row = FAMILIES["bert"]
    encoder = encoder_of(
        AutoTokenizer.from_pretrained(directory, local_files_only=True), model.config, reserved=0, max_units=64
    )
    backend = TorchBackend(
        model, encoder, row.layout, task=Task.SINGLE_LABEL, takes_type_ids=row.takes_type_ids, device="cpu"
    )
    loaded = LoadedModel(backend=backend, family=row.title, labels=OPINIONS, digest="", self_tests=())
    return Laboratory(model=loaded, policy=STANDARD, kinds=DROPPED), model


def _drop(module: nn.Module) -> None:
    if isinstance(module, nn.Dropout):
        module.train()


def _first_class(subject: Subject) -> float:
    logits = subject.base.logits
    return round(float(1 / (1 + np.exp(logits[1] - logits[0]))), 5)


STUDY: Final = Study(
    name="counterfactual",
    title="What would have changed the decision",
    paper="On the pairs of Kaushik et al. 2020, Learning the Difference that Makes a Difference with "
    "Counterfactually-Augmented Data (arXiv 1909.12434); stability after Attention is Not the Only Choice: "
    "Counterfactual Reasoning for Path-Based Explainable Recommendation (arXiv 2401.05744)",
    question="Do the words whose removal changes the decision, or the words that a map puts first, include those that "
    "people change to turn it round, and do maps stay when nothing but chance changes?",
    data=(DATA,),
    quick_seeds=2,
    full_seeds=2,
    run=run,
)
