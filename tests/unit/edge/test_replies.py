"""Replies carry every number of the domain values, and say "absent" where there is none."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from rollcall.domain.errors import InvalidInput
from rollcall.domain.explanation import Effect
from rollcall.domain.maps import MAX_ATTENTION_BYTES, MapKind, MissingMap
from rollcall.domain.recording import Receipt, RecordMode, RecordState
from rollcall.domain.verdicts import CalibrationRef, CheckKind, CheckOutcome, CheckResult, Witness
from rollcall.edge.converters import replies
from rollcall.v1 import common_pb2, explanation_pb2, explanation_service_pb2, model_pb2
from rollcall.verdict.policies import THOROUGH
from tests.unit.edge import samples
from tests.unit.edge.fakes import LIMITS


def test_explanation_leaves_whole() -> None:
    """Each part of an explanation is found again in the reply."""
    reply = replies.explain_response(samples.explanation())
    assert (reply.explanation_id, reply.request_id, reply.rows, reply.seed) == ("e-1", "r-1", 70, 2**64 - 1)
    assert reply.model.digest == "sha256:" + "ab" * 32
    assert list(reply.prediction.probabilities) == [0.12, 0.88]
    assert (reply.prediction.predicted, reply.prediction.target, reply.prediction.margin) == ("positive",) * 2 + (2.0,)
    assert reply.prediction.HasField("threshold_met")
    assert [(unit.text, unit.token_start, unit.char_end) for unit in reply.units] == [("good", 1, 4), ("film", 2, 9)]
    assert [effect.effect for effect in reply.effects] == [1.5, -0.5]
    assert (reply.decision_flip.found, list(reply.decision_flip.margins)) == (True, [-0.1, -0.2])
    assert reply.primary_map == explanation_pb2.MAP_KIND_RAW_ATTENTION
    assert reply.recommended_map == explanation_pb2.MAP_KIND_GRADIENT_ROLLOUT
    assert (reply.truncated, reply.units_grouped, reply.reported_mismatch) == (True, True, True)
    assert (reply.tokens_total, reply.tokens_used, reply.dropped_mass) == (140, 128, 0.25)
    assert reply.attention.tensor.data == b"\x55\x55\x55"
    assert list(reply.attention.tensor.shape) == [1, 1, 1, 3]
    assert [stage.stage for stage in reply.timing.stages] == ["encode", "predict"]


def test_verdict_leaves_whole() -> None:
    """Every number needed to decide again is in the verdict."""
    raw, rollout = replies.explain_response(samples.explanation()).attributions
    assert (raw.verdict.flag, raw.verdict.reason) == (
        explanation_pb2.FLAG_INCONCLUSIVE,
        explanation_pb2.REASON_LOW_POWER,
    )
    assert (rollout.verdict.flag, rollout.verdict.reason) == (
        explanation_pb2.FLAG_FAITHFUL,
        explanation_pb2.REASON_UNSPECIFIED,
    )
    assert (raw.class_specific, rollout.class_specific) == (False, True)
    instrument, alignment = rollout.verdict.checks
    assert not instrument.HasField("threshold")
    assert (alignment.threshold, alignment.p_value, alignment.seed) == (0.5, 0.01, 2**64 - 1)
    assert rollout.verdict.alignment.per_operator[0].rows == 16
    (witness,) = rollout.verdict.witnesses
    assert (list(witness.map), witness.jsd, list(witness.removed_units)) == ([0.9, 0.1], 0.3, [0])
    assert dict(rollout.verdict.thresholds) == {"A0": 0.5}


def test_the_verdict_is_that_of_the_primary_map() -> None:
    """The flag that people read first is the one of the map that they see first."""
    answer = samples.explanation()
    for attribution in answer.attributions:
        reply = replies.explain_response(replace(answer, primary_map=attribution.map.kind))
        (primary,) = [a for a in reply.attributions if a.map == reply.primary_map]
        assert reply.verdict == primary.verdict
    assert len({a.verdict.flag for a in answer.attributions}) > 1


def test_absent_parts_stay_absent() -> None:
    """A measurement that was not made is not sent as a zero."""
    reply = replies.explain_response(samples.bare_explanation())
    assert not any(reply.HasField(part) for part in ("decision_flip", "attention"))
    assert reply.recommended_map == explanation_pb2.MAP_KIND_UNSPECIFIED
    assert not reply.verdict.HasField("alignment")
    assert not reply.verdict.HasField("jsd_from_uniform")
    assert not reply.verdict.calibration.HasField("alpha")


def test_maps_that_are_missing_are_named() -> None:
    """A client learns which map it asked for is not there, and why; a map's note goes with it."""
    answer = samples.explanation()
    noted = tuple(replace(a, map=replace(a.map, note=f"About {a.map.kind.value}.")) for a in answer.attributions)
    missing = (MissingMap(kind=MapKind.ATTENTION_FLOW, reason="no time.", late=True),)
    reply = replies.explain_response(replace(answer, attributions=noted, missing_maps=missing))
    (lost,) = reply.missing_maps
    assert (lost.map, lost.reason) == (explanation_pb2.MAP_KIND_ATTENTION_FLOW, "no time.")
    assert [a.note for a in reply.attributions] == ["About raw_attention.", "About gradient_rollout."]
    assert not replies.explain_response(answer).missing_maps


def test_thorough_checks_leave_whole() -> None:
    """Heads, results without a test, an adversary's map and the policy behind them arrive; other levels have none."""
    answer = samples.bare_explanation()
    (attribution,) = answer.attributions
    verdict = replace(
        attribution.verdict,
        checks=(CheckResult(kind=CheckKind.ERASURE, outcome=CheckOutcome.MEASURED, statistic="x", value=0.5),),
        witnesses=(Witness(kind=CheckKind.HEADS, detail="", heads=((1, 2), (0, 3))),),
    )
    close = replace(answer, attributions=(replace(attribution, verdict=verdict),), thorough=THOROUGH)
    reply = replies.explain_response(close)
    assert reply.thorough_policy.id == "thorough@1"
    assert reply.thorough_policy.digest == THOROUGH.digest
    assert reply.thorough_policy.thresholds["adversary_tvd"] == 0.01
    assert [(head.layer, head.head) for head in reply.verdict.witnesses[0].heads] == [(1, 2), (0, 3)]
    assert reply.verdict.checks[0].outcome == explanation_pb2.CHECK_OUTCOME_MEASURED
    assert not replies.explain_response(answer).HasField("thorough_policy")


def test_numbers_that_are_none_arrive_as_such() -> None:
    """A map with NaN, whose verdict says NUMERICS, can be sent."""
    answer = samples.bare_explanation()
    (attribution,) = answer.attributions
    broken = replace(attribution, map=replace(attribution.map, scores=np.array([math.nan, math.inf])))
    reply = replies.explain_response(replace(answer, attributions=(broken,)))
    received = explanation_pb2.ExplainResponse.FromString(reply.SerializeToString())
    assert math.isnan(received.attributions[0].scores[0])


def test_prediction_leaves_whole() -> None:
    """A prediction says which weights made it, and whether its input was cut."""
    reply = replies.predict_response(samples.predicted())
    assert isinstance(reply, explanation_service_pb2.PredictResponse)
    assert (reply.request_id, reply.model.name, reply.truncated) == ("r-1", samples.MODEL, True)


def test_model_card_leaves_whole() -> None:
    """A caller can learn what a model can do, and what it was tested for."""
    reply = replies.model(samples.card(), limits=replace(LIMITS, max_characters=9, max_rows=77), default_model=None)
    assert (reply.ref.name, reply.family, reply.task) == (samples.MODEL, "bert", model_pb2.TASK_SINGLE_LABEL)
    assert (reply.max_rows, reply.max_characters, reply.explainable, reply.is_default) == (77, 1_000, True, False)
    assert reply.threshold == common_pb2.Threshold(label="positive", probability=0.93)
    assert [test.name for test in reply.self_tests] == ["rows_sum"]
    assert len(reply.maps) == len(MapKind)


def test_model_without_decision_rule_has_none() -> None:
    """A model that decides by arg max shows no threshold."""
    card = replace(samples.card(), threshold=None)
    limits = replace(LIMITS, max_characters=9, max_rows=77)
    bare = replies.model(card, limits=limits, default_model=samples.MODEL)
    assert not bare.HasField("threshold")
    assert not bare.HasField("record")


def test_attention_too_large_for_a_reply_is_refused() -> None:
    """Attention that clients would reject is refused with what to select instead."""
    huge = replace(samples.attention(), data=bytes(MAX_ATTENTION_BYTES + 1))
    with pytest.raises(InvalidInput, match=r"attention: .*fewer layers or heads.*READOUT.*FLOAT16"):
        replies.explain_response(replace(samples.explanation(), attention=huge))


def test_log_fields_hold_nothing_of_the_input() -> None:
    """What a log line tells of a reply is ids, flags and counts."""
    assert replies.describe(replies.explain_response(samples.explanation())) == {
        "explanation_id": "e-1",
        "tokens": 128,
        "units": 2,
        "rows": 70,
        "map": "raw_attention",
        "flag": "inconclusive",
        "reason": "low_power",
    }
    assert replies.describe(replies.predict_response(samples.predicted())) == {"tokens": 128}
    assert replies.describe(explanation_service_pb2.ListModelsResponse()) == {}


@given(st.lists(st.tuples(st.integers(0, 63), st.floats(), st.floats(min_value=0)), max_size=64))
def test_effects_survive_the_wire(triples: list[tuple[int, float, float]]) -> None:
    """Effects arrive bit for bit."""
    effects = tuple(Effect(unit=unit, effect=effect, standard_error=error) for unit, effect, error in triples)
    sent = replies.explain_response(replace(samples.explanation(), effects=effects)).SerializeToString()
    received = explanation_pb2.ExplainResponse.FromString(sent).effects
    assert repr([(e.unit, e.effect, e.standard_error) for e in received]) == repr(triples)


def test_a_record_leaves_whole() -> None:
    """Counts, means, intervals and the broken promise reach the caller; without a calibration nothing is promised."""
    card, limits = samples.card(), replace(LIMITS, max_characters=9, max_rows=77)
    record = replies.model(card, limits=limits, default_model=None, record=samples.record()).record
    (found,) = record.maps
    assert (record.since.seconds, found.map, found.requests) == (
        1_700_000_000,
        explanation_pb2.MAP_KIND_GRADIENT_ROLLOUT,
        100,
    )
    assert {count.flag: count.requests for count in found.flags} == {
        explanation_pb2.FLAG_FAITHFUL: 81,
        explanation_pb2.FLAG_INCONCLUSIVE: 19,
    }
    assert found.mean_alignment == pytest.approx(0.7)
    assert found.log_e_value == 31.5
    (flag,) = found.rechecked
    assert (flag.rechecked, flag.wrong) == (20, 5)
    exact = binomtest(5, 20).proportion_ci(method="exact")
    assert (flag.lower, flag.upper) == pytest.approx((exact.low, exact.high))
    promise = record.promise
    assert (promise.alpha, promise.answers, promise.wrong, promise.broken) == (0.05, 20, 5, True)
    assert promise.lower_limit == pytest.approx(binomtest(5, 20, alternative="greater").proportion_ci().low)
    assert promise.since.seconds == 1_700_000_100
    unpromised = replace(card, calibration=CalibrationRef(id="NONE"))
    assert not replies.model(unpromised, limits=limits, default_model=None, record=samples.record()).record.HasField(
        "promise"
    )
    empty = replace(samples.record(), maps={}, answers=())
    nothing = replies.model(card, limits=limits, default_model=None, record=empty).record.promise
    assert (nothing.answers, nothing.broken, nothing.HasField("since")) == (0, False, False)


def test_a_receipt_leaves_whole() -> None:
    """The caller is told which record there is and how far it is; nothing where the server keeps none."""
    assert not replies.explain_response(samples.explanation()).HasField("audit")
    receipt = Receipt(
        state=RecordState.SEQUENCED,
        mode=RecordMode.FULL,
        record_id="0198",
        envelope_sha256="ab" * 32,
        log_index=0,
    )
    reply = replies.explain_response(replace(samples.explanation(), receipt=receipt)).audit
    assert (reply.state, reply.mode) == (explanation_pb2.RECORD_STATE_SEQUENCED, explanation_pb2.RECORD_MODE_FULL)
    assert (reply.record_id, reply.envelope_sha256, reply.HasField("log_index")) == ("0198", "ab" * 32, True)
    none = Receipt(state=RecordState.NOT_RECORDED, note="records are off for this request")
    reply = replies.explain_response(replace(samples.explanation(), receipt=none)).audit
    assert (reply.state, reply.mode) == (explanation_pb2.RECORD_STATE_NOT_RECORDED, 0)
    assert (reply.HasField("log_index"), reply.note) == (False, "records are off for this request")


def test_a_prediction_carries_its_receipt_and_the_mismatch() -> None:
    """What became of the decision's record is told, where there is one."""
    assert not replies.predict_response(samples.predicted()).HasField("audit")
    receipt = Receipt(state=RecordState.SPOOLED, mode=RecordMode.FULL, record_id="r", envelope_sha256="ab" * 32)
    reply = replies.predict_response(replace(samples.predicted(), receipt=receipt, reported_mismatch=True))
    assert (reply.audit.record_id, reply.audit.mode) == ("r", explanation_pb2.RECORD_MODE_FULL)
    assert reply.reported_mismatch
