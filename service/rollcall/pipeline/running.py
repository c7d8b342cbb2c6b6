"""Rows and searches that one explanation has run: within its budget, told to whoever waits, and in their turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from rollcall.admission.backlog import Backlog
from rollcall.admission.budget import Budget
from rollcall.domain.compute import Compute, Job, Search
from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import Floats, MapOptions
from rollcall.domain.rows import Row, RowResult
from rollcall.pipeline.lockstep import OutOfBudgetError
from rollcall.pipeline.progress import Reporter


@dataclass(slots=True, kw_only=True)
class Runner:
    """Runs for one job. `usual` is the kind of explanations whose usual number of rows is remembered."""

    compute: Compute
    backlog: Backlog
    clock: Callable[[], float]
    job: Job
    model: str
    encoding: Encoding = field(repr=False)
    options: MapOptions
    budget: Budget
    usual: str
    usual_rows: int
    """Of an explanation that is decided late, before which a job that stands back has this many left."""
    reporter: Reporter
    pace: float = 0.0
    """Seconds of a row, as the steps of searches so far went."""

    async def run(self, rows: list[Row]) -> list[RowResult]:
        """Run rows, and spend them."""
        results = await self.compute.run(self.job, self.model, self.encoding, rows, self.options)
        self.budget.spend(len(rows))
        self.job.rows_left = self.backlog.rows_left(self.usual, self.budget.rows, self.budget.max_rows)
        self.reporter.ran(self.budget.rows)
        return results

    async def run_patiently(self, rows: list[Row]) -> list[RowResult]:
        """Run rows that only wait from when they are asked for, and let ordinary explanations go first."""
        self._stand_back()
        return await self.run(rows)

    async def search(self, wanted: Search) -> list[Floats]:
        """Search patiently; raises OutOfBudgetError where it takes longer than was expected when it began."""
        started, before = self.clock(), self.budget.rows

        def check(rows: int) -> None:
            if not self.budget.affords(rows, seconds=self.pace * rows):
                raise OutOfBudgetError

        def stepped(rows: int) -> None:
            self._stand_back()
            self.budget.spend(rows)
            self.reporter.ran(self.budget.rows)
            done = self.budget.rows - before
            self.pace = (self.clock() - started) / done
            if done < wanted.rows:
                check(rows)

        check(wanted.rows)
        self._stand_back()
        return await self.compute.search(self.job, self.model, self.encoding, wanted, self.options, stepped)

    def _stand_back(self) -> None:
        """Let ordinary explanations go first: neither a long job's age nor its end being near puts it before them."""
        self.job.arrived = self.clock()
        self.job.rows_left = max(self.job.rows_left, self.usual_rows)
