"""The level THOROUGH on whole explanations: numbers and witnesses beside flags that stand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from rollcall.domain.compute import Job, Search
from rollcall.domain.explanation import Attribution, Explanation, Progress
from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import DEFAULT_MAPS, Floats, MapKind, MapOptions
from rollcall.domain.rows import AttentionEdit, QueryScope, Row, RowResult
from rollcall.domain.verdicts import CheckKind, CheckLevel, CheckOutcome, CheckResult, Flag, Reason
from rollcall.verdict.policies import STANDARD, THOROUGH
from tests import toys
from tests.harness import Clock, Harness, Meddler, Meddling, ask, serving

TEXT = "one three two eight five four twelve seven"
THOROUGH_KINDS = {kind for kind in CheckKind if kind.thorough}


@pytest.fixture(scope="module")
def harness() -> Iterator[Harness]:
    """A model whose attention is the truth."""
    with serving(toys.selector()) as served:
        yield served


@pytest.fixture(scope="module")
def found(harness: Harness) -> Explanation:
    """A thorough explanation of eight words."""
    return harness.explain(ask(TEXT, check_level=CheckLevel.THOROUGH))


def attribution(explanation: Explanation, kind: MapKind) -> Attribution:
    """One map."""
    return next(each for each in explanation.attributions if each.map.kind is kind)


def results(explanation: Explanation, kind: MapKind = MapKind.RAW_ATTENTION) -> dict[str, CheckResult]:
    """Thorough results of one map, by statistic."""
    return {each.statistic: each for each in attribution(explanation, kind).verdict.checks if each.kind.thorough}


def test_flags_are_those_of_the_standard_checks(harness: Harness, found: Explanation) -> None:
    """Looking more closely changes no flag of the primary map, no alignment and no recommendation."""
    standard = harness.explain(ask(TEXT))
    assert found.recommended_map is standard.recommended_map
    for each in standard.attributions:
        close = attribution(found, each.map.kind).verdict
        assert close.flag is each.verdict.flag
        assert close.alignment == each.verdict.alignment
        assert not any(check.kind.thorough for check in each.verdict.checks)
    assert standard.thorough is None
    assert found.thorough is THOROUGH


def test_every_map_has_every_thorough_check(found: Explanation) -> None:
    """Nothing is left out silently, and no map comes that nobody asked for."""
    assert [each.map.kind for each in found.attributions] == [kind for kind in MapKind if kind in DEFAULT_MAPS]
    for each in found.attributions:
        assert {check.kind for check in each.verdict.checks if check.kind.thorough} == THOROUGH_KINDS
        assert not any(check.outcome is CheckOutcome.ERRORED for check in each.verdict.checks)


def test_a_map_that_is_the_truth_is_supported_by_whatever_can(found: Explanation) -> None:
    """Where attention selects, raw attention follows the effects under every operator, on all subsets."""
    raw = results(found)
    for name in ("alignment", "alignment_mask_token", "alignment_hidden_keys", "alignment_deletion"):
        assert raw[name].outcome is CheckOutcome.SUPPORTS
        assert raw[name].value == pytest.approx(1.0, abs=0.1)
    assert raw["kendall_tau_leave_one_out"].value == pytest.approx(1.0)
    assert raw["normalised_comprehensiveness_aopc"].value == pytest.approx(1.0, abs=0.02)
    assert raw["normalised_sufficiency_aopc"].value == pytest.approx(0.0, abs=0.02)
    assert "all orders" in raw["normalised_sufficiency_aopc"].detail


def test_the_working_head_is_found(found: Explanation) -> None:
    """Silencing the head that collects the evidence is what changes the decision; the idle one changes nothing."""
    (witness,) = [w for w in found.primary.verdict.witnesses if w.kind is CheckKind.HEADS]
    assert len(witness.heads) == 1
    assert results(found)["heads_that_flip"].value == 1


def test_rows_are_counted_and_kept_to(harness: Harness, found: Explanation) -> None:
    """Every row is counted, within the request's number; what it does not allow is skipped and says why."""
    assert found.rows <= 2048
    few = harness.explain(ask(TEXT, check_level=CheckLevel.THOROUGH, max_rows=300))
    assert few.rows <= 300
    said = [check.detail for check in few.primary.verdict.checks if check.kind.thorough]
    assert "The budget was spent." in said
    assert (
        attribution(few, MapKind.RAW_ATTENTION).verdict.flag is attribution(found, MapKind.RAW_ATTENTION).verdict.flag
    )


def test_the_same_request_gives_the_same_numbers(harness: Harness, found: Explanation) -> None:
    """Sets, draws and numbers are a matter of seed and input."""
    again = harness.explain(ask(TEXT, check_level=CheckLevel.THOROUGH))
    assert again.rows == found.rows
    for kind in DEFAULT_MAPS:
        for name, each in results(found, kind).items():
            other = results(again, kind)[name]
            assert (other.outcome, other.p_value) == (each.outcome, each.p_value)
            assert other.value == pytest.approx(each.value)


@pytest.mark.parametrize("text", ["five", "five nine"])
def test_one_and_two_words_are_answered(harness: Harness, text: str) -> None:
    """There is little to measure, and nothing crashes."""
    explanation = harness.explain(ask(text, check_level=CheckLevel.THOROUGH))
    for each in explanation.attributions:
        assert not any(check.outcome is CheckOutcome.ERRORED for check in each.verdict.checks)


def test_a_constant_classifier_has_nothing_to_find() -> None:
    """Equal logits everywhere: no flag, no support, no contradiction, no head."""
    with serving(toys.constant()) as served:
        explanation = served.explain(ask(TEXT, check_level=CheckLevel.THOROUGH))
    for each in explanation.attributions:
        assert each.verdict.reason is Reason.NO_EFFECT
        outcomes = {check.outcome for check in each.verdict.checks if check.kind.thorough}
        assert outcomes <= {CheckOutcome.SKIPPED, CheckOutcome.MEASURED, CheckOutcome.INCONCLUSIVE}


def test_a_failed_instrument_stops_everything_else() -> None:
    """Where identity replay changes the state no further row is run, and each check says so."""

    def unsteady(rows: list[Row], found: list[RowResult]) -> list[RowResult]:
        return [
            replace(each, readout=each.readout + 9)
            if row.edit is AttentionEdit.IDENTITY and each.readout is not None
            else each
            for row, each in zip(rows, found, strict=True)
        ]

    with serving(toys.selector(), meddling=Meddling(rows=unsteady)) as served:
        explanation = served.explain(ask(TEXT, check_level=CheckLevel.THOROUGH))
    assert explanation.primary.verdict.reason is Reason.INSTRUMENT
    thorough = [check for check in explanation.primary.verdict.checks if check.kind.thorough]
    assert {check.outcome for check in thorough} == {CheckOutcome.SKIPPED}
    assert explanation.rows < 100


def test_rows_that_are_no_numbers_spoil_their_check_alone() -> None:
    """A silenced head that answers NaN makes its own check ERRORED; flags and other checks stand."""

    def poison(rows: list[Row], found: list[RowResult]) -> list[RowResult]:
        nothing = np.array([np.nan, np.nan])
        return [
            replace(each, logits=nothing) if row.edit is AttentionEdit.SILENCED else each
            for row, each in zip(rows, found, strict=True)
        ]

    with serving(toys.selector(), meddling=Meddling(rows=poison)) as served:
        explanation = served.explain(ask(TEXT, check_level=CheckLevel.THOROUGH))
    raw = attribution(explanation, MapKind.RAW_ATTENTION).verdict
    assert raw.flag is Flag.FAITHFUL
    errored = {check.kind for check in raw.checks if check.outcome is CheckOutcome.ERRORED}
    assert errored == {CheckKind.HEADS}


def test_ordinary_explanations_go_before_thorough_ones() -> None:
    """Somebody who asks while a thorough explanation is under way is not refused, and is answered long before it."""
    clock = Clock(seconds_per_row=0.05)
    ended: list[str] = []
    with serving(toys.selector(), clock=clock) as served:
        pipeline = served.pipeline
        usually = served.explain(ask(TEXT, check_level=CheckLevel.THOROUGH, seed=1)).rows
        pipeline.backlog.max_seconds = 10.0

        async def both() -> None:
            heard = asyncio.Event()

            async def closely() -> None:
                await pipeline.explain(
                    ask(TEXT, check_level=CheckLevel.THOROUGH), lambda step: _note(step, heard, 0.7 * usually)
                )
                ended.append("thorough")

            async def usual(text: str) -> None:
                await pipeline.explain(ask(text))
                ended.append("standard")

            task = asyncio.create_task(closely())
            await heard.wait()
            assert pipeline.backlog.total() > 0
            await asyncio.gather(*(usual(text) for text in ("one two three", "nine ten one four", "five six eight")))
            await task

        served.runner.run(both())
    assert ended == ["standard"] * 3 + ["thorough"]


def _note(step: Progress, heard: asyncio.Event, rows: float) -> None:
    if step.stage == "thorough" and step.rows > rows:
        heard.set()


def test_a_deadline_ends_the_thorough_checks_and_no_flag() -> None:
    """What there was no time for is skipped; the answer still comes, with the flags of the standard checks."""
    clock = Clock(seconds_per_row=0.01)
    with serving(toys.selector(), clock=clock) as served:
        served.explain(ask(TEXT))
        explanation = served.explain(ask(TEXT, check_level=CheckLevel.THOROUGH, deadline=clock.now + 3.0))
    raw = attribution(explanation, MapKind.RAW_ATTENTION).verdict
    assert raw.flag is Flag.FAITHFUL
    assert "The budget was spent." in [check.detail for check in raw.checks if check.kind.thorough]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched(Meddler):
    """Passes on; a step of a search takes `step_seconds` more than anybody expected, and `left` notes rows left."""

    clock: Clock
    step_seconds: float = 0.0
    left: list[int] = field(default_factory=list)

    async def run(
        self, job: Job, model: str, encoding: Encoding, rows: list[Row], options: MapOptions
    ) -> list[RowResult]:
        """Note what the job says that it still needs."""
        self.left.append(job.rows_left)
        return await Meddler.run(self, job, model, encoding, rows, options)

    async def search(
        self,
        job: Job,
        model: str,
        encoding: Encoding,
        search: Search,
        options: MapOptions,
        stepped: Callable[[int], None],
    ) -> list[Floats]:
        """Take longer."""

        def slowly(rows: int) -> None:
            self.clock.now += self.step_seconds
            self.left.append(job.rows_left)
            stepped(rows)

        return await Meddler.search(self, job, model, encoding, search, options, slowly)


def test_what_was_run_before_the_time_was_up_counts() -> None:
    """Rows that begin to take much longer end the checks that still lack some, and none whose rows are all there."""
    clock = Clock(seconds_per_row=0.001)

    def slow(rows: list[Row], found: list[RowResult]) -> list[RowResult]:
        if any(row.queries is QueryScope.READOUT for row in rows):
            clock.now += 100.0
        return found

    with serving(toys.selector(), clock=clock, meddling=Meddling(rows=slow)) as served:
        served.explain(ask(TEXT))
        explanation = served.explain(ask(TEXT, check_level=CheckLevel.THOROUGH, deadline=clock.now + 50.0))
    raw = results(explanation)
    assert raw["alignment"].outcome is CheckOutcome.SUPPORTS
    assert not any(check.outcome is CheckOutcome.ERRORED for check in raw.values())
    missing = {
        check.kind for check in attribution(explanation, MapKind.RAW_ATTENTION).verdict.checks if _is_spent(check)
    }
    there = {CheckKind.OPERATOR_RULE, CheckKind.STRATIFIED_NULL, CheckKind.RANK_AGREEMENT}
    assert missing == THOROUGH_KINDS - there


def _is_spent(check: CheckResult) -> bool:
    return check.detail == "The budget was spent."


def test_a_search_that_takes_longer_than_expected_ends_in_time() -> None:
    """The deadline ends the search and not the answer: the flags stand, and the adversary says why it is missing."""
    clock = Clock(seconds_per_row=0.01)
    with serving(toys.selector(), clock=clock) as served:
        pipeline = served.pipeline
        pipeline.compute = Watched(compute=pipeline.compute, meddling=Meddling(), clock=clock, step_seconds=5.0)
        served.explain(ask(TEXT))
        deadline = clock.now + 60.0
        explanation = served.explain(ask(TEXT, check_level=CheckLevel.THOROUGH, deadline=deadline))
    assert clock.now < deadline
    raw = attribution(explanation, MapKind.RAW_ATTENTION).verdict
    assert raw.flag is Flag.FAITHFUL
    (adversary,) = [check for check in raw.checks if check.kind is CheckKind.ADVERSARY]
    assert (adversary.outcome, adversary.detail) == (CheckOutcome.SKIPPED, "The budget was spent.")


def test_the_end_of_a_thorough_explanation_is_no_reason_to_go_first() -> None:
    """One that takes more rows than usual still seems to have as much to do as any ordinary explanation."""
    clock = Clock(seconds_per_row=0.01)
    with serving(toys.selector(), clock=clock) as served:
        pipeline = served.pipeline
        served.explain(ask(TEXT, check_level=CheckLevel.THOROUGH, max_rows=200))
        watched = Watched(compute=pipeline.compute, meddling=Meddling(), clock=clock)
        pipeline.compute = watched
        served.explain(ask(TEXT, check_level=CheckLevel.THOROUGH))
    assert len(watched.left) > 20
    assert min(watched.left[5:]) >= STANDARD.max_rows
