"""Maps that are made of rows of their own. These rows never judge any map."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from rollcall.admission.budget import Budget, Cut
from rollcall.attribution.leave_one_out import leave_one_out, leave_one_out_rows
from rollcall.checks.base import WAYS, Subject
from rollcall.domain.maps import MapKind, MissingMap, UnitMap
from rollcall.pipeline.lockstep import RunRows
from rollcall.pipeline.stopwatch import Stopwatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Maps made of `rows` rows, and those for which rows or time did not suffice."""

    maps: tuple[UnitMap, ...] = ()
    missing: tuple[MissingMap, ...] = ()
    rows: int = 0


def rows_of_maps(kinds: Collection[MapKind], n: int) -> int:
    """Rows that the maps of `n` units take by themselves."""
    return WAYS * n if MapKind.LEAVE_ONE_OUT in kinds else 0


async def measure_maps(
    kinds: Collection[MapKind], subject: Subject, budget: Budget, run: RunRows, stopwatch: Stopwatch
) -> Measured:
    """Make those of `kinds` that are made of rows; raises what running them raises."""
    count = rows_of_maps(kinds, subject.n)
    if not count:
        return Measured()
    refused = budget.refuses(count)
    if refused is not None:
        why = "there was no time for it" if refused is Cut.DEADLINE else "max_rows does not allow it"
        reason = f"it takes {count} rows, two for each unit, and {why}."
        late = refused is Cut.DEADLINE
        return Measured(missing=(MissingMap(kind=MapKind.LEAVE_ONE_OUT, reason=reason, late=late),))
    with stopwatch.stage("capture"):
        results = await run(leave_one_out_rows(subject))
    return Measured(maps=(leave_one_out(subject, results),), rows=count)
