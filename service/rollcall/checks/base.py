"""What every check sees, and how a check that asks for rows is written.

A check is a generator: it yields a list of rows, receives their results in the same order, may ask again, and returns
its finding. It knows neither batches nor tensors; whoever drives it may put the rows of several checks into one batch.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

import numpy as np

from rollcall.domain.decision import Decision, probabilities
from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import Bools, Floats, UnitMap
from rollcall.domain.policy import Policy
from rollcall.domain.rows import TEXT_REMOVALS, RemovalOperator, Row, RowResult
from rollcall.domain.verdicts import CheckResult, Scope, Witness

Finding = TypeVar("Finding")
Asking: TypeAlias = Generator[list[Row], list[RowResult], Finding]

NOISE_FACTOR = 4.0
"""Changes below so many numerical floors are no changes."""
OPERATORS = TEXT_REMOVALS.usual
"""Of texts; what may be about images asks its subject."""
WAYS = len(OPERATORS)
"""Ways of removing a unit that decide flags, of any input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is being checked: one input, its untouched row `base` with read-out state, and the question."""

    encoding: Encoding
    decision: Decision
    base: RowResult
    seed: int
    policy: Policy
    scope: Scope = Scope.ALL_LAYERS
    """Which counterfactuals can be made of this model."""
    noise: float = 0.0
    """Numerical floor of the model in its precision, relative: what the same row's numbers may lie apart."""

    @property
    def n(self) -> int:
        """Number of units."""
        return len(self.encoding.units)

    @property
    def operators(self) -> tuple[RemovalOperator, RemovalOperator]:
        """The usual ways to remove a unit of this input."""
        return self.encoding.removals.usual

    @property
    def margin(self) -> float:
        """Margin of the untouched input."""
        return self.decision.margin(self.base.logits)

    @property
    def margin_noise(self) -> float:
        """Log-odds by which a margin must change for the change to be the model's and not its rounding's."""
        return NOISE_FACTOR * self.noise * (1 + abs(self.margin))

    def margins(self, rows: Sequence[RowResult]) -> Floats:
        """Margins [R]."""
        return self.decision.margins(_logits(rows)) if rows else np.zeros(0)

    def flips(self, rows: Sequence[RowResult]) -> Bools:
        """Whether the decision changed [R], by more than rounding."""
        if not rows:
            return np.zeros(0, dtype=np.bool_)
        moved = np.abs(self.margins(rows) - self.margin) > self.margin_noise
        return np.asarray(self.decision.flipped(self.base.logits, _logits(rows)) & moved)

    def probabilities(self, rows: Sequence[RowResult]) -> Floats:
        """Probabilities [R] of what the margin speaks for."""
        if not rows:
            return np.zeros(0)
        found = probabilities(_logits(rows), self.decision.task)[:, self.decision.target]
        return np.asarray(1 - found if self.decision.negated else found)

    def tvd(self, row: RowResult) -> float:
        """Total variation distance to the untouched prediction."""
        return float(self.decision.tvd(self.base.logits, row.logits))

    def same(self, rows: Sequence[RowResult]) -> Bools:
        """Whether the answers [R] are the same: no flip, small TVD, small change of the margin."""
        if not rows:
            return np.zeros(0, dtype=np.bool_)
        base, logits, margin = self.base.logits, _logits(rows), self.margin
        return np.asarray(
            ~self.decision.flipped(base, logits)
            & (self.decision.tvd(base, logits) <= self.policy.same_tvd)
            & (np.abs(self.decision.margins(logits) - margin) <= self.policy.same_margin_share * abs(margin))
        )

    def removal(self, units: tuple[int, ...] | list[int], operator: RemovalOperator) -> Row:
        """Row with `units` removed."""
        return Row(removed=self.selection(units), operator=operator)

    def selection(self, units: tuple[int, ...] | list[int]) -> Bools:
        """Units as a mask [n]."""
        mask = np.zeros(self.n, dtype=np.bool_)
        mask[list(units)] = True
        return mask


def _logits(rows: Sequence[RowResult]) -> Floats:
    """Logits [R, C] of rows."""
    return np.stack([row.logits for row in rows])


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
        return tuple(np.argsort(-self.map.scores, kind="stable").tolist())
