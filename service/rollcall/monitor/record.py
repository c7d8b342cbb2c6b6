"""The record of one model: what its answers came to, and what checking some of them again found. Pure.

A record belongs to one set of weights in one precision under one calibration. With any of them changed it starts anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rollcall.domain.maps import MapKind
from rollcall.domain.model import ModelCard
from rollcall.domain.verdicts import Flag
from rollcall.monitor.pooled import Pooled
from rollcall.monitor.tally import Tally

WINDOW = 1_000
"""Answers that the promise is held against, the latest ones: many more would hide what has lately changed."""
DECIDED = (Flag.FAITHFUL, Flag.UNFAITHFUL)
"""Flags that can be wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a record is about; `calibration` is an id, or NONE or FAILED."""

    digest: str
    dtype: str
    calibration: str

    @classmethod
    def of(cls, card: ModelCard) -> Identity:
        """The identity of a model as it is served."""
        return cls(digest=card.ref.digest, dtype=card.ref.dtype, calibration=card.calibration.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer under the promise, checked again: when it was given (Unix seconds), and whether it was wrong."""

    at: int
    wrong: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MapRecord:
    """One map: pooled over requests, and by flag how many were checked again."""

    pooled: Pooled = field(default_factory=Pooled)
    rechecked: Mapping[Flag, Tally] = field(default_factory=dict)

    def tally(self, flag: Flag) -> Tally:
        """What checking again found about a flag."""
        return self.rechecked.get(flag, Tally())


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """All about one model since `since` (Unix seconds). `answers` are the latest ones under the promise, in order."""

    identity: Identity
    since: int
    maps: Mapping[MapKind, MapRecord] = field(default_factory=dict)
    answers: tuple[Answer, ...] = field(default=(), repr=False)

    def map(self, kind: MapKind) -> MapRecord:
        """The record of one map."""
        return self.maps.get(kind, MapRecord())

    @property
    def promised(self) -> Tally:
        """The latest answers under the promise."""
        return Tally(checked=len(self.answers), wrong=sum(answer.wrong for answer in self.answers))

    def breaks(self, alpha: float | None) -> bool:
        """Whether more than `alpha` of the answers are wrong beyond what chance explains; never without a promise."""
        return alpha is not None and self.promised.lower_limit > alpha

    def pooling(self, kind: MapKind, flag: Flag, alignment: float | None, p_up: float | None) -> ModelRecord:
        """With one more request pooled for a map."""
        found = self.map(kind)
        return self._with(kind, replace(found, pooled=found.pooled.after(flag, alignment, p_up)))

    def rechecking(self, kind: MapKind, flag: Flag, *, wrong: bool) -> ModelRecord:
        """With one more flag of a map that was checked again."""
        found = self.map(kind)
        return self._with(
            kind, replace(found, rechecked={**found.rechecked, flag: found.tally(flag).after(wrong=wrong)})
        )

    def answering(self, answer: Answer) -> ModelRecord:
        """With one more answer under the promise; the oldest beyond WINDOW is forgotten."""
        return replace(self, answers=(*self.answers, answer)[-WINDOW:])

    def _with(self, kind: MapKind, found: MapRecord) -> ModelRecord:
        return replace(self, maps={**self.maps, kind: found})
