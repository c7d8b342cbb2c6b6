"""How far an explanation is, told to whoever waits for it."""

from __future__ import annotations

import asyncio

import pytest

from rollcall.domain.explanation import Progress
from rollcall.domain.verdicts import CheckLevel
from rollcall.pipeline.progress import Board, Reporter
from tests.harness import ask
from tests.unit.pipeline.fakes import TEXT, SumModel, pipeline_of


async def test_rows_are_told_as_they_run() -> None:
    """Stages in order, rows that only grow, and never more than planned; the last are the answer's."""
    heard: list[Progress] = []
    found = await pipeline_of(SumModel()).explain(ask(TEXT, check_level=CheckLevel.THOROUGH), heard.append)
    assert list(dict.fromkeys(each.stage for each in heard)) == ["capture", "look", "thorough"]
    rows = [each.rows for each in heard]
    assert rows == sorted(rows)
    assert rows[-1] == found.rows
    assert all(each.rows <= each.planned_rows for each in heard)
    # Far enough ahead of the end that a bar means something.
    assert heard[-1].planned_rows == heard[0].planned_rows


@pytest.mark.parametrize("level", [CheckLevel.NONE, CheckLevel.STANDARD])
async def test_other_levels_tell_as_well(level: CheckLevel) -> None:
    """A stream of any level has progress."""
    heard: list[Progress] = []
    await pipeline_of(SumModel()).explain(ask(TEXT, check_level=level), heard.append)
    assert heard[0].stage == "capture"


async def test_all_who_share_an_answer_hear_of_it() -> None:
    """A second caller with the same question hears what happens from then on, and nobody hears after leaving."""
    model = SumModel(halt_at="look")
    pipeline = pipeline_of(model)
    first, second = list[Progress](), list[Progress]()
    tasks = [
        asyncio.create_task(pipeline.explain(ask(TEXT, request_id=name), heard.append))
        for name, heard in (("a", first), ("b", second))
    ]
    await model.halted.wait()
    before = len(first)
    tasks[0].cancel()
    await asyncio.wait({tasks[0]})
    model.let_go.set()
    await tasks[1]
    assert len(first) == before
    assert second[-1].stage == "look"
    assert pipeline.progress.listeners == {}


def test_a_plan_is_never_behind_what_was_done() -> None:
    """More rows than planned move the plan."""
    heard: list[Progress] = []
    reporter = Reporter(tell=heard.append, planned=10)
    reporter.enter("look")
    reporter.ran(12)
    assert heard[-1] == Progress(stage="look", rows=12, planned_rows=12)


def test_nobody_need_listen() -> None:
    """Without a listener nothing is kept."""
    board = Board()
    with board.listening("question", None):
        board.tell("question", Progress(stage="look", rows=1, planned_rows=2))
    assert board.listeners == {}
