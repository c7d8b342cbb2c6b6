"""The cases of all models, grouped by task and kind of model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np

from rollcall.studies.papers.intervals import Mean, mean_of

BINS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
TASKS: Final = {"sst2": "SST-2", "ag_news": "AG News", "sst_wiki": "SST+Wiki", "imdb": "IMDb"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One model's cases."""

    task: str
    kind: str
    seed: int
    accuracy: float
    cases: list[dict[str, Any]] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """All models of a kind on a task."""

    task: str
    kind: str
    models: list[Found]

    @property
    def cases(self) -> list[dict[str, Any]]:
        """Of all models."""
        return [case for model in self.models for case in model.cases]

    @property
    def setting(self) -> str:
        """For a row of the table."""
        accuracy = np.mean([model.accuracy for model in self.models])
        models = f"{len(self.models)} models" if len(self.models) > 1 else "1 model"
        return f"{TASKS[self.task]}, {self.kind}, {models}, accuracy {accuracy:.3f}, {len(self.cases)} cases"

    def tau(self, name: str) -> Mean | None:
        """Of one pair of methods."""
        known = [case for case in self.cases if case["taus"].get(name)]
        if not known:
            return None
        return mean_of([case["taus"][name][0] for case in known], [case["input"] for case in known])

    def lead(self, name: str, other: str) -> Mean:
        """How much larger the tau of one pair of methods is than another's, on the same inputs."""
        known = [case for case in self.cases if case["taus"].get(name) and case["taus"].get(other)]
        leads = [case["taus"][name][0] - case["taus"][other][0] for case in known]
        return mean_of(leads, [case["input"] for case in known])

    def furthest(self, tolerance: str) -> list[float]:
        """JSD of the most different attention with the same prediction, of every case."""
        return [case["furthest"][tolerance] for case in self.cases]

    def changes(self, predicted: int | None = None) -> list[float | None]:
        """Median over cases of the median change under permutation, by bin of the largest weight."""
        return [
            _median(
                [
                    case["median_change"]
                    for case in self.cases
                    if low <= case["largest"] < high + (high == BINS[-1]) and predicted in {None, case["predicted"]}
                ]
            )
            for low, high in pairwise(BINS)
        ]


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


def grouped(found: Sequence[Found]) -> list[Group]:
    """By task and kind, in the order in which they come."""
    keys = dict.fromkeys((model.task, model.kind) for model in found)
    return [
        Group(task=task, kind=kind, models=[one for one in found if (one.task, one.kind) == (task, kind)])
        for task, kind in keys
    ]
