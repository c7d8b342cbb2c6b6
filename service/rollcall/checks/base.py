"""What every check sees, and how a check that asks for rows is written.

A check is a generator: it yields a list of rows, receives their results in the same order, may ask again, and returns
its finding. It knows neither batches nor tensors; whoever drives it may put the rows of several checks into one batch.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

import numpy as np

from rollcall.domain.decision import Decision
from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import Bools, Floats, UnitMap
from rollcall.domain.policy import Policy
from rollcall.domain.rows import RemovalOperator, Row, RowResult
from rollcall.domain.verdicts import CheckResult, Witness

Finding = TypeVar("Finding")
Asking: TypeAlias = Generator[list[Row], list[RowResult], Finding]

OPERATORS = (RemovalOperator.MASK_TOKEN, RemovalOperator.HIDDEN_KEYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is being checked: one input, its untouched row `base` with read-out state, and the question."""

    encoding: Encoding
    decision: Decision
    base: RowResult
    seed: int
    policy: Policy

    @property
    def n(self) -> int:
        """Number of units."""
        return len(self.encoding.units)

    @property
    def margin(self) -> float:
        """Margin of the untouched input."""
        return self.decision.margin(self.base.logits)

    def flips(self, row: RowResult) -> bool:
        """Whether the decision changed."""
        return self.decision.flipped(self.base.logits, row.logits)

    def tvd(self, row: RowResult) -> float:
        """Total variation distance to the untouched prediction."""
        return self.decision.tvd(self.base.logits, row.logits)

    def same(self, row: RowResult) -> bool:
        """Whether the answer is the same: no flip, small TVD, small change of the margin."""
        change = abs(self.decision.margin(row.logits) - self.margin)
        return (
            not self.flips(row)
            and self.tvd(row) <= self.policy.same_tvd
            and change <= self.policy.same_margin_share * abs(self.margin)
        )

    def removal(self, units: tuple[int, ...] | list[int], operator: RemovalOperator) -> Row:
        """Row with `units` removed."""
        return Row(removed=self.selection(units), operator=operator)

    def selection(self, units: tuple[int, ...] | list[int]) -> Bools:
        """Units as a mask [n]."""
        mask = np.zeros(self.n, dtype=np.bool_)
        mask[list(units)] = True
        return mask


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessFinding:
    """What a witness check found for one map."""

    result: CheckResult
    witness: Witness | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessSubject:
    """A map with the estimated effects [n] of the units, for the witness checks."""

    subject: Subject
    map: UnitMap
    effects: Floats = field(repr=False)

    @property
    def ranked(self) -> tuple[int, ...]:
        """Units from the largest weight to the smallest; ties in reading order."""
        return tuple(int(i) for i in np.argsort(-self.map.scores, kind="stable"))
