"""Honest and deceptive twin side by side, by the map that deceives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from rollcall.domain.maps import MapKind
from rollcall.domain.verdicts import CheckKind, Flag
from rollcall.studies.papers.frame import Json
from rollcall.studies.papers.intervals import Auroc, auroc_of
from rollcall.studies.papers.pruthi.twins import HIDDEN_FROM

Found: TypeAlias = Mapping[str, Mapping[str, Mapping[int, Json]]]
"""By task, twin and seed: accuracy, facts, and what every check said of every map of every input."""

ALIGNMENT: Final = "alignment alignment"
SWAPS: Final = (
    "rewiring_scopes same_answer_lower_bound_last_readout_row",
    "rewiring_scopes same_answer_lower_bound_readout_rows",
    "rewiring_scopes same_answer_lower_bound_all_rows",
)
WITNESSED: Final = (CheckKind.OMISSION, CheckKind.CONTRADICTION, CheckKind.SUPPORT)
OMISSION: Final = f"{CheckKind.OMISSION.value} witness"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """The map that a twin was trained to mislead, on the honest and on the deceptive twin: the same inputs.

    `scores`: by check, its values on both, and how well they tell the twins apart; 0.5 is not at all.
    """

    task: str
    twin: str
    kind: MapKind
    honest: Sequence[Mapping[str, Any]] = field(repr=False)
    deceptive: Sequence[Mapping[str, Any]] = field(repr=False)
    scores: Mapping[str, Auroc]

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.task}, {self.twin}"

    def called(self, flag: Flag, *, honest: bool) -> float:
        """Share of the inputs whose map got this flag."""
        maps = self.honest if honest else self.deceptive
        return sum(bool(one["flag"] == flag.value) for one in maps) / len(maps)

    def swap(self) -> float:
        """How well the best of the swaps of attention tells the twins apart: "unchanged" counts against the map.

        0.5 where all swaps say the same of both.
        """
        return max((1.0 - self.scores[name].value for name in SWAPS if name in self.scores), default=0.5)


def contrast_of(task: str, twin: str, honest: Mapping[int, Json], deceptive: Mapping[int, Json]) -> Contrast:
    """Put every input's checks of both twins side by side."""
    kind = HIDDEN_FROM[twin]
    pairs = [
        (one[kind.value], other[kind.value], f"{seed}/{number}")
        for seed, found in honest.items()
        for number, (one, other) in enumerate(zip(found["inputs"], deceptive[seed]["inputs"], strict=True))
    ]
    own, theirs = [one for one, _, _ in pairs], [other for _, other, _ in pairs]
    names = list(dict.fromkeys(name for one in (*own, *theirs) for name in one["checks"]))
    values = {name: ([_value(one, name) for one in own], [_value(one, name) for one in theirs]) for name in names}
    for witness in WITNESSED:
        values[f"{witness.value} witness"] = (
            [float(witness.value in one["witnesses"]) for one in own],
            [float(witness.value in one["witnesses"]) for one in theirs],
        )
    scores = {name: auroc_of(*both) for name, both in values.items()}
    return Contrast(
        task=task,
        twin=twin,
        kind=kind,
        honest=own,
        deceptive=theirs,
        scores={name: score for name, score in scores.items() if score is not None},
    )


def _value(found: Mapping[str, Any], name: str) -> float | None:
    value: float | None = found["checks"].get(name, {}).get("value")
    return value
