"""Does rollout or flow tell better than raw attention which words matter? (Abnar and Zuidema 2020)

Twice: over words, as maps are served, and over every token, the special ones included, as the paper's figures seem to
be: over words alone rollout after one layer is raw attention, and the paper's two differ.

Shapes: L layer, T token, n unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Final

import numpy as np
import torch
from scipy.stats import spearmanr

from rollcall.attribution.attention_flow import attention_flow
from rollcall.attribution.input_x_gradient import INPUT, input_x_gradient
from rollcall.attribution.rollout import attention_rollout
from rollcall.attribution.units import to_units, unit_sums
from rollcall.backends.base import CaptureRequest
from rollcall.checks.base import Subject
from rollcall.domain.distances import jensen_shannon, jsd_from_uniform
from rollcall.domain.inputs import Encoding, TextInput, Unit
from rollcall.domain.maps import Floats, MapKind, MapOptions
from rollcall.domain.rows import RemovalOperator
from rollcall.models.loading import load_model
from rollcall.studies.flag.members import member
from rollcall.studies.laboratory import NAME, Bench, Laboratory
from rollcall.studies.papers.abnar_zuidema.report import result
from rollcall.studies.papers.agreement import DATA, agreement_family
from rollcall.studies.papers.frame import Context, Json, Result, Study
from rollcall.verdict.policies import STANDARD

LEAST_UNITS: Final = 4
"""Ranks of fewer words are hardly ranks."""
CHUNK: Final = 50
"""Sentences of one part."""
FULL_SENTENCES, QUICK_SENTENCES = 200, 100
REFERENCES: Final = ("blank-out", "hidden", "gradient")
WORDS, TOKENS = "words", "tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """One sentence: maps [L, n] by name, of the layers up to each; references [n] by name."""

    maps: dict[str, Floats] = field(repr=False)
    references: dict[str, Floats] = field(repr=False)


def run(context: Context) -> Result:
    """Train a model of each seed, and hold its maps against the references on sentences that it has not seen."""
    wanted = QUICK_SENTENCES if context.quick else FULL_SENTENCES
    found: dict[int, Json] = {}
    for seed in context.seeds:
        chunks = [f"seed {seed} sentences {first}" for first in range(0, wanted, CHUNK)]
        opened: list[_Pair] = []

        def make(name: str, seed: int = seed, opened: list[_Pair] = opened) -> Json:
            if not opened:
                opened.append(_Pair.of(context, seed))
            first = int(name.rsplit(" ", 1)[1])
            texts = opened[0].texts[first : min(first + CHUNK, wanted)]
            return {"accuracy": opened[0].accuracy, "sentences": [opened[0].row(text) for text in texts]}

        parts = context.parts(f"abnar-zuidema, seed {seed}", chunks, make)
        found[seed] = {
            "accuracy": parts[chunks[0]]["accuracy"],
            "sentences": [row for part in parts.values() for row in part["sentences"] if row is not None],
            "short": sum(row is None for part in parts.values() for row in part["sentences"]),
        }
    return result(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """A trained model and the same one before its training, with sentences that neither has seen."""

    trained: Laboratory
    untrained: Laboratory
    texts: tuple[TextInput, ...]
    accuracy: float

    @classmethod
    def of(cls, context: Context, seed: int) -> _Pair:
        wanted = QUICK_SENTENCES if context.quick else FULL_SENTENCES
        pair = [
            member(
                agreement_family(quick=context.quick, trained=trained),
                seed=seed,
                inputs=wanted,
                data=context.data / DATA,
                cache=context.models,
            )
            for trained in (True, False)
        ]
        return cls(
            trained=_laboratory(pair[0].directory),
            untrained=_laboratory(pair[1].directory),
            texts=pair[0].texts,
            accuracy=pair[0].accuracy,
        )

    def row(self, text: TextInput) -> Json:
        """What is kept of one sentence; None where it is too short."""
        if len(self.trained.model.backend.encode(text).units) < LEAST_UNITS:
            return None
        bench, before = self.trained.open(text), self.untrained.open(text)
        fused, blank = fused_attention(self.trained, bench.subject), fused_attention(self.untrained, before.subject)
        apart, own = mixing(fused)
        scopes = {WORDS: bench.subject.encoding, TOKENS: every_token(bench.subject.encoding)}
        seen = {
            scope: look(replace(bench, subject=replace(bench.subject, encoding=encoding), done={}), fused)
            for scope, encoding in scopes.items()
        }
        words = seen[WORDS]
        return {
            "units": bench.subject.n,
            "agreement": {
                scope: {
                    name: {reference: _by_layer(maps, seen[scope].references[reference]) for reference in REFERENCES}
                    for name, maps in (
                        seen[scope].maps | controls(encoding, rollout_by_layer(blank, encoding)[-1:])
                    ).items()
                }
                for scope, encoding in scopes.items()
            },
            "references": {
                f"{one} and {other}": agreement(words.references[one], words.references[other])
                for one, other in combinations(REFERENCES, 2)
            },
            "from_uniform": {name: _rounded(jsd_from_uniform(maps)) for name, maps in words.maps.items()},
            "apart": _rounded(apart),
            "own": _rounded(own),
            "first_layer_gap": float(np.abs(words.maps["flow"][0] - words.maps["rollout"][0]).max()),
        }


def _laboratory(directory: Path) -> Laboratory:
    return Laboratory(model=load_model(directory), policy=STANDARD, kinds=(MapKind.RAW_ATTENTION,))


def every_token(encoding: Encoding) -> Encoding:
    """The same input with every token a unit of its own, the special ones, too."""
    units = tuple(
        Unit(text="", token_start=at, token_end=at + 1, char_start=0, char_end=0, segment=0)
        for at in range(encoding.length)
    )
    return replace(encoding, unit_of_token=np.arange(encoding.length), units=units)


def controls(encoding: Encoding, untrained: Floats) -> dict[str, Floats]:
    """Maps [1, n] that know nothing of what the model learned."""
    return {"nearness": np.arange(1.0, len(encoding.units) + 1)[None], "untrained": untrained}


def look(bench: Bench, fused: Floats) -> Looked:
    """The maps of one sentence by layer, and how much each unit matters to the decision."""
    subject, encoding = bench.subject, bench.subject.encoding
    probability = subject.probabilities([subject.base])[0]
    references = {}
    for name, operator in zip(REFERENCES, (RemovalOperator.MASK_TOKEN, RemovalOperator.HIDDEN_KEYS), strict=False):
        results = bench.run([subject.removal((unit,), operator) for unit in range(subject.n)])
        references[name] = np.abs(subject.probabilities(results) - probability)
    _, at = bench.laboratory.engine.path_gradients(NAME, encoding, subject.decision, INPUT)
    references["gradient"] = np.abs(unit_sums(input_x_gradient(at), encoding))
    return Looked(
        maps={
            "raw": raw_by_layer(fused, encoding),
            "rollout": rollout_by_layer(fused, encoding),
            "flow": flow_by_layer(fused, encoding),
        },
        references=references,
    )


def fused_attention(laboratory: Laboratory, subject: Subject) -> Floats:
    """Attention of every layer, mean over heads [L, T, T]."""
    request = CaptureRequest(
        maps=frozenset({MapKind.ATTENTION_FLOW}),
        options=MapOptions(),
        decide=lambda _: subject.decision,
        attention=None,
    )
    layers = laboratory.engine.capture(NAME, subject.encoding, request).layers
    assert layers is not None
    return layers


def raw_by_layer(fused: Floats, encoding: Encoding) -> Floats:
    """The read-out's own attention in each layer [L, n]."""
    return np.stack([to_units(layer[0], encoding)[0] for layer in fused])


def rollout_by_layer(fused: Floats, encoding: Encoding) -> Floats:
    """Rollout of the layers up to each [L, n]."""
    return np.stack([to_units(_rollout(fused[: top + 1], 0), encoding)[0] for top in range(len(fused))])


def flow_by_layer(fused: Floats, encoding: Encoding) -> Floats:
    """Flow through the layers up to each [L, n]."""
    flows = [attention_flow(fused[: top + 1], encoding, 0, 0, lambda: False) for top in range(len(fused))]
    assert all(flow is not None for flow in flows)
    return np.stack([flow.units / flow.units.sum() for flow in flows if flow is not None])


def mixing(fused: Floats) -> tuple[Floats, Floats]:
    """How far apart the positions' rollouts are after each layer [L], nats, and how much of each is its own token [L].

    Every position begins as its own token alone, ln 2 from any other; once all hold the same mixture they are 0 apart.
    """
    tokens = fused.shape[-1]
    apart, own = [], []
    for top in range(len(fused)):
        rows = np.stack([_rollout(fused[: top + 1], position) for position in range(tokens)])
        between = jensen_shannon(rows[:, None], rows[None])
        apart.append(between.sum() / (tokens * (tokens - 1)))
        own.append(rows.diagonal().mean())
    return np.array(apart), np.array(own)


def _rollout(fused: Floats, readout: int) -> Floats:
    layers = [torch.from_numpy(layer).unsqueeze(0) for layer in fused]
    return np.asarray(attention_rollout(layers, readout)[0].numpy(), dtype=np.float64)


def agreement(weights: Floats, reference: Floats) -> float | None:
    """Spearman's correlation, ties by mean rank; None where either is constant, and so has no order."""
    if not (np.ptp(weights) > 0 and np.ptp(reference) > 0):
        return None
    return round(float(spearmanr(weights, reference).statistic), 4)


def _by_layer(maps: Floats, reference: Floats) -> list[float | None]:
    return [agreement(weights, reference) for weights in maps]


def _rounded(values: Sequence[float] | Floats) -> list[float]:
    return [round(float(value), 5) for value in values]


STUDY: Final = Study(
    name="abnar-zuidema",
    title="Attention after mixing: rollout and flow",
    paper="Abnar and Zuidema 2020, Quantifying Attention Flow in Transformers (arXiv 2005.00928)",
    question="In a transformer of several layers, which words does the attention of a layer point to?",
    data=(DATA,),
    quick_seeds=1,
    full_seeds=2,
    run=run,
)
