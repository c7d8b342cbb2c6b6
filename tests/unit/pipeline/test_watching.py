"""Answers are pooled and some are checked again, each once, and nothing of it ever reaches a verdict."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import pytest

from rollcall.domain.explanation import Explanation
from rollcall.domain.inputs import Target
from rollcall.domain.maps import MapKind, MapOptions
from rollcall.domain.verdicts import CalibrationRef, CheckLevel, Flag
from rollcall.monitor.pooled import LAMBDA, Pooled
from rollcall.monitor.record import Answer, Identity, MapRecord, ModelRecord
from rollcall.monitor.sampling import Sampler
from rollcall.monitor.tally import Tally
from rollcall.pipeline.explain import Pipeline
from rollcall.pipeline.rechecking import Ended, Recheck
from rollcall.pipeline.watching import Watch
from rollcall.verdict.policies import STANDARD
from rollcall.verdict.truth import Truth
from tests.calibrations import calibration
from tests.harness import Told, ask
from tests.unit.pipeline.fakes import CARD, TEXT, WORDS, SumModel, pipeline_of

CALIBRATION = calibration(model_digest=CARD.ref.digest)
CALIBRATED = replace(CARD, calibration=CALIBRATION.reference())
OTHER_TEXT = " ".join(reversed(WORDS))


@dataclass(kw_only=True)
class ToldOfMany:
    """What watching told."""

    flags: list[tuple[MapKind, Flag, bool]] = field(default_factory=list)
    requests: dict[MapKind, int] = field(default_factory=dict)
    broken: list[bool] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)

    def pooled(
        self,
        model: str,  # noqa: ARG002 - the contract
        kind: MapKind,
        *,
        requests: int,
        mean_alignment: float | None,  # noqa: ARG002 - the contract
        log_e_value: float,  # noqa: ARG002 - the contract
    ) -> None:
        """Remember the requests."""
        self.requests[kind] = requests

    def promise_checked(self, model: str, *, broken: bool) -> None:  # noqa: ARG002 - the contract
        """Remember."""
        self.broken.append(broken)

    def flag_rechecked(self, model: str, kind: MapKind, flag: Flag, *, wrong: bool) -> None:  # noqa: ARG002 - the contract
        """Remember."""
        self.flags.append((kind, flag, wrong))

    def recheck_ended(self, outcome: str) -> None:
        """Remember."""
        self.outcomes.append(outcome)


@dataclass(kw_only=True)
class House:
    """A watched pipeline."""

    watch: Watch
    pipeline: Pipeline
    told: ToldOfMany
    offered: list[Recheck]

    @property
    def record(self) -> ModelRecord:
        """The record of the only model."""
        found = self.watch.record(CARD.ref.name)
        assert found is not None
        return found


def house(
    *,
    share: float = 1.0,
    calibrated: bool = True,
    records: dict[str, ModelRecord] | None = None,
    **model: Any,  # noqa: ANN401 - the fields of SumModel
) -> House:
    """Watch a pipeline; answers to be checked again are only collected."""
    told, offered = ToldOfMany(), list[Recheck]()
    card = CALIBRATED if calibrated else CARD
    watch = Watch(
        sampler=Sampler(share=share, secret=b"s"),
        policy=STANDARD.digest,
        telemetry=told,
        records=records or {},
        now=lambda: 1000.5,
        offer=offered.append,
    )
    watch.serve(card)
    pipeline = pipeline_of(SumModel(**model), model=card, calibration=CALIBRATION if calibrated else None, watch=watch)
    return House(watch=watch, pipeline=pipeline, told=told, offered=offered)


async def test_answers_are_pooled_per_map() -> None:
    """Each checked request adds its flags, its A and the p-value of its first look."""
    watched = house(share=0)
    answers = [await watched.pipeline.explain(ask(text)) for text in (TEXT, OTHER_TEXT)]
    for answer in answers:
        assert answer.primary.verdict.alignment is not None
    p_values = [a.primary.verdict.alignment.p_up for a in answers if a.primary.verdict.alignment]
    right = watched.record.map(MapKind.GRADIENT_ROLLOUT).pooled
    wrong = watched.record.map(MapKind.NORM_ROLLOUT).pooled
    assert (right.flags, wrong.flags) == ({Flag.FAITHFUL: 2}, {Flag.UNFAITHFUL: 2})
    assert right.mean_alignment == pytest.approx(1.0, abs=0.05)
    # one look decided both, so the p-values shown are those of the first look
    assert right.log_e == pytest.approx(sum(np.log(1 + LAMBDA * (1 - 2 * p)) for p in p_values))
    assert wrong.log_e < 0 < right.log_e
    assert watched.told.requests[MapKind.GRADIENT_ROLLOUT] == 2
    assert watched.offered == []


async def test_the_p_value_is_the_first_looks_even_if_more_were_taken() -> None:
    """Which look came last depends on what the earlier ones showed; evidence must not."""
    noise = np.random.default_rng(1)

    def after(_: str, __: list[Any], results: list[Any]) -> list[Any]:
        return [replace(r, logits=r.logits + noise.normal(0, 0.8) * np.array([1, -1])) for r in results]

    watched = house(after=after, calibrated=False)
    told = watched.pipeline.telemetry
    assert isinstance(told, Told)
    answer = await watched.pipeline.explain(ask(TEXT))
    ((_, looks, _),) = told.explanations
    assert looks > 1
    shown = {a.map.kind: a.verdict.alignment.p_up for a in answer.attributions if a.verdict.alignment}
    expected = {kind: np.log(1 + LAMBDA * (1 - 2 * p)) for kind, p in shown.items()}
    pooled = {kind: found.pooled.log_e for kind, found in watched.record.maps.items()}
    assert any(pooled[kind] != pytest.approx(expected[kind], abs=1e-12) for kind in expected)


async def test_the_same_input_counts_once() -> None:
    """Asking again, at the same time or later, with another seed or target, multiplies no evidence."""
    watched = house(halt_at="look")
    calls = [asyncio.create_task(watched.pipeline.explain(ask(TEXT, request_id=str(i)))) for i in range(3)]
    model = watched.pipeline.compute
    assert isinstance(model, SumModel)
    await model.halted.wait()
    model.let_go.set()
    await asyncio.gather(*calls)
    for request in (ask(TEXT), ask(TEXT, seed=5), ask(TEXT, target=Target(target="no"))):
        await watched.pipeline.explain(request)
    assert watched.record.map(MapKind.RAW_ATTENTION).pooled.requests == 1
    assert len(watched.offered) == 1


async def test_only_what_was_checked_on_the_usual_maps_counts() -> None:
    """Unchecked answers, and maps by other options, say nothing of the maps that are recorded."""
    watched = house()
    await watched.pipeline.explain(ask(TEXT, check_level=CheckLevel.NONE))
    await watched.pipeline.explain(ask(TEXT, map_options=MapOptions(raw_layers=(1,))))
    assert (watched.record.maps, watched.offered) == ({}, [])


async def test_what_is_checked_again_is_what_was_answered() -> None:
    """The flags, weights and question of the answer go on, with a seed that no caller has chosen."""
    watched = house()
    answer = await watched.pipeline.explain(ask(TEXT, seed=5))
    (offered,) = watched.offered
    assert offered.explanation_id == answer.explanation_id
    assert offered.flags == {a.map.kind: a.verdict.flag for a in answer.attributions}
    assert all(offered.weights[a.map.kind] is a.map.scores for a in answer.attributions)
    assert (offered.promised, offered.answered_at, offered.policy) == (True, 1000, STANDARD)
    assert offered.seed not in {5, answer.seed}


@pytest.mark.parametrize(
    ("fields", "promised"),
    [
        ({}, True),
        ({"target": Target(target="yes")}, True),
        ({"target": Target(target="no")}, False),
        ({"target": Target(foil="no")}, False),
        ({"primary_map": MapKind.RAW_ATTENTION}, False),
        ({"max_rows": 3}, False),
    ],
)
async def test_the_promise_is_held_against_what_it_is_about(fields: dict[str, Any], promised: bool) -> None:  # noqa: FBT001 - a column
    """Another class, another map or checks that were cut are not what the calibration spoke of."""
    watched = house()
    await watched.pipeline.explain(ask(TEXT, **fields))
    assert [one.promised for one in watched.offered] == [promised]


async def test_without_a_calibration_nothing_is_promised() -> None:
    """No promise, no broken promise."""
    watched = house(calibrated=False)
    await watched.pipeline.explain(ask(TEXT))
    assert [one.promised for one in watched.offered] == [False]
    assert watched.told.broken == []


async def test_wrong_flags_are_counted_and_said(caplog: pytest.LogCaptureFixture) -> None:
    """What a recheck finds is counted by map and flag; a wrong flag is in the log with its explanation's id."""
    watched = house()
    answer = await watched.pipeline.explain(ask(TEXT))
    (offered,) = watched.offered
    truth = Truth(alignment=0.2, error=0.01, omits_top_effect=False)
    watched.watch.rechecked(offered, {MapKind.GRADIENT_ROLLOUT: truth, MapKind.NORM_ROLLOUT: truth})
    watched.watch.ended(Ended.DONE)
    record = watched.record
    assert record.map(MapKind.GRADIENT_ROLLOUT).tally(Flag.FAITHFUL) == Tally(checked=1, wrong=1)
    assert record.map(MapKind.NORM_ROLLOUT).tally(Flag.UNFAITHFUL) == Tally(checked=1, wrong=0)
    assert record.answers == (Answer(at=1000, wrong=True),)
    assert (MapKind.GRADIENT_ROLLOUT, Flag.FAITHFUL, True) in watched.told.flags
    assert watched.told.outcomes == ["done"]
    (said,) = [one for one in caplog.records if one.message == "flag_was_wrong"]
    assert said.__dict__["rollcall_fields"]["explanation_id"] == answer.explanation_id
    assert not any(word in str(said.__dict__["rollcall_fields"].values()) for word in WORDS[-3:])
    assert watched.told.broken[-1]  # the first answer of all was wrong: one of one is above 5 % beyond chance


def test_a_record_goes_on_or_begins_anew() -> None:
    """The same weights under the same calibration go on; another digest, precision or calibration starts anew."""
    pooled = MapRecord(pooled=Pooled(flags={Flag.FAITHFUL: 7}))
    kept = ModelRecord(identity=Identity.of(CALIBRATED), since=5, maps={MapKind.RAW_ATTENTION: pooled})
    assert house(records={CARD.ref.name: kept}).record is kept
    for change in ({"digest": "sha256:bb"}, {"dtype": "bfloat16"}, {"calibration": "older"}):
        stale = replace(kept, identity=replace(kept.identity, **change))
        fresh = house(records={CARD.ref.name: stale}).record
        assert (fresh.maps, fresh.since) == ({}, 1000)


def test_a_recheck_of_another_models_answer_is_forgotten() -> None:
    """What was found about weights that are served no more does not count for those that are."""
    watched = house()
    asyncio.run(watched.pipeline.explain(ask(TEXT)))
    (offered,) = watched.offered
    watched.watch.serve(replace(CALIBRATED, calibration=CalibrationRef(id="newer", alpha=0.02)))
    before = watched.record
    watched.watch.rechecked(offered, {MapKind.GRADIENT_ROLLOUT: Truth(alignment=0.0, omits_top_effect=False)})
    assert watched.record is before


async def test_a_fault_of_the_watch_reaches_no_caller(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever counts must not stop an answer."""
    watched = house()
    watched.watch.records.clear()
    answer = await watched.pipeline.explain(ask(TEXT))
    assert answer.primary.verdict.flag is Flag.FAITHFUL
    assert [record.message for record in caplog.records] == ["answer_not_watched"]


OWN = {"explanation_id", "timing"}
"""What differs between two answers to the same request."""


def same(first: Explanation, second: Explanation) -> bool:
    """Whether two answers say the same, to the last digit."""
    return all(
        repr(getattr(first, one.name)) == repr(getattr(second, one.name))
        for one in fields(first)
        if one.name not in OWN
    )


@pytest.mark.parametrize("text", [TEXT, OTHER_TEXT, "the plot is thin", "me"])
async def test_a_verdict_depends_on_its_request_alone(text: str) -> None:
    """Whatever was pooled before, for or against a map, watched or not, the same request gets the same answer."""
    identity = Identity.of(CALIBRATED)
    records = [
        ModelRecord(
            identity=identity,
            since=0,
            maps={
                kind: MapRecord(
                    pooled=Pooled(flags={flag: 10**6}, alignments=10**6, alignment_sum=a * 10**6, log_e=log_e),
                    rechecked={Flag.FAITHFUL: Tally(checked=900, wrong=wrong)},
                )
                for kind in MapKind
            },
            answers=tuple(Answer(at=0, wrong=wrong > 0) for _ in range(900)),
        )
        for flag, a, log_e, wrong in ((Flag.FAITHFUL, 1.0, 1e5, 0), (Flag.UNFAITHFUL, -1.0, -1e5, 900))
    ]
    houses = [house(), house(share=0), *(house(records={CARD.ref.name: record}) for record in records)]
    unwatched = pipeline_of(SumModel(), model=CALIBRATED, calibration=CALIBRATION)
    plain = await unwatched.explain(ask(text))
    for one in houses:
        assert same(await one.pipeline.explain(ask(text)), plain)
