"""Shared answers: who waits for whom, who may leave, and when an answer is worked out again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from rollcall.domain.errors import BackendError, DeadlineTooShort, Overloaded
from rollcall.pipeline.coalesce import InFlight


class Work:
    """Answers with its number once it is let go."""

    def __init__(self, error: Exception | None = None) -> None:
        """With an error it fails instead, the first time."""
        self.started = 0
        self.cancelled = 0
        self.error_of = {} if error is None else {1: error}
        self.let_go = asyncio.Event()

    def __call__(self) -> Awaitable[int]:
        """Start."""
        self.started += 1
        return self._run(self.started)

    async def _run(self, number: int) -> int:
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if number in self.error_of:
            raise self.error_of[number]
        return number


def asking(
    flights: InFlight[int],
    work: Work,
    question: str = "q",
    deadline: float | None = None,
    too_early: Callable[[int], bool] = lambda _: False,
) -> asyncio.Task[tuple[int, bool]]:
    """Ask."""
    return asyncio.create_task(flights.share(question, deadline, work, too_early))


async def settle() -> None:
    """Let everybody get as far as they can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_same_question_is_worked_out_once() -> None:
    """All who ask the same while it is being worked out get that answer; later ones ask anew."""
    flights, work = InFlight[int](), Work()
    tasks = [asking(flights, work) for _ in range(3)] + [asking(flights, work, "other")]
    await settle()
    work.let_go.set()
    assert await asyncio.gather(*tasks) == [(1, False), (1, True), (1, True), (2, False)]
    assert flights.joined == 2
    assert flights.flights == {}
    assert await asking(flights, work) == (3, False)


@pytest.mark.parametrize(
    ("first", "second", "joins"),
    [(None, None, True), (5.0, 6.0, True), (5.0, 5.0, True), (5.0, None, True), (6.0, 5.0, False), (None, 5.0, False)],
)
async def test_nobody_waits_for_one_with_more_time(first: float | None, second: float | None, joins: bool) -> None:  # noqa: FBT001 - a parameter
    """Only who has at least as much time as the first may wait for its answer."""
    flights, work = InFlight[int](), Work()
    tasks = [asking(flights, work, deadline=first), asking(flights, work, deadline=second)]
    await settle()
    work.let_go.set()
    assert [shared for _, shared in await asyncio.gather(*tasks)] == [False, joins]
    assert work.started == 2 - joins
    assert flights.flights == {}


async def test_an_answer_cut_short_is_worked_out_again_for_who_has_time() -> None:
    """The first caller's lack of time is not the second one's."""
    flights, work = InFlight[int](), Work()
    tasks = [asking(flights, work, deadline=d, too_early=lambda number: number == 1) for d in (5.0, 9.0)]
    await settle()
    work.let_go.set()
    assert await asyncio.gather(*tasks) == [(1, False), (2, False)]
    flights, work = InFlight[int](), Work(error=DeadlineTooShort("late"))
    tasks = [asking(flights, work, deadline=d) for d in (5.0, 9.0)]
    await settle()
    work.let_go.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(found[0], DeadlineTooShort)
    assert found[1] == (2, False)


async def test_an_early_answer_is_better_than_none() -> None:
    """Who has a little more time than the first, and none left for an attempt of their own, gets what there is."""
    flights, work = InFlight[int](), Work()
    tasks = [asking(flights, work, deadline=d, too_early=lambda number: number == 1) for d in (5.0, 5.1)]
    await settle()
    work.error_of = {2: DeadlineTooShort("no time")}
    work.let_go.set()
    assert await asyncio.gather(*tasks) == [(1, False), (1, True)]
    assert flights.flights == {}


@pytest.mark.parametrize(("second", "refused"), [(5.0, True), (60.0, False)])
async def test_a_wait_too_long_for_the_first_may_do_for_the_second(second: float, refused: bool) -> None:  # noqa: FBT001 - a parameter
    """Refused for its deadline, the first takes along those with the same one, and nobody with more time."""
    flights, work = InFlight[int](), Work(error=Overloaded("too much is waiting"))
    tasks = [asking(flights, work, deadline=d) for d in (5.0, second)]
    await settle()
    work.let_go.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(found[0], Overloaded)
    assert isinstance(found[1], Overloaded) if refused else found[1] == (2, False)


async def test_a_failure_is_everybodys() -> None:
    """What fails once would fail again: all who wait are told."""
    flights, work = InFlight[int](), Work(error=BackendError("failed"))
    tasks = [asking(flights, work) for _ in range(2)]
    await settle()
    work.let_go.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in found] == [BackendError, BackendError]
    assert flights.flights == {}


@pytest.mark.parametrize("leaver", [0, 1])
async def test_who_leaves_takes_nothing_from_the_others(leaver: int) -> None:
    """First or second, one may leave: the other one gets the answer."""
    flights, work = InFlight[int](), Work()
    tasks = [asking(flights, work) for _ in range(2)]
    await settle()
    tasks[leaver].cancel()
    await settle()
    assert work.cancelled == 0
    work.let_go.set()
    assert (await tasks[1 - leaver])[0] == 1
    assert flights.flights == {}


async def test_when_all_have_left_the_work_stops() -> None:
    """Nobody's work is not done; the next one to ask starts anew."""
    flights, work = InFlight[int](), Work()
    tasks = [asking(flights, work) for _ in range(2)]
    await settle()
    for task in tasks:
        task.cancel()
    await settle()
    assert (work.started, work.cancelled) == (1, 1)
    assert flights.flights == {}
    work.let_go.set()
    assert await asking(flights, work) == (2, False)
