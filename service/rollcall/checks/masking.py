"""Many more removals than a flag needs: what the rule says under each operator, and the nulls of thorough checks.

Every proper subset of the units where there are few, else random ones. Other rows than those that decided the flag.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from rollcall.checks.base import WAYS, Asking, Subject
from rollcall.domain.maps import Bools, Floats
from rollcall.domain.policy import ThoroughPolicy
from rollcall.domain.rows import RemovalOperator, Row
from rollcall.domain.seeds import random_words

_HALF = np.uint64(2**63)
THOROUGH_WAYS = WAYS + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskFinding:
    """Removals [R, n], the operator of each, and what they gave [R]: margins, and probabilities of the target.

    `exhaustive`: every proper subset, each way.
    """

    removed: Bools = field(repr=False)
    operators: tuple[RemovalOperator, ...] = field(repr=False)
    margins: Floats = field(repr=False)
    probabilities: Floats = field(repr=False)
    exhaustive: bool

    def by(self, *operators: RemovalOperator) -> MaskFinding:
        """The part that was removed by some operators."""
        chosen = [i for i, operator in enumerate(self.operators) if operator in operators]
        return MaskFinding(
            removed=self.removed[chosen],
            operators=tuple(self.operators[i] for i in chosen),
            margins=self.margins[chosen],
            probabilities=self.probabilities[chosen],
            exhaustive=self.exhaustive,
        )


def mask_count(n: int, policy: ThoroughPolicy) -> int:
    """How many removals of `n` units there will be, all operators together."""
    subsets: int = THOROUGH_WAYS * (2**n - 2)
    if subsets <= policy.mask_rows:
        return subsets
    return _usual(n, policy) * THOROUGH_WAYS // WAYS


def _usual(n: int, policy: ThoroughPolicy) -> int:
    """Random removals by the usual operators, as many by each."""
    usual = min(policy.masks_per_unit * n, policy.mask_rows * WAYS // THOROUGH_WAYS)
    return usual - usual % WAYS


def mask_rows(subject: Subject, policy: ThoroughPolicy) -> tuple[list[Row], bool]:
    """The removals as rows, and whether they are all proper subsets; none for a single unit."""
    n, removals = subject.n, subject.encoding.removals
    if THOROUGH_WAYS * (2**n - 2) <= policy.mask_rows:
        subsets = [subject.selection(units) for size in range(1, n) for units in combinations(range(n), size)]
        return [Row(removed=units, operator=operator) for units in subsets for operator in removals.every], True
    usual = _usual(n, policy)
    deleted = usual // WAYS
    drawn = np.asarray(random_words(subject.seed, "thorough removals", (usual + deleted, n)) < _HALF)
    operators = removals.usual * deleted + (removals.beside,) * deleted
    return [Row(removed=units, operator=operator) for units, operator in zip(drawn, operators, strict=True)], False


def masking(subject: Subject, policy: ThoroughPolicy) -> Asking[MaskFinding]:
    """Ask for the removals."""
    rows, exhaustive = mask_rows(subject, policy)
    results = (yield rows) if rows else []
    removed = [row.removed for row in rows if row.removed is not None]
    return MaskFinding(
        removed=np.array(removed, dtype=np.bool_).reshape(len(removed), subject.n),
        operators=tuple(row.operator for row in rows),
        margins=subject.margins(results),
        probabilities=subject.probabilities(results),
        exhaustive=exhaustive,
    )
