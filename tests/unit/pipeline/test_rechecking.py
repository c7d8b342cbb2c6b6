"""Answers are checked again only when nobody else is there, and nobody ever waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from rollcall.domain.compute import Compute, Job
from rollcall.domain.decision import Decision, Task
from rollcall.domain.errors import DeviceLost
from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import MapKind, MapOptions
from rollcall.domain.rows import Row, RowResult
from rollcall.domain.verdicts import Flag
from rollcall.monitor.record import Identity
from rollcall.pipeline.leases import Leases
from rollcall.pipeline.rechecking import MOST_PENDING, STEP_SECONDS, Ended, Recheck, Rechecker
from rollcall.verdict.policies import STANDARD
from rollcall.verdict.truth import Truth
from tests.unit.pipeline.fakes import CARD, TEXT, WORDS, SumModel, effects_of, encoding

LONG = " ".join(WORDS * 2)
"""Sixteen words: too many for every subset."""


def recheck(text: str = LONG, **changes: Any) -> Recheck:  # noqa: ANN401 - the fields of Recheck
    """An answer whose gradient rollout is the truth and whose norm rollout is the opposite."""
    encoded = encoding(text)
    effects = effects_of(encoded) + 0.01
    weights = {MapKind.GRADIENT_ROLLOUT: effects, MapKind.NORM_ROLLOUT: effects.max() + 0.01 - effects}
    plain = Recheck(
        model=CARD.ref.name,
        key=CARD.ref.key,
        identity=Identity.of(CARD),
        explanation_id="e",
        encoding=encoded,
        decision=Decision(task=Task.SINGLE_LABEL, target=0),
        weights={kind: found / found.sum() for kind, found in weights.items()},
        flags={MapKind.GRADIENT_ROLLOUT: Flag.FAITHFUL, MapKind.NORM_ROLLOUT: Flag.UNFAITHFUL},
        primary=MapKind.GRADIENT_ROLLOUT,
        promised=True,
        policy=STANDARD,
        noise=0.0,
        seed=7,
        answered_at=1,
    )
    return replace(plain, **changes)


@dataclass(kw_only=True)
class Noted(SumModel):
    """A sum that remembers the jobs and rows of its checks."""

    asked: list[tuple[Job, list[Row]]] = field(default_factory=list)

    async def run(
        self, job: Job, model: str, encoding: Encoding, rows: list[Row], options: MapOptions
    ) -> list[RowResult]:
        """Remember and run."""
        self.asked.append((job, rows))
        return await super().run(job, model, encoding, rows, options)

    @property
    def removals(self) -> list[Row]:
        """All rows so far."""
        return [row for _, rows in self.asked for row in rows]


@dataclass(kw_only=True)
class Bench:
    """A rechecker around a model, and what it told."""

    compute: Compute
    busy: Callable[[], bool] = lambda: False
    idle_turns: int = 0
    found: list[tuple[Recheck, Mapping[MapKind, Truth]]] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)

    def rechecker(self, **fields: Any) -> Rechecker:  # noqa: ANN401 - the fields of Rechecker
        """The rechecker."""
        return Rechecker(
            compute=self.compute,
            busy=self.busy,
            found=lambda one, truths: self.found.append((one, truths)),
            ended=self.ended.append,
            idle=self._turn,
            **fields,
        )

    async def _turn(self) -> None:
        self.idle_turns += 1
        await asyncio.sleep(0)

    async def check(self, *rechecks: Recheck) -> None:
        """Check again until all have ended."""
        all_ended = asyncio.Event()

        def ended(outcome: Ended) -> None:
            self.ended.append(outcome)
            if len(self.ended) == len(rechecks):
                all_ended.set()

        rechecker = self.rechecker()
        rechecker.ended = ended
        running = asyncio.create_task(rechecker.run())
        for one in rechecks:
            rechecker.offer(one)
        await all_ended.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_a_star_comes_from_512_further_removals() -> None:
    """Right and wrong maps are told apart by removals of half of the units on average, under both operators in turn."""
    model = Noted()
    bench = Bench(compute=model)
    await bench.check(recheck())
    ((_, truths),) = bench.found
    assert truths[MapKind.GRADIENT_ROLLOUT].alignment == pytest.approx(1.0, abs=0.02)
    assert truths[MapKind.NORM_ROLLOUT].alignment < -0.9
    assert bench.ended == [Ended.DONE]
    removed = np.array([row.removed for row in model.removals])
    assert removed.shape == (512, 16)
    assert abs(removed.mean() - 0.5) < 0.02
    assert len({row.operator for row in model.removals[::2]} | {row.operator for row in model.removals[1::2]}) == 2


async def test_few_units_have_every_subset_removed() -> None:
    """For up to ten units A* is exact: all subsets, under both operators."""
    model = Noted()
    bench = Bench(compute=model)
    await bench.check(recheck(TEXT))
    subsets = {row.removed.tobytes() for row in model.removals if row.removed is not None}
    assert (len(model.removals), len(subsets)) == (2 * 2**8, 2**8)
    ((_, truths),) = bench.found
    assert truths[MapKind.GRADIENT_ROLLOUT].alignment == pytest.approx(1.0, abs=1e-9)


async def test_what_is_near_the_threshold_is_looked_at_closer() -> None:
    """Rows are doubled while an A* is unclear, and those that were run are not run again."""

    def noisy(_: str, rows: list[Row], results: list[RowResult]) -> list[RowResult]:
        rng = np.random.default_rng(len(rows))
        return [
            replace(r, logits=r.logits + np.array([noise, -noise]))
            for r, noise in zip(results, rng.normal(0, 2, len(rows)), strict=True)
        ]

    model = Noted(after=noisy)
    effects = effects_of(encoding(LONG))
    rng = np.random.default_rng(0)
    near = effects / effects.std() + rng.normal(0, 1.0, len(effects))
    near -= near.min()
    bench = Bench(compute=model)
    await bench.check(recheck(weights={MapKind.NORM_ROLLOUT: near / near.sum()}))
    rows = len(model.removals)
    assert rows in {1024, 2048, 4096}
    assert (
        len({(row.removed.tobytes(), row.operator) for row in model.removals if row.removed is not None}) > 0.95 * rows
    )


async def test_rows_are_background_work_in_short_steps() -> None:
    """Rows belong to no caller, hold no deadline, and are asked for in steps that nobody notices."""
    model = Noted(seconds_per_row=STEP_SECONDS / 40)
    await Bench(compute=model).check(recheck())
    assert all(job.background and job.caller and job.deadline is None for job, _ in model.asked)
    assert {len(rows) for _, rows in model.asked} == {32}
    slow = Noted(seconds_per_row=1.0)
    await Bench(compute=slow).check(recheck(TEXT))
    assert {len(rows) for _, rows in slow.asked} == {1}


async def test_nothing_runs_while_requests_are_in_progress() -> None:
    """Between any two steps the rechecker looks whether somebody has come, and waits until nobody is there."""
    turns = iter([False] * 2 + [True] * 5 + [False] * 10_000)
    model = Noted(seconds_per_row=STEP_SECONDS / 40)
    at_work: list[bool | None] = []

    def busy() -> bool:
        turn = next(turns)
        at_work.append(turn)
        return turn

    model.before = lambda _: at_work.append(None)  # a step
    bench = Bench(compute=model, busy=busy)
    await bench.check(recheck())
    steps = [i for i, mark in enumerate(at_work) if mark is None]
    assert all(at_work[i - 1] is False for i in steps)
    assert (len(steps), bench.idle_turns) == (16, 5)


async def test_an_undecided_answer_is_done_without_rows() -> None:
    """INCONCLUSIVE cannot be wrong: it counts, and costs nothing."""
    model = Noted()
    bench = Bench(compute=model)
    await bench.check(recheck(flags=dict.fromkeys(MapKind, Flag.INCONCLUSIVE)))
    assert (model.asked, bench.ended) == ([], [Ended.DONE])
    assert bench.found[0][1] == {}


@pytest.mark.parametrize("fault", ["nan", "lost", "crash"])
async def test_what_fails_is_no_finding(caplog: pytest.LogCaptureFixture, fault: str) -> None:
    """A row that is no number, a lost device or a bug makes no flag wrong; the next answer is checked all the same."""
    sick = [True]

    def after(_: str, __: list[Row], results: list[RowResult]) -> list[RowResult]:
        if not sick.pop() if sick else True:
            return results
        if fault == "lost":
            raise DeviceLost
        if fault == "crash":
            raise RuntimeError(TEXT)
        return [replace(results[0], logits=np.array([np.nan, 0.0])), *results[1:]]

    bench = Bench(compute=Noted(after=after))
    await bench.check(recheck(), recheck())
    assert bench.ended == [Ended.FAILED, Ended.DONE]
    assert len(bench.found) == 1
    assert [record.message for record in caplog.records] == ["recheck_failed"]
    assert TEXT not in caplog.text


def test_too_many_drop_the_oldest() -> None:
    """What waits is bounded; the latest answers are the ones that tell of today."""
    bench = Bench(compute=SumModel())
    rechecker = bench.rechecker()
    for number in range(MOST_PENDING + 3):
        rechecker.offer(recheck(answered_at=number))
    assert [one.answered_at for one in rechecker.pending] == list(range(3, MOST_PENDING + 3))
    assert bench.ended == [Ended.DROPPED] * 3


async def test_stopping_drops_everything_at_once() -> None:
    """A server that stops waits for no recheck: the one in progress, those that wait and those still offered go."""
    model = Noted(halt_at="look")
    bench = Bench(compute=model)
    rechecker = bench.rechecker()
    running = asyncio.create_task(rechecker.run())
    for _ in range(3):
        rechecker.offer(recheck())
    await model.halted.wait()
    rechecker.stop()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    rechecker.offer(recheck())
    assert bench.ended == [Ended.DROPPED] * 4
    assert (len(rechecker.pending), bench.found) == (0, [])


async def test_an_answer_of_a_model_that_has_gone_is_dropped() -> None:
    """Replaced weights are not waited for, and wait for no recheck: it lets go of them after each step."""
    model = Noted(halt_at="look")
    bench = Bench(compute=model)
    served = {CARD.ref.key}
    leases = Leases()
    rechecker = bench.rechecker(serves=served.__contains__, leases=leases)
    running = asyncio.create_task(rechecker.run())
    rechecker.offer(recheck())
    await model.halted.wait()
    assert leases.held[CARD.ref.key] == 1
    served.clear()
    model.let_go.set()
    await asyncio.wait_for(leases.idle(CARD.ref.key), 5)
    while not bench.ended:  # noqa: ASYNC110 - it ends in its next turn
        await asyncio.sleep(0)
    running.cancel()
    assert (bench.ended, bench.found, len(model.asked)) == ([Ended.DROPPED], [], 1)


def test_inputs_are_not_shown() -> None:
    """What waits may be printed without telling what was asked."""
    shown = repr(recheck())
    assert not any(f"'{word}'" in shown for word in WORDS)
