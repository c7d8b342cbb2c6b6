"""Checks in lockstep: shared batches, answers that find their way, failures that stay where they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from rollcall.checks.base import Asking
from rollcall.domain.errors import BackendError, DeviceMemory
from rollcall.domain.rows import Row, RowResult
from rollcall.pipeline.lockstep import OutOfBudgetError, plain, run_together


@dataclass(kw_only=True)
class Echo:
    """Answers each row with its seed, and remembers the batches."""

    batches: list[list[int]] = field(default_factory=list)
    failing: Callable[[int], Exception | None] = lambda _: None
    spoilt: frozenset[int] = frozenset()

    async def __call__(self, rows: list[Row]) -> list[RowResult]:
        """Run one batch."""
        self.batches.append([row.seed for row in rows])
        error = self.failing(len(self.batches))
        if error is not None:
            raise error
        return [RowResult(logits=np.array([np.nan if row.seed in self.spoilt else row.seed])) for row in rows]


def asking(*steps: list[int]) -> Asking[list[list[float]]]:
    """Ask for rows with these seeds, step by step; find their answers."""
    found = []
    for seeds in steps:
        results = yield [Row(seed=seed) for seed in seeds]
        found.append([float(result.logits[0]) for result in results])
    return found


def crashing(seeds: list[int]) -> Asking[None]:
    """Ask once, and crash on the answer."""
    yield [Row(seed=seed) for seed in seeds]
    raise ZeroDivisionError


async def test_checks_share_batches_and_get_their_own_answers() -> None:
    """Rows of all checks of a step run as one batch; each check hears of its own, for as many steps as it likes."""
    echo = Echo()
    found, finite = await run_together(
        echo, {"a": asking([1, 2], [3], [4]), "b": asking([10], [11, 12]), "c": asking()}
    )
    assert found == {"a": [[1, 2], [3], [4]], "b": [[10], [11, 12]], "c": []}
    assert echo.batches == [[1, 2, 10], [3, 11, 12], [4]]
    assert finite


async def test_a_crash_stays_within_its_check() -> None:
    """A check that crashes, at once or on its answer, leaves its error, and the others theirs."""

    def stillborn() -> Asking[None]:
        raise KeyError
        yield []

    echo = Echo()
    found, _ = await run_together(echo, {"a": crashing([1]), "b": asking([2], [3]), "c": stillborn()})
    assert isinstance(found["a"], ZeroDivisionError)
    assert isinstance(found["c"], KeyError)
    assert found["b"] == [[2], [3]]
    assert echo.batches == [[1, 2], [3]]


@pytest.mark.parametrize("error", [BackendError("failed"), DeviceMemory("too small")])
async def test_a_failing_batch_is_the_finding_of_those_who_waited(error: Exception) -> None:
    """A device that fails takes those with it whose rows were in the batch; what was found before stays found."""
    echo = Echo(failing=lambda batch: error if batch == 2 else None)
    found, _ = await run_together(echo, {"a": asking([1]), "b": asking([2], [3]), "c": asking([4], [5])})
    assert found == {"a": [[1]], "b": error, "c": error}


async def test_bugs_and_cancellations_are_not_swallowed() -> None:
    """What is neither a check's nor the device's failure goes up to whoever asked."""
    with pytest.raises(RuntimeError, match="bug"):
        await run_together(Echo(failing=lambda _: RuntimeError("bug")), {"a": asking([1])})


async def test_checks_that_cannot_be_afforded_are_closed() -> None:
    """Rows are allowed in the order of the checks as far as the budget goes; who is refused is told, and cleaned up."""
    closed = []

    def careful() -> Asking[None]:
        try:
            yield [Row(seed=seed) for seed in range(5)]
        finally:
            closed.append(True)

    echo = Echo()
    found, _ = await run_together(
        echo, {"a": asking([1, 2, 3]), "b": careful(), "c": asking([4], [5, 6])}, affords=lambda rows: rows <= 4
    )
    assert found["a"] == [[1, 2, 3]]
    assert isinstance(found["b"], OutOfBudgetError)
    assert found["c"] == [[4], [5, 6]]
    assert closed == [True]
    assert echo.batches == [[1, 2, 3, 4], [5, 6]]


async def test_nothing_affordable_runs_nothing() -> None:
    """Without a budget the device is left alone."""
    echo = Echo()
    found, finite = await run_together(echo, {"a": asking([1])}, affords=lambda _: False)
    assert isinstance(found["a"], OutOfBudgetError)
    assert finite
    assert echo.batches == []


async def test_values_that_are_not_numbers_are_seen() -> None:
    """Rows that are not numbers are reported; a check that must not see them gets an error instead."""
    spoilt = frozenset({2})
    seen, finite = await run_together(Echo(spoilt=spoilt), {"a": asking([1]), "b": asking([2])})
    assert seen["a"] == [[1]]
    assert np.isnan(seen["b"][0][0])
    assert not finite
    kept, finite = await run_together(Echo(spoilt=spoilt), {"a": asking([1]), "b": asking([2])}, finite_only=True)
    assert kept["a"] == [[1]]
    assert isinstance(kept["b"], FloatingPointError)
    assert not finite


async def test_crashes_are_logged_by_name(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever runs the service finds out which check crashed, and that a batch was lost."""
    await run_together(Echo(), {"a": crashing([1]), "b": asking([2])})
    await run_together(Echo(failing=lambda _: BackendError("failed")), {"a": asking([1])})
    assert [record.getMessage() for record in caplog.records] == ["check_crashed", "checks_lost_their_batch"]


async def test_who_runs_the_rows_may_give_up() -> None:
    """Rows that turn out not to be affordable while they run end all checks that asked for them, and none crashed."""

    async def give_up(_: list[Row]) -> list[RowResult]:
        raise OutOfBudgetError

    found, finite = await run_together(give_up, {"a": plain([Row()]), "b": plain([Row()])})
    assert all(isinstance(each, OutOfBudgetError) for each in found.values())
    assert finite
