"""ExplanationService over a real port: what comes in reaches the house whole, and what it answers leaves whole."""

from __future__ import annotations

import time

from rollcall.domain.inputs import TextInput
from rollcall.v1 import common_pb2, explanation_pb2, explanation_service_pb2
from tests.unit.edge import samples
from tests.unit.edge.fakes import FakeHouse, failure_of, open_door

TEXT = common_pb2.TextInput(text="a good film")


async def test_predict_answers() -> None:
    """A caller gets the prediction of the model that serves."""
    async with open_door(FakeHouse()) as door:
        reply = await door.stub.Predict(explanation_service_pb2.PredictRequest(text=TEXT, request_id="mine"))
        assert reply.request_id == "mine"
        assert reply.prediction.predicted == "positive"
        assert reply.truncated
        assert door.house.asked[0].input == TextInput(text="a good film")


async def test_explain_answers() -> None:
    """A caller gets the explanation with a verdict for each map."""
    async with open_door(FakeHouse()) as door:
        reply = await door.stub.Explain(explanation_pb2.ExplainRequest(text=TEXT))
        assert [attribution.verdict.flag for attribution in reply.attributions] == [3, 1]
        assert reply.verdict == reply.attributions[0].verdict


async def test_models_are_listed_and_found() -> None:
    """A caller can list the models, and ask for one by name or for the default one."""
    async with open_door(FakeHouse()) as door:
        (listed,) = (await door.stub.ListModels(explanation_service_pb2.ListModelsRequest())).models
        named = await door.stub.GetModel(explanation_service_pb2.GetModelRequest(model=samples.MODEL))
        default = await door.stub.GetModel(explanation_service_pb2.GetModelRequest())
        assert listed == named.model == default.model
        assert listed.is_default
        assert listed.max_rows == 4096


async def test_unknown_model_is_not_found() -> None:
    """A caller who asks for a model that is not served learns so."""
    async with open_door(FakeHouse()) as door:
        failure = await failure_of(door.stub.GetModel(explanation_service_pb2.GetModelRequest(model="nobody")))
        assert failure.code == "NOT_FOUND"


async def test_deadline_reaches_the_house() -> None:
    """The caller's deadline becomes a reading of the monotonic clock; no deadline stays none."""
    async with open_door(FakeHouse()) as door:
        before = time.monotonic()
        await door.stub.Predict(explanation_service_pb2.PredictRequest(text=TEXT), timeout=60)
        await door.stub.Explain(explanation_pb2.ExplainRequest(text=TEXT))
        first, second = (request.deadline for request in door.house.asked)
        assert first is not None
        assert before + 55 < first <= time.monotonic() + 60.5
        assert second is None


async def test_serialisation_is_timed() -> None:
    """The time to write a reply is a stage like any other."""
    async with open_door(FakeHouse()) as door:
        await door.stub.Explain(explanation_pb2.ExplainRequest(text=TEXT))
        labels = {"model": samples.MODEL, "stage": "serialize"}
        assert door.sample("rollcall_stage_duration_seconds_count", **labels) == 1
