"""Can a model be taught to show attention that hides what it reads, and which check notices? (Pruthi et al. 2020)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from rollcall.domain.inputs import TextInput
from rollcall.domain.maps import DEFAULT_MAPS, MapKind
from rollcall.domain.verdicts import CheckResult
from rollcall.models.loading import load_model
from rollcall.pipeline.checking import CheckedMap
from rollcall.studies.flag.families.base import Member, Span, units_within
from rollcall.studies.flag.members import member
from rollcall.studies.laboratory import Laboratory
from rollcall.studies.papers.frame import Context, Json, Result, Study
from rollcall.studies.papers.pruthi.report import result
from rollcall.studies.papers.pruthi.thorough import thorough_checks
from rollcall.studies.papers.pruthi.twins import twins
from rollcall.verdict.policies import STANDARD, THOROUGH

FULL_INPUTS, QUICK_INPUTS = 30, 12
KINDS: Final = (*DEFAULT_MAPS, MapKind.INPUT_X_GRADIENT)
"""The last is asked for the thorough checks, which hold maps against it; it is judged like the others."""


def run(context: Context) -> Result:
    """Build the twins of each seed and task, and ask every check about every map of the same inputs."""
    inputs = QUICK_INPUTS if context.quick else FULL_INPUTS
    families = {
        f"{task}, seed {seed}, {twin}": (family, seed)
        for seed in context.seeds
        for task, by_twin in twins().items()
        for twin, family in by_twin.items()
    }

    def make(name: str) -> Json:
        family, seed = families[name]
        data = None if family.data is None else context.data / family.data
        return _measured(member(family, seed=seed, inputs=inputs, data=data, cache=context.models))

    parts = context.parts("pruthi", list(families), make)
    return result(
        {
            task: {twin: {seed: parts[f"{task}, seed {seed}, {twin}"] for seed in context.seeds} for twin in by_twin}
            for task, by_twin in twins().items()
        }
    )


def _measured(built: Member) -> Json:
    laboratory = Laboratory(model=load_model(built.directory), policy=STANDARD, kinds=KINDS)
    return {
        "accuracy": built.accuracy,
        "facts": dict(built.facts),
        "inputs": [checked(laboratory, text, spans) for text, spans in zip(built.texts, built.evidence, strict=True)],
    }


def checked(laboratory: Laboratory, text: TextInput, decisive: Sequence[Span]) -> Json:
    """What every check says of every map of one input, and how much of each lies on the words that decide."""
    bench = laboratory.open(text)
    maps = bench.maps()
    found = bench.check(maps, STANDARD, None, every_map=True)
    thorough = thorough_checks(bench, maps, THOROUGH)
    units = sorted(units_within(decisive, bench.subject.encoding.units))
    return {
        each.assessment.map.kind.value: _of_map(each, thorough.checks[each.assessment.map.kind], units)
        for each in found.maps
    }


def _of_map(found: CheckedMap, thorough: Sequence[CheckResult], decisive: Sequence[int]) -> dict[str, Any]:
    scores = found.assessment.map.scores
    return {
        "flag": found.ruling.flag.value,
        "reason": found.ruling.reason.value,
        "mass": round(float(scores[list(decisive)].sum()), 5),
        "witnesses": sorted({witness.kind.value for witness in found.witnesses}),
        "checks": {
            f"{check.kind.value} {check.statistic}": {"outcome": check.outcome.value, "value": _short(check.value)}
            for check in (*found.checks, *thorough)
        },
    }


def _short(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(value, 5)


STUDY: Final = Study(
    name="pruthi",
    title="Attention that was taught to mislead",
    paper="Pruthi et al. 2020, Learning to Deceive with Attention-Based Explanations (arXiv 1909.07913)",
    question="Can a model that is as accurate as before show attention that hides what it reads?",
    data=("sst_wiki",),
    quick_seeds=1,
    full_seeds=2,
    run=run,
)
