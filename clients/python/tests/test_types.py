"""The values mirror the wire, field by field."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

import canned
from rollcall_client import (
    Alignment,
    AttentionSelection,
    AttentionTensor,
    Attribution,
    Box,
    CalibrationRef,
    CheckResult,
    DecisionFlip,
    Effect,
    Explanation,
    Flag,
    IntegratedGradientsOptions,
    KeptPromise,
    MapRecord,
    MissingMap,
    Model,
    ModelRecord,
    ModelRef,
    OperatorAlignment,
    Prediction,
    PredictResult,
    RawAttentionOptions,
    RecheckedFlag,
    RolloutOptions,
    SelfTest,
    SideVerdict,
    StageTiming,
    Threshold,
    Timing,
    Unit,
    Verdict,
    Witness,
    _answers,
)
from rollcall_client._v1 import common_pb2, explanation_pb2, explanation_service_pb2, model_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message

MIRRORS: list[tuple[type, type[Message]]] = [
    (Alignment, explanation_pb2.Alignment),
    (AttentionSelection, explanation_pb2.AttentionSelection),
    (Attribution, explanation_pb2.Attribution),
    (CalibrationRef, explanation_pb2.CalibrationRef),
    (CheckResult, explanation_pb2.CheckResult),
    (DecisionFlip, explanation_pb2.DecisionFlip),
    (Effect, explanation_pb2.Effect),
    (Explanation, explanation_pb2.ExplainResponse),
    (IntegratedGradientsOptions, explanation_pb2.IntegratedGradientsOptions),
    (MissingMap, explanation_pb2.MissingMap),
    (Model, model_pb2.Model),
    (ModelRecord, model_pb2.ModelRecord),
    (MapRecord, model_pb2.MapRecord),
    (KeptPromise, model_pb2.KeptPromise),
    (RecheckedFlag, model_pb2.RecheckedFlag),
    (ModelRef, common_pb2.ModelRef),
    (OperatorAlignment, explanation_pb2.OperatorAlignment),
    (PredictResult, explanation_service_pb2.PredictResponse),
    (Prediction, common_pb2.Prediction),
    (RawAttentionOptions, explanation_pb2.RawAttentionOptions),
    (RolloutOptions, explanation_pb2.RolloutOptions),
    (SelfTest, model_pb2.SelfTest),
    (StageTiming, common_pb2.StageTiming),
    (Threshold, common_pb2.Threshold),
    (Timing, common_pb2.Timing),
    (Unit, explanation_pb2.Unit),
    (Verdict, explanation_pb2.Verdict),
    (Witness, explanation_pb2.Witness),
    (SideVerdict, explanation_pb2.SideVerdict),
    (Box, explanation_pb2.Box),
]


@pytest.mark.parametrize(("value", "message"), MIRRORS, ids=lambda kind: kind.__name__)
def test_mirrors_the_wire(value: type, message: type[Message]) -> None:
    """A field that the contract gains must be gained here, under the same name."""
    own = {field.name for field in fields(value) if field.metadata.get("in_json", True)}
    assert own == {field.name for field in message.DESCRIPTOR.fields}


def test_the_tensor_is_flattened() -> None:
    """Attention holds its tensor's fields as its own."""
    own = {field.name for field in explanation_pb2.AttentionTensor.DESCRIPTOR.fields} - {"tensor"}
    inner = {field.name for field in common_pb2.Tensor.DESCRIPTOR.fields}
    assert {field.name for field in fields(AttentionTensor)} == own | inner


def test_probabilities_must_fit_the_labels() -> None:
    """A prediction whose numbers cannot be told apart is refused."""
    with pytest.raises(ValueError, match="do not fit together"):
        Prediction(
            labels=("no", "yes"), probabilities=(1.0,), predicted="no", predicted_index=0, margin=1.0, target="no"
        )


def test_predictions_and_models_become_json() -> None:
    """What a program prints for other programs is strict JSON."""
    result = _answers.prediction(canned.predict_reply()).to_dict()
    model = _answers.model(explanation_service_pb2.GetModelResponse(model=canned.model())).to_dict()
    assert json.loads(json.dumps([result, model], allow_nan=False)) == [result, model]
    record = json.loads(json.dumps(model))["record"]
    assert record["since"] == "2023-11-14T22:13:20+00:00"
    assert record["maps"][0]["flags"] == {"FAITHFUL": 81, "INCONCLUSIVE": 19}
    assert (model["task"], model["maps"]) == ("SINGLE_LABEL", ["RAW_ATTENTION", "GRADIENT_ROLLOUT"])


def test_a_record_is_read() -> None:
    """What a model's answers came to keeps every number; what is absent is None."""
    record = _answers.model(explanation_service_pb2.GetModelResponse(model=canned.model())).record
    assert record is not None
    rollout, raw = record.maps
    assert (rollout.share(Flag.FAITHFUL), rollout.share(Flag.UNFAITHFUL), raw.share(Flag.FAITHFUL)) == (0.81, 0.0, 0.0)
    assert (rollout.mean_alignment, raw.mean_alignment, rollout.log_e_value) == (0.7, None, 31.5)
    assert rollout.rechecked == (RecheckedFlag(flag=Flag.FAITHFUL, rechecked=20, wrong=5, lower=0.087, upper=0.491),)
    assert record.promise == KeptPromise(alpha=0.05, answers=20, wrong=5, lower_limit=0.104, broken=True, since=None)
    bare = canned.model()
    bare.ClearField("record")
    assert _answers.model(explanation_service_pb2.GetModelResponse(model=bare)).record is None
