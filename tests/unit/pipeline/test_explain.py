"""One request on its way: its stages, its limits, its failures, and what others notice of it, which is nothing."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from rollcall.admission.budget import Cut
from rollcall.admission.gate import Gate
from rollcall.admission.quota import Quota, Quotas
from rollcall.domain.compute import Captured, Job, Priority
from rollcall.domain.errors import (
    BackendError,
    DeadlineTooShort,
    DeviceMemory,
    Draining,
    InvalidInput,
    ModelNotFound,
    Overloaded,
    QuotaExceeded,
    Unsupported,
)
from rollcall.domain.explanation import Explanation, PredictRequest
from rollcall.domain.identity import Identity
from rollcall.domain.inputs import Encoding, Target, TextInput
from rollcall.domain.maps import DEFAULT_MAPS, AttentionSelection, MapKind, MapOptions, MissingMap
from rollcall.domain.policy import Policy
from rollcall.domain.rows import Row, RowResult
from rollcall.domain.verdicts import CheckLevel, Flag, Reason
from rollcall.pipeline.catalog import Entry
from tests.calibrations import calibration
from tests.harness import Told, ask
from tests.unit.pipeline.cards import FAILED, PASSED, named
from tests.unit.pipeline.fakes import CARD, EFFECTS, STAGES, TEXT, WORDS, SumModel, encoding, pipeline_of

PREDICT = PredictRequest(
    request_id="p",
    model="",
    revision="",
    input=TextInput(text=TEXT),
    target=Target(),
    threshold=None,
    deadline=None,
)


def flags(explanation: Explanation) -> dict[MapKind, tuple[Flag, Reason]]:
    """Flag and reason of each map."""
    return {a.map.kind: (a.verdict.flag, a.verdict.reason) for a in explanation.attributions}


async def test_an_explanation_is_complete() -> None:
    """A caller gets the prediction, units, a verdict per map, effects, the flip, and where time and rows went."""
    told = Told()
    model = SumModel()
    found = await pipeline_of(model, telemetry=told).explain(ask(TEXT, request_id="mine"))
    assert found.request_id == "mine"
    assert found.model == CARD.ref
    assert found.prediction.labels[found.prediction.predicted] == "yes"
    assert found.prediction.margin == pytest.approx(sum(EFFECTS.values()) - 1)
    assert [unit.text for unit in found.units] == list(WORDS)
    assert flags(found) == {
        MapKind.RAW_ATTENTION: (Flag.FAITHFUL, Reason.NONE),
        MapKind.ATTENTION_ROLLOUT: (Flag.FAITHFUL, Reason.NONE),
        MapKind.NORM_ROLLOUT: (Flag.UNFAITHFUL, Reason.NONE),
        MapKind.GRADIENT_ROLLOUT: (Flag.FAITHFUL, Reason.NONE),
    }
    assert found.primary_map is MapKind.GRADIENT_ROLLOUT
    assert found.primary.verdict.flag is Flag.FAITHFUL
    assert found.recommended_map is not None
    assert len(found.effects) == len(WORDS)
    assert found.decision_flip is not None
    assert (found.tokens_total, found.tokens_used, found.units_grouped) == (10, 10, False)
    assert not found.reported_mismatch
    assert found.attention is None
    assert [name for name, _ in found.timing.stages] == ["encode", "capture", "look", "witness", "decide"]
    assert found.rows == 1 + model.checked
    ((reported, looks, cut),) = told.explanations
    assert reported is found
    assert (looks, cut) == (1, None)


async def test_explanations_have_names_of_their_own() -> None:
    """Two explanations of the same request are told apart, and say the same."""
    pipeline = pipeline_of(SumModel())
    first, second = await pipeline.explain(ask(TEXT)), await pipeline.explain(ask(TEXT))
    assert first.explanation_id != second.explanation_id
    assert flags(first) == flags(second)
    assert first.seed == second.seed


async def test_without_checks_nothing_is_claimed() -> None:
    """At level NONE maps come with NOT_CHECKED, and only the input itself is run."""
    model = SumModel()
    found = await pipeline_of(model).explain(ask(TEXT, check_level=CheckLevel.NONE))
    assert set(flags(found).values()) == {(Flag.NOT_CHECKED, Reason.NONE)}
    assert found.rows == 1
    assert model.rows == [(Priority.BASE, 1)]
    assert found.effects == ()
    assert found.recommended_map is None
    assert all(a.verdict.policy_id == "standard@3" and a.verdict.checks == () for a in found.attributions)


async def test_a_prediction_is_one_urgent_row() -> None:
    """Who asks for a prediction waits for one row, ahead of all explanations."""
    told = Told()
    model = SumModel()
    found = await pipeline_of(model, telemetry=told).predict(PREDICT)
    assert model.rows == [(Priority.PREDICT, 1)]
    assert found.prediction.labels[found.prediction.predicted] == "yes"
    assert [name for name, _ in found.timing.stages] == ["encode", "predict"]
    assert told.predicted_answers == [found]


async def test_prediction_and_explanation_agree() -> None:
    """The answer that is explained is the answer that is given."""
    pipeline = pipeline_of(SumModel())
    predicted, explained = await pipeline.predict(PREDICT), await pipeline.explain(ask(TEXT))
    assert predicted.prediction.margin == explained.prediction.margin
    assert predicted.prediction.probabilities.tolist() == explained.prediction.probabilities.tolist()


async def test_a_prediction_that_is_no_number_is_an_error() -> None:
    """NaN is never served as a probability; an explanation says NUMERICS instead."""

    def spoil(_: str, __: list[Row], results: list[RowResult]) -> list[RowResult]:
        return [replace(result, logits=np.full(2, np.nan)) for result in results]

    told = Told()
    pipeline = pipeline_of(SumModel(after=spoil), telemetry=told)
    with pytest.raises(BackendError):
        await pipeline.predict(PREDICT)
    assert told.predicted_answers == []
    found = await pipeline.explain(ask(TEXT))
    assert set(flags(found).values()) == {(Flag.INCONCLUSIVE, Reason.NUMERICS)}


async def test_the_seed_is_the_inputs_unless_given() -> None:
    """The same ids and policy draw the same sets everywhere; other ids, another policy or a wish draw others."""
    wide = Policy(name="wide", version=1, widths=(0.3, 0.2, 0.1))
    pipeline = pipeline_of(SumModel(), policies={"standard": Policy(name="standard", version=1), "wide": wide})
    seeds = [
        (await pipeline.explain(request)).seed
        for request in (ask(TEXT), ask(TEXT, request_id="other"), ask("the plot is thin"), ask(TEXT, policy="wide"))
    ]
    assert seeds[0] == seeds[1]
    assert len(set(seeds)) == 3
    assert (await pipeline.explain(ask(TEXT, seed=5))).seed == 5
    assert (await pipeline.explain(ask(TEXT, seed=0))).seed == 0


async def test_what_was_acted_on_is_compared() -> None:
    """A caller who reports another label than this model's answer is told."""
    pipeline = pipeline_of(SumModel())
    assert (await pipeline.explain(ask(TEXT, reported_label="no"))).reported_mismatch
    assert not (await pipeline.explain(ask(TEXT, reported_label="yes"))).reported_mismatch


async def test_the_calibrated_map_is_primary() -> None:
    """Where a calibration chose a map, its flag is the answer's, with the calibration named."""
    calibrated = calibration(model_digest=CARD.ref.digest, primary_map=MapKind.NORM_ROLLOUT)
    found = await pipeline_of(SumModel(), calibration=calibrated).explain(ask(TEXT))
    assert found.primary_map is MapKind.NORM_ROLLOUT
    assert found.primary.verdict.flag is Flag.UNFAITHFUL
    assert found.primary.verdict.calibration.id == "cal"
    assert found.primary.verdict.alignment is not None
    assert found.primary.verdict.alignment.width == pytest.approx(0.2)


async def test_a_calibration_with_a_prior_judges_with_it() -> None:
    """The first look is of 8 removals, and every map but those made of gradients says that a gradient helped."""
    found = calibration(model_digest=CARD.ref.digest, prior=True)
    explanation = await pipeline_of(SumModel(), calibration=found).explain(ask(TEXT))
    for attribution in explanation.attributions:
        alignment = attribution.verdict.alignment
        assert alignment is not None
        assert (alignment.prior, alignment.removals) == (True, 8)
        assert alignment.width == pytest.approx(0.2)
        assert attribution.verdict.calibration.id == "cal"
    assert explanation.rows < (await pipeline_of(SumModel()).explain(ask(TEXT))).rows


@pytest.mark.parametrize("error", [math.nan, math.inf])
async def test_a_gradient_that_is_no_number_leaves_the_promise_out(error: float) -> None:
    """The calibrated widths hold with a prior only: without one the default widths do, and the verdict says NONE."""
    found = calibration(model_digest=CARD.ref.digest, prior=True)
    explanation = await pipeline_of(SumModel(gradient_error=error), calibration=found).explain(ask(TEXT))
    plain = await pipeline_of(SumModel()).explain(ask(TEXT))
    for attribution, usual in zip(explanation.attributions, plain.attributions, strict=True):
        assert attribution.verdict.calibration.id == "NONE"
        assert attribution.verdict.alignment == usual.verdict.alignment
        assert attribution.verdict.flag is usual.verdict.flag


async def test_longer_texts_than_calibrated_ask_for_no_gradient() -> None:
    """They are judged by default, as without a calibration, and say why."""
    found = calibration(model_digest=CARD.ref.digest, prior=True, longest=3)
    explanation = await pipeline_of(SumModel(gradient_error=math.nan), calibration=found).explain(ask(TEXT))
    assert {a.verdict.calibration.id for a in explanation.attributions} == {"OUT_OF_RANGE"}
    assert not any(a.verdict.alignment.prior for a in explanation.attributions if a.verdict.alignment)


REFUSED: dict[str, tuple[dict[str, Any], type[Exception]]] = {
    "an unknown model": ({"model": "other"}, ModelNotFound),
    "an unknown class": ({"target": Target(target="maybe")}, InvalidInput),
    "an unknown policy": ({"policy": "lenient"}, InvalidInput),
    "no rows": ({"max_rows": 0}, InvalidInput),
    "a layer too many": ({"map_options": MapOptions(raw_layers=(3,))}, InvalidInput),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_wrong_is_refused_before_anything_runs(case: str) -> None:
    """A request that can be seen to be wrong costs no permit and no row."""
    fields, error = REFUSED[case]
    model = SumModel()
    pipeline = pipeline_of(model, gate=Gate(max_in_flight=1, share=1.0))
    with pipeline.gate.permit(explain=True), pytest.raises(error):
        await pipeline.explain(ask(TEXT, **fields))
    assert model.entered == []


async def test_a_model_that_failed_its_self_test_predicts_only() -> None:
    """Without proved hooks there are predictions and no explanations, and the reason is named."""
    pipeline = pipeline_of(SumModel(), model=replace(CARD, self_tests=(PASSED, FAILED)))
    assert (await pipeline.predict(PREDICT)).prediction.predicted == 0
    with pytest.raises(Unsupported) as refusal:
        await pipeline.explain(ask(TEXT))
    assert refusal.value.subject == "self_test.masked_keys_are_zero"


async def test_attention_that_does_not_fit_is_refused_before_it_is_captured() -> None:
    """Once the length is known, a tensor that no reply could carry is refused, and the permit returned."""
    model = SumModel()
    pipeline = pipeline_of(model, model=replace(CARD, layers=400, heads=400))
    with pytest.raises(InvalidInput) as refusal:
        await pipeline.explain(ask(TEXT, attention=AttentionSelection(readout_only=False)))
    assert refusal.value.violations[0].field == "attention"
    assert "capture" not in model.entered
    assert pipeline.gate.in_flight == 0


async def test_a_full_house_refuses_at_once() -> None:
    """Who does not get in is told at once, and nothing is read or run for them."""
    model = SumModel(halt_at="encode")
    pipeline = pipeline_of(model, gate=Gate(max_in_flight=1, share=1.0))
    first = asyncio.create_task(pipeline.explain(ask(TEXT)))
    await model.halted.wait()
    with pytest.raises(Overloaded):
        await pipeline.explain(ask(TEXT))
    with pytest.raises(Overloaded):
        await pipeline.predict(PREDICT)
    assert model.entered == ["encode"]
    model.let_go.set()
    await first
    await pipeline.predict(PREDICT)


async def test_a_draining_house_finishes_what_it_began() -> None:
    """While the server stops, nobody gets in, and who is in gets an answer."""
    model = SumModel(halt_at="look")
    pipeline = pipeline_of(model)
    inside = asyncio.create_task(pipeline.explain(ask(TEXT)))
    await model.halted.wait()
    pipeline.gate.close()
    with pytest.raises(Draining):
        await pipeline.predict(PREDICT)
    model.let_go.set()
    assert (await inside).primary.verdict.flag is Flag.FAITHFUL


@pytest.mark.parametrize("stage", STAGES)
async def test_a_cancelled_request_stops_where_it_is(stage: str) -> None:
    """A caller who leaves in any stage gets nothing more run, and their permit serves the next."""
    model = SumModel(halt_at=stage, witness_from=1)
    told = Told()
    pipeline = pipeline_of(model, gate=Gate(max_in_flight=1, share=1.0), telemetry=told)
    leaving = asyncio.create_task(pipeline.explain(ask(TEXT)))
    await model.halted.wait()
    before = list(model.entered)
    assert before[-1] == stage
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert model.entered == before
    assert (pipeline.gate.in_flight, pipeline.gate.explaining) == (0, 0)
    assert told.explanations == []
    model.halt_at = ""
    model.rows.clear()
    assert (await pipeline.explain(ask(TEXT))).primary.verdict.flag is Flag.FAITHFUL


@pytest.mark.parametrize("stage", STAGES)
async def test_one_who_leaves_changes_nothing_for_others(stage: str) -> None:
    """Of two callers at the same stage one may leave; the other one's answer is what it would have been."""
    alone = await pipeline_of(SumModel()).explain(ask(TEXT))
    model = SumModel(halt_at=stage, witness_from=1)
    pipeline = pipeline_of(model)
    leaving, staying = (asyncio.create_task(pipeline.explain(ask(TEXT))) for _ in range(2))
    await model.halted.wait()
    leaving.cancel()
    model.let_go.set()
    found = await staying
    assert leaving.cancelled() or leaving.cancelling()
    assert flags(found) == flags(alone)
    assert found.rows == alone.rows
    assert pipeline.gate.in_flight == 0


@pytest.mark.parametrize("error", [BackendError("failed"), DeviceMemory("too small")])
@pytest.mark.parametrize("stage", ["encode", "capture"])
async def test_a_failure_before_the_checks_is_an_error(stage: str, error: Exception) -> None:
    """Without a prediction or without maps there is nothing to answer; the permit is returned."""

    def fail(where: str) -> None:
        if where == stage:
            raise error

    pipeline = pipeline_of(SumModel(before=fail))
    with pytest.raises(type(error)):
        await pipeline.explain(ask(TEXT))
    assert pipeline.gate.in_flight == pipeline.gate.explaining == 0


async def test_a_failure_in_the_checks_is_an_answer() -> None:
    """A device that fails while checking leaves prediction and maps, and says that nothing was checked."""

    def fail(where: str) -> None:
        if where == "look":
            message = "failed"
            raise BackendError(message)

    found = await pipeline_of(SumModel(before=fail)).explain(ask(TEXT))
    assert set(flags(found).values()) == {(Flag.INCONCLUSIVE, Reason.INSTRUMENT)}
    assert found.rows == 1


async def test_a_text_without_words_is_the_callers_mistake() -> None:
    """Nothing to read is refused by field, and the permit returned."""
    pipeline = pipeline_of(SumModel())
    with pytest.raises(InvalidInput):
        await pipeline.explain(ask("  "))
    assert pipeline.gate.in_flight == 0


class Ticking:
    """A clock that moves when a stage is entered."""

    def __init__(self, **seconds: float) -> None:
        """Seconds that each stage takes."""
        self.seconds = seconds
        self.now = 0.0

    def __call__(self) -> float:
        """Read it."""
        return self.now

    def enter(self, stage: str) -> None:
        """Let a stage's time pass."""
        self.now += self.seconds.get(stage, 0.0)


async def test_a_deadline_that_has_passed_is_refused() -> None:
    """Who arrives too late gets nothing run, and holds no permit."""
    model = SumModel()
    pipeline = pipeline_of(model, clock=lambda: 10.0)
    for call in (pipeline.explain(ask(TEXT, deadline=10.0)), pipeline.predict(replace(PREDICT, deadline=9.0))):
        with pytest.raises(DeadlineTooShort):
            await call
    assert model.entered == []
    assert pipeline.gate.in_flight == 0


async def test_a_deadline_that_cannot_be_met_is_refused_at_once() -> None:
    """Where not even the maps can be ready in time nothing is run, and nothing is kept."""
    slow = SumModel(seconds_per_row=1.0)
    pipeline = pipeline_of(slow, clock=lambda: 0.0)
    with pytest.raises(DeadlineTooShort):
        await pipeline.explain(ask(TEXT, deadline=2.0))
    clock = Ticking(encode=5.0)
    late = pipeline_of(SumModel(before=clock.enter), clock=clock)
    with pytest.raises(DeadlineTooShort):
        await late.explain(ask(TEXT, deadline=4.0))
    assert slow.entered == ["encode"]
    assert (pipeline.gate.in_flight, pipeline.backlog.total()) == (0, 0)


async def test_a_prior_counts_before_a_deadline() -> None:
    """Its gradient takes as long as a capture: what only the maps without it would meet is refused at once."""
    asked = ask(TEXT, deadline=6.0)
    with_prior = calibration(model_digest=CARD.ref.digest, prior=True)
    slow = SumModel(seconds_per_row=1.0)  # a capture takes 4 s
    with pytest.raises(DeadlineTooShort):
        await pipeline_of(slow, calibration=with_prior, clock=lambda: 0.0).explain(asked)
    assert slow.entered == ["encode"]
    assert (await pipeline_of(slow, clock=lambda: 0.0).explain(asked)).attributions


async def test_what_would_be_late_is_not_begun() -> None:
    """A first look that cannot be done in time is not tried: the answer comes at once, and says BUDGET."""
    model = SumModel(seconds_per_row=0.1)
    found = await pipeline_of(model, clock=lambda: 0.0).explain(ask(TEXT, deadline=2.0))
    assert set(flags(found).values()) == {(Flag.INCONCLUSIVE, Reason.BUDGET)}
    assert model.checked == 0


async def test_in_a_crowd_what_cannot_be_finished_is_refused_at_once() -> None:
    """Whoever could be served in time but for others ahead is told when to come back, and takes nothing from them."""
    model = SumModel(seconds_per_row=0.1, halt_at="look")
    pipeline = pipeline_of(model, clock=lambda: 0.0, gate=Gate(max_in_flight=9, share=1.0))
    ahead = [asyncio.create_task(pipeline.explain(ask(TEXT, seed=seed))) for seed in range(2)]
    await model.halted.wait()
    captures = model.entered.count("capture")
    with pytest.raises(Overloaded) as refusal:
        await pipeline.explain(ask(TEXT, deadline=20.0))
    assert refusal.value.retry_after > 1
    assert model.entered.count("capture") == captures
    patient = asyncio.create_task(pipeline.explain(ask(TEXT, deadline=100.0)))
    model.let_go.set()
    assert (await patient).primary.verdict.flag is Flag.FAITHFUL
    await asyncio.gather(*ahead)


async def test_a_deadline_that_passes_on_the_way_is_no_error() -> None:
    """Where time runs out before the looks the answer has its maps, and says that the budget was spent."""
    clock = Ticking(capture=5.0)
    told = Told()
    pipeline = pipeline_of(SumModel(before=clock.enter), clock=clock, telemetry=told)
    found = await pipeline.explain(ask(TEXT, deadline=4.0))
    assert set(flags(found).values()) == {(Flag.INCONCLUSIVE, Reason.BUDGET)}
    assert found.rows == 1
    assert told.explanations[0][1:] == (0, Cut.DEADLINE)


async def test_a_deadline_between_looks_keeps_what_was_decided() -> None:
    """Time that runs out after the first look leaves its decisions, but for FAITHFUL, which lacks its last checks."""
    clock = Ticking(look=5.9)
    told = Told()
    pipeline = pipeline_of(SumModel(before=clock.enter, seconds_per_row=0.05), clock=clock, telemetry=told)
    found = await pipeline.explain(ask(TEXT, deadline=6.0))
    assert flags(found) == {
        MapKind.RAW_ATTENTION: (Flag.FAITHFUL, Reason.NONE),
        MapKind.ATTENTION_ROLLOUT: (Flag.FAITHFUL, Reason.NONE),
        MapKind.NORM_ROLLOUT: (Flag.UNFAITHFUL, Reason.NONE),
        MapKind.GRADIENT_ROLLOUT: (Flag.INCONCLUSIVE, Reason.BUDGET),
    }
    assert found.recommended_map is None
    assert found.decision_flip is None
    assert told.explanations[0][1:] == (1, Cut.DEADLINE)


async def test_work_ahead_is_bounded() -> None:
    """What would wait longer than the house allows is refused with a hint; when the work is done there is room."""
    model = SumModel(seconds_per_row=1.0, halt_at="look")
    pipeline = pipeline_of(model, backlog_seconds=60.0)
    inside = asyncio.create_task(pipeline.explain(ask(TEXT)))
    await model.halted.wait()
    with pytest.raises(Overloaded) as refusal:
        await pipeline.explain(ask(TEXT, seed=1))
    assert 1 <= refusal.value.retry_after <= 62
    model.let_go.set()
    await inside
    assert (pipeline.gate.in_flight, pipeline.backlog.total()) == (0, 0)
    assert (await pipeline.explain(ask(TEXT, seed=1))).primary.verdict.flag is not Flag.NOT_CHECKED


async def test_the_same_question_is_answered_once() -> None:
    """Requests in flight that ask the same share the work; each gets an answer under its own names."""
    told, model = Told(), SumModel(halt_at="look")
    pipeline = pipeline_of(model, telemetry=told)
    asking = [
        ask(TEXT, request_id="a"),
        ask(TEXT, request_id="b", reported_label="no"),
        ask(TEXT, request_id="c", seed=5),
    ]
    tasks = [asyncio.create_task(pipeline.explain(request)) for request in asking]
    await model.halted.wait()
    model.let_go.set()
    found = await asyncio.gather(*tasks)
    assert model.entered.count("capture") == 2
    assert told.shared == 1
    assert [answer.request_id for answer in found] == ["a", "b", "c"]
    assert len({answer.explanation_id for answer in found}) == 3
    assert [answer.reported_mismatch for answer in found] == [False, True, False]
    assert flags(found[0]) == flags(found[1])
    assert pipeline.in_flight.flights == {}


async def test_tenants_share_no_work() -> None:
    """The time of an answer tells nobody what another tenant asks; within one tenant work is shared."""
    told, model = Told(), SumModel(halt_at="look")
    pipeline = pipeline_of(model, telemetry=told)
    callers = [Identity(name=n, tenant=t, roles=frozenset()) for n, t in (("a", "one"), ("b", "one"), ("c", "two"))]
    tasks = [asyncio.create_task(pipeline.explain(ask(TEXT, caller=caller))) for caller in callers]
    await model.halted.wait()
    model.let_go.set()
    found = await asyncio.gather(*tasks)
    assert model.entered.count("capture") == 2
    assert told.shared == 1
    assert flags(found[0]) == flags(found[1]) == flags(found[2])


async def test_rows_count_for_the_tenant() -> None:
    """Whoever schedules rows knows on whose behalf they run."""
    jobs = list[Job]()

    class Watched(SumModel):
        async def predict(self, job: Job, model: str, encoding: Encoding) -> RowResult:
            jobs.append(job)
            return await SumModel.predict(self, job, model, encoding)

    caller = Identity(name="backend", tenant="reviews", roles=frozenset())
    await pipeline_of(Watched()).predict(replace(PREDICT, caller=caller))
    assert [job.caller for job in jobs] == ["reviews"]


async def test_rows_are_charged_to_the_tenant_as_they_run() -> None:
    """A tenant whose explanation took its rows is refused what follows, and another tenant is not."""
    pipeline = pipeline_of(SumModel())
    pipeline.quotas = Quotas(of=lambda _: Quota(rows_per_second=0.001), burst_seconds=20_000.0)
    one, two = (Identity(name=name, tenant=name, roles=frozenset()) for name in ("one", "two"))
    found = await pipeline.explain(ask(TEXT, caller=one))
    assert pipeline.quotas.usages["one"].rows.spent == pytest.approx(found.rows, abs=0.1)
    with pytest.raises(QuotaExceeded, match=r"at most 0\.001 rows per second"):
        await pipeline.explain(ask(TEXT, caller=one))
    with pytest.raises(QuotaExceeded):
        await pipeline.predict(replace(PREDICT, caller=one))
    await pipeline.explain(ask(TEXT, caller=two))
    assert (pipeline.gate.in_flight, pipeline.quotas.usages["one"].running) == (0, 0)


async def test_leaving_does_not_save_the_rows() -> None:
    """Rows that have run are paid for, also by who does not wait for the answer."""
    model = SumModel(halt_at="witness", witness_from=1)
    pipeline = pipeline_of(model)
    pipeline.quotas = Quotas(of=lambda _: Quota(rows_per_second=0.001))
    caller = Identity(name="a", tenant="a", roles=frozenset())
    leaving = asyncio.create_task(pipeline.explain(ask(TEXT, caller=caller)))
    await model.halted.wait()
    leaving.cancel()
    await asyncio.wait({leaving})
    assert pipeline.quotas.usages["a"].rows.spent == pytest.approx(1 + model.checked, abs=0.1)
    assert model.checked > 0
    assert pipeline.quotas.usages["a"].running == 0


async def test_too_few_rows_are_an_answer() -> None:
    """Who allows less than one look gets the maps, INCONCLUSIVE, and no row beyond the input itself."""
    told = Told()
    found = await pipeline_of(SumModel(), telemetry=told).explain(ask(TEXT, max_rows=20))
    assert set(flags(found).values()) == {(Flag.INCONCLUSIVE, Reason.BUDGET)}
    assert found.rows == 1
    assert told.explanations[0][1:] == (0, Cut.MAX_ROWS)


@pytest.mark.parametrize("max_rows", [1, 30, 40, 66, 90, 122])
async def test_rows_never_exceed_what_was_allowed(max_rows: int) -> None:
    """However many rows the checks would like, no more than allowed are run."""
    model = SumModel()
    found = await pipeline_of(model).explain(ask(TEXT, max_rows=max_rows))
    assert found.rows == 1 + model.checked <= max_rows


async def test_models_are_listed_and_added() -> None:
    """The house knows its models by name, and takes in one that has been loaded."""
    pipeline = pipeline_of(SumModel())
    assert pipeline.default_model == "mood"
    pipeline.add_model(Entry(card=named("angst"), calibration=None))
    assert [model.ref.name for model in pipeline.models()] == ["angst", "mood"]
    assert pipeline.model("angst").ref.name == "angst"
    assert pipeline.model("") == CARD
    with pytest.raises(ModelNotFound):
        pipeline.model("other")
    assert (await pipeline.explain(ask(TEXT, model="angst"))).model.name == "angst"


def test_the_fake_is_a_sum() -> None:
    """The model of these tests is what it says: removing a word takes its amount out of the margin."""
    encoded = encoding(TEXT)
    without = np.array([word == "moves" for word in WORDS])
    before, after = (SumModel().answer(encoded, row).logits for row in (Row(), Row(removed=without)))
    assert (before[0] - before[1]) - (after[0] - after[1]) == pytest.approx(EFFECTS["moves"])


@dataclass(kw_only=True)
class Lacking(SumModel):
    """A model that cannot make one of the maps that are asked for."""

    lacks: MissingMap

    async def capture(self, job: Job, model: str, encoding: Encoding, **asked: Any) -> Captured:  # noqa: ANN401 - passed on
        """Capture the others."""
        captured = await super().capture(job, model, encoding, **asked)
        maps = tuple(found for found in captured.maps if found.kind is not self.lacks.kind)
        return replace(captured, maps=maps, missing=(self.lacks,))


async def test_a_map_that_could_not_be_made_is_named() -> None:
    """The others come with their flags, and the reply says what is missing and why."""
    lacks = MissingMap(kind=MapKind.NORM_ROLLOUT, reason="no time.", late=True)
    found = await pipeline_of(Lacking(lacks=lacks)).explain(ask(TEXT))
    assert found.missing_maps == (lacks,)
    assert MapKind.NORM_ROLLOUT not in flags(found)
    assert found.primary.verdict.flag is Flag.FAITHFUL


@pytest.mark.parametrize(("late", "error"), [(True, DeadlineTooShort), (False, InvalidInput)])
async def test_without_its_primary_map_there_is_no_answer(late: bool, error: type[Exception]) -> None:  # noqa: FBT001 - a parameter of the test
    """Another map's flag is never passed off as the answer's."""
    lacks = MissingMap(kind=MapKind.NORM_ROLLOUT, reason="no time.", late=late)
    with pytest.raises(error, match="NORM_ROLLOUT"):
        await pipeline_of(Lacking(lacks=lacks)).explain(ask(TEXT, primary_map=MapKind.NORM_ROLLOUT))


async def test_what_was_late_for_one_is_tried_again_for_another() -> None:
    """Who asks the same with more time does not get the answer that lacks a map for want of it."""
    model = Lacking(lacks=MissingMap(kind=MapKind.NORM_ROLLOUT, reason="no time.", late=True), halt_at="capture")
    pipeline = pipeline_of(model)
    hurried = asyncio.create_task(pipeline.explain(ask(TEXT, deadline=pipeline.clock() + 1000)))
    await model.halted.wait()
    patient = asyncio.create_task(pipeline.explain(ask(TEXT)))
    await asyncio.sleep(0)
    model.let_go.set()
    await asyncio.gather(hurried, patient)
    assert model.entered.count("capture") == 2


async def test_leaving_one_out_is_paid_for_and_judged_by_others() -> None:
    """Two rows for each word come on top of those of the checks, are counted, and judge nothing."""
    usual, model = await pipeline_of(SumModel()).explain(ask(TEXT)), SumModel()
    found = await pipeline_of(model).explain(ask(TEXT, maps=(*DEFAULT_MAPS, MapKind.LEAVE_ONE_OUT)))
    own = 2 * len(WORDS)
    assert model.rows[1] == (Priority.CHECK, own)
    assert found.rows == 1 + model.checked == usual.rows + own
    (left_out,) = [a for a in found.attributions if a.map.kind is MapKind.LEAVE_ONE_OUT]
    truth = np.array(list(EFFECTS.values()))
    assert left_out.map.scores == pytest.approx(truth / truth.sum())
    assert left_out.verdict.flag is Flag.FAITHFUL
    assert left_out.verdict.alignment is not None
    assert left_out.verdict.alignment.removals == 16
    assert found.effects == usual.effects
    others = [a for a in found.attributions if a.map.kind is not MapKind.LEAVE_ONE_OUT]
    assert [(a.map.kind, a.verdict.alignment) for a in others] == [
        (a.map.kind, a.verdict.alignment) for a in usual.attributions
    ]


async def test_the_default_rows_leave_room_for_the_map() -> None:
    """Who does not say how many rows may be run gets the checks as without the map; the server's limit still holds."""
    pipeline = pipeline_of(SumModel())
    pipeline.defaults = replace(pipeline.defaults, max_rows=60, most_rows=1000)
    asked = ask(TEXT, maps=(MapKind.LEAVE_ONE_OUT,))
    assert (await pipeline.explain(asked)).primary.verdict.flag is Flag.FAITHFUL
    pipeline.defaults = replace(pipeline.defaults, max_rows=10, most_rows=10)
    (missing,) = (await pipeline.explain(asked)).missing_maps
    assert (missing.kind, missing.late) == (MapKind.LEAVE_ONE_OUT, False)
    assert "16 rows" in missing.reason


async def test_without_checks_it_can_still_be_made() -> None:
    """Its rows make the map; without looks nobody claims anything about it."""
    model = SumModel()
    found = await pipeline_of(model).explain(
        ask(TEXT, maps=(MapKind.LEAVE_ONE_OUT,), primary_map=MapKind.LEAVE_ONE_OUT, check_level=CheckLevel.NONE)
    )
    assert found.primary.verdict.flag is Flag.NOT_CHECKED
    assert found.rows == 1 + 2 * len(WORDS)


@pytest.mark.parametrize(("asked", "error"), [({"max_rows": 16}, InvalidInput), ({"deadline": 12.0}, DeadlineTooShort)])
async def test_as_the_primary_map_it_is_needed(asked: dict[str, Any], error: type[Exception]) -> None:
    """Where rows or time do not suffice for the map whose flag is asked for, there is no answer."""
    pipeline = pipeline_of(SumModel(seconds_per_row=1.0 if "deadline" in asked else 0.0), clock=lambda: 0.0)
    kind = MapKind.LEAVE_ONE_OUT
    with pytest.raises(error, match="LEAVE_ONE_OUT"):
        await pipeline.explain(ask(TEXT, maps=(kind,), primary_map=kind, **asked))
    assert (await pipeline.explain(ask(TEXT, maps=(kind,), **asked))).missing_maps[0].kind is kind
