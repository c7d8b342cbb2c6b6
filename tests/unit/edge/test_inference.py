"""The Open Inference Protocol over a real port: the same house, the same answers, refusals by this protocol's names."""

from __future__ import annotations

import asyncio
import json
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rollcall.domain.errors import InvalidInput, ModelNotFound, Overloaded, Unsupported
from rollcall.domain.explanation import ExplainRequest
from rollcall.domain.inputs import Target, TextInput, TokensInput
from rollcall.domain.maps import MapKind
from rollcall.domain.verdicts import CheckLevel, Flag, Reason
from rollcall.edge.converters.oip.catalog import EXPLAINED, MAX_BATCH, OUTPUTS, PREDICTED
from rollcall.oip import open_inference_pb2 as oip
from rollcall.settings import AuthSettings
from tests.unit.edge import samples
from tests.unit.edge.fakes import Door, FakeHouse, failure_of, open_door
from tests.unit.edge.test_interceptors import captured_log

if TYPE_CHECKING:
    from rollcall.domain.explanation import Explanation, Predicted, PredictRequest

TEXTS = (b"a canaryword film", b"a bad one")
IDS = np.array([[101, 7, 8, 102], [101, 9, 102, 0]], dtype="<i8")
MASK = np.array([[1, 1, 1, 1], [1, 1, 1, 0]], dtype="<i8")
PATIENCE = 20.0


def tensor(name: str, datatype: str, *shape: int) -> oip.ModelInferRequest.InferInputTensor:
    """Name a tensor whose values are elsewhere."""
    return oip.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)


def packed(*elements: bytes) -> bytes:
    """Write BYTES as raw contents have them."""
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def texts(*outputs: str, **options: Any) -> oip.ModelInferRequest:  # noqa: ANN401 - values of parameters
    """Ask about two texts, raw."""
    request = oip.ModelInferRequest(
        model_name=samples.MODEL,
        inputs=[tensor("text", "BYTES", 2)],
        raw_input_contents=[packed(*TEXTS)],
        outputs=[oip.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in outputs],
    )
    kinds = {str: "string_param", int: "int64_param", bool: "bool_param"}
    for name, value in options.items():
        request.parameters[name].MergeFrom(oip.InferParameter(**{kinds[type(value)]: value}))
    return request


def tokens() -> oip.ModelInferRequest:
    """Ask about two rows of ids, the second padded, raw."""
    return oip.ModelInferRequest(
        inputs=[tensor("input_ids", "INT64", 2, 4), tensor("attention_mask", "INT64", 2, 4)],
        raw_input_contents=[IDS.tobytes(), MASK.tobytes()],
    )


async def ask(door: Door, request: oip.ModelInferRequest) -> oip.ModelInferResponse:
    """Make the call."""
    reply: oip.ModelInferResponse = await door.inference.ModelInfer(request)
    return reply


def elements(reply: oip.ModelInferResponse, name: str) -> list[bytes]:
    """Read a raw BYTES output."""
    (data,) = (reply.raw_output_contents[i] for i, one in enumerate(reply.outputs) if one.name == name)
    found, position = [], 0
    while position < len(data):
        (length,) = struct.unpack_from("<I", data, position)
        found.append(data[position + 4 : position + 4 + length])
        position += 4 + length
    return found


async def test_a_batch_is_predicted_item_by_item() -> None:
    """Each text reaches the house as a native request; without outputs only the prediction comes."""
    async with open_door(FakeHouse()) as door:
        reply = await ask(door, texts())
        assert [request.input for request in door.house.asked] == [TextInput(text=one.decode()) for one in TEXTS]
        assert not any(isinstance(request, ExplainRequest) for request in door.house.asked)
    assert (reply.model_name, reply.model_version) == (samples.MODEL, "r1")
    assert [(one.name, one.datatype, list(one.shape)) for one in reply.outputs] == [
        ("logits", "FP32", [2, 2]),
        ("probabilities", "FP32", [2, 2]),
        ("label", "BYTES", [2]),
    ]
    assert np.frombuffer(reply.raw_output_contents[0], "<f4").tolist() == [-1, 1, -1, 1]
    assert elements(reply, "label") == [b"positive", b"positive"]


async def test_ids_lose_their_padding() -> None:
    """A row of ids ends where its mask does."""
    async with open_door(FakeHouse()) as door:
        await ask(door, tokens())
        assert [request.input for request in door.house.asked] == [
            TokensInput(input_ids=(101, 7, 8, 102)),
            TokensInput(input_ids=(101, 9, 102)),
        ]


async def test_types_of_single_texts_change_nothing() -> None:
    """What a BERT tokenizer returns goes in whole: types of a single text are zeros, also in the padding."""
    request = tokens()
    request.inputs.append(tensor("token_type_ids", "INT64", 2, 4))
    request.raw_input_contents.append(np.zeros_like(IDS).tobytes())
    async with open_door(FakeHouse()) as door:
        await ask(door, request)
        assert [each.input for each in door.house.asked] == [
            TokensInput(input_ids=(101, 7, 8, 102)),
            TokensInput(input_ids=(101, 9, 102)),
        ]


async def test_typed_contents_are_answered_with_typed_contents() -> None:
    """A client that writes values into the fields of their types gets values there, and none twice."""
    request = oip.ModelInferRequest(inputs=[tensor("text", "BYTES", 2, 1)], id="mine")
    request.inputs[0].contents.bytes_contents.extend(TEXTS)
    request.outputs.extend(oip.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in OUTPUTS)
    async with open_door(FakeHouse()) as door:
        reply = await ask(door, request)
    assert (reply.id, len(reply.raw_output_contents)) == ("mine", 0)
    values = {one.name: one.contents for one in reply.outputs}
    assert list(values["label"].bytes_contents) == [b"positive"] * 2
    assert list(values["rollcall.unit_count"].int_contents) == [2, 2]
    assert list(values["rollcall.scores"].fp32_contents) == pytest.approx([0.3, 0.7] * 2)


async def test_explanations_come_where_they_are_requested() -> None:
    """Scores, units, counts, flags and reports of each item, all from one native explanation of it."""
    async with open_door(FakeHouse()) as door:
        reply = await ask(door, texts(*EXPLAINED))
        assert len(door.house.asked) == 2
    report = json.loads(elements(reply, "rollcall.report")[1])
    assert report["verdict"]["flag"] == "FLAG_" + elements(reply, "rollcall.flag")[1].decode()
    assert report["verdict"] == report["attributions"][0]["verdict"]
    assert elements(reply, "rollcall.units") == [unit["text"].encode() for unit in report["units"]] * 2


async def test_scores_never_come_without_their_flag() -> None:
    """Whoever asks for weights alone gets the flag, too."""
    for name in set(EXPLAINED) - {"rollcall.flag"}:
        async with open_door(FakeHouse()) as door:
            reply = await ask(door, texts(name))
        assert {one.name for one in reply.outputs} == {name, "rollcall.flag"}


async def test_items_of_unequal_length_are_filled_up() -> None:
    """A shorter item has zeros and empty texts behind its own, and its count says so."""
    house = _Lengths()
    async with open_door(house) as door:
        reply = await ask(door, texts("rollcall.scores", "rollcall.units", "rollcall.unit_count"))
    assert np.frombuffer(reply.raw_output_contents[0], "<f4") == pytest.approx([0.3, 0.7, 1.0, 0.0])
    assert elements(reply, "rollcall.units")[3] == b""
    assert np.frombuffer(reply.raw_output_contents[2], "<i4").tolist() == [2, 1]


class _Lengths(FakeHouse):
    """Finds a single unit in the shorter text."""

    async def explain(self, request: ExplainRequest, tell: Any = None) -> Explanation:  # noqa: ANN401, ARG002
        answer = samples.explanation(request.request_id)
        if request.input == TextInput(text=TEXTS[0].decode()):
            return answer
        scores = tuple(replace(a, map=replace(a.map, scores=np.ones(1))) for a in answer.attributions)
        return replace(answer, units=answer.units[:1], attributions=scores)


async def test_options_travel_as_parameters() -> None:
    """Each option reaches the house as that of a native request."""
    given: dict[str, Any] = {
        "rollcall_map": "raw_attention, LEAVE_ONE_OUT",
        "rollcall_primary": "Leave_One_Out",
        "rollcall_policy": "strict",
        "rollcall_seed": 7,
        "rollcall_max_rows": 80,
        "rollcall_check_level": "none",
        "rollcall_target": "positive",
        "priority": 3,
    }
    async with open_door(FakeHouse()) as door:
        await ask(door, texts("rollcall.flag", **given))
        (asked, _) = door.house.asked
    assert isinstance(asked, ExplainRequest)
    assert asked.maps == (MapKind.RAW_ATTENTION, MapKind.LEAVE_ONE_OUT)
    assert (asked.primary_map, asked.policy) == (MapKind.LEAVE_ONE_OUT, "strict")
    assert (asked.seed, asked.max_rows, asked.check_level) == (7, 80, CheckLevel.NONE)
    assert asked.target == Target(target="positive")
    assert asked.deadline is None


async def test_a_timeout_is_a_deadline() -> None:
    """Microseconds of the parameter count like the call's own deadline, whichever is sooner."""
    async with open_door(FakeHouse()) as door:
        await ask(door, texts("rollcall.flag", timeout=2_000_000))
        await door.inference.ModelInfer(texts("rollcall.flag", timeout=10**12), timeout=5)
        deadlines = [asked.deadline for asked in door.house.asked]
    assert None not in deadlines
    assert 0 < max(deadlines) - min(deadlines) < 6  # type: ignore[type-var, operator] # none of them is None


async def test_an_item_that_the_house_refuses_is_named() -> None:
    """What the model finds wrong with one item is told with the item's number, in the names of this protocol."""
    house = _Refusing(InvalidInput.of("text.text", "holds no word that the model can read"))
    async with open_door(house) as door:
        assert (await failure_of(ask(door, texts()))).fields == {"text[1]": "holds no word that the model can read"}
    house = _Refusing(InvalidInput.of("tokens.input_ids[3]", "not in the vocabulary"))
    async with open_door(house) as door:
        assert (await failure_of(ask(door, texts()))).fields == {"input_ids[1][3]": "not in the vocabulary"}
    house = _Refusing(InvalidInput.of("policy", "unknown"))
    async with open_door(house) as door:
        assert (await failure_of(ask(door, texts()))).fields == {"parameters[rollcall_policy]": "unknown"}


class _Refusing(FakeHouse):
    """Refuses the second text."""

    def __init__(self, refusal: Exception) -> None:
        super().__init__()
        self.refusal = refusal

    async def predict(self, request: PredictRequest) -> Predicted:
        if request.input == TextInput(text=TEXTS[1].decode()):
            raise self.refusal
        return await super().predict(request)


async def test_empty_texts_are_all_named() -> None:
    """Every bad item is found before anything is run."""
    request = texts()
    request.raw_input_contents[0] = packed(b" ", b"")
    async with open_door(FakeHouse()) as door:
        assert set((await failure_of(ask(door, request))).fields) == {"text[0]", "text[1]"}
        assert door.house.asked == []


async def test_overload_leaves_as_that_of_the_native_service() -> None:
    """A full server is UNAVAILABLE with a hint, whoever asks."""
    async with open_door(FakeHouse(error=Overloaded("full"))) as door:
        assert (await failure_of(ask(door, texts("rollcall.flag")))).code == "UNAVAILABLE"
        assert door.sample("rollcall_admission_rejected_total", model=samples.MODEL, reason="queue_full") == 1


async def test_leaving_stops_every_item() -> None:
    """A caller who cancels takes the whole batch along."""
    house = FakeHouse(hangs=True)
    async with open_door(house) as door:
        call: Any = door.inference.ModelInfer(texts("rollcall.flag"))
        async with asyncio.timeout(PATIENCE):
            while len(house.asked) < 2:  # noqa: ASYNC110 - nobody announces it
                await asyncio.sleep(0.01)
        call.cancel()
        await asyncio.wait_for(house.cancelled.wait(), PATIENCE)


async def test_a_call_is_counted_and_logged_once() -> None:
    """ModelInfer is counted under its own service, logged without its input; what only lists is neither."""
    with captured_log() as lines:
        async with open_door(FakeHouse()) as door:
            await ask(door, texts("rollcall.flag"))
            await door.inference.ServerLive(oip.ServerLiveRequest())
            assert door.handled("ModelInfer", "OK") == 1
            assert door.sample("rollcall_requests_total", method="ModelInfer", model=samples.MODEL, code="OK") == 1
            assert door.sample("rollcall_requests_in_flight", method="ModelInfer") == 0
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["method"], line["model"], line["items"]) == ("ModelInfer", samples.MODEL, 2)
    assert not any("canaryword" in str(each) for each in lines)


async def test_readiness_is_that_of_health() -> None:
    """Server and model are ready when health says so; a model that nobody configured is not."""
    async with open_door(FakeHouse()) as door:
        asked = [oip.ModelReadyRequest(name=name) for name in (samples.MODEL, "", "nobody")]
        assert (await door.inference.ServerLive(oip.ServerLiveRequest())).live
        assert not (await door.inference.ServerReady(oip.ServerReadyRequest())).ready
        assert not (await door.inference.ModelReady(asked[0])).ready
        await door.health.mark(samples.MODEL, ready=True)
        assert (await door.inference.ServerReady(oip.ServerReadyRequest())).ready
        assert [(await door.inference.ModelReady(one)).ready for one in asked] == [True, True, False]
        versions = [oip.ModelReadyRequest(name=samples.MODEL, version=version) for version in ("r1", "r2")]
        assert [(await door.inference.ModelReady(one)).ready for one in versions] == [True, False]


async def test_metadata_and_configuration_list_the_same_tensors() -> None:
    """What may be asked for is listed, -1 for lengths that vary; a model that only predicts lists no explanations."""
    async with open_door(FakeHouse()) as door:
        metadata = await door.inference.ModelMetadata(oip.ModelMetadataRequest(name=samples.MODEL))
        config = (await door.inference.ModelConfig(oip.ModelConfigRequest(name=samples.MODEL))).config
        failure = await failure_of(door.inference.ModelMetadata(oip.ModelMetadataRequest(version="r2")))
    assert [one.name for one in metadata.outputs] == list(OUTPUTS)
    assert {one.name: list(one.shape) for one in metadata.outputs}["logits"] == [-1, 2]
    assert [one.name for one in config.output] == list(OUTPUTS)
    assert [[-1, *one.dims] for one in config.input] == [list(one.shape) for one in metadata.inputs]
    assert config.max_batch_size == MAX_BATCH
    assert failure.code == "NOT_FOUND"
    async with open_door(_PredictionsOnly()) as door:
        metadata = await door.inference.ModelMetadata(oip.ModelMetadataRequest())
    assert [one.name for one in metadata.outputs] == list(PREDICTED)


class _PredictionsOnly(FakeHouse):
    """Serves a model that failed a self-test."""

    def model(self, name: str) -> Any:  # noqa: ANN401, ARG002 - a card
        return replace(samples.card(), self_tests=())


async def test_statistics_count_what_was_answered() -> None:
    """Answered calls, their items, and failed calls, by model; unknown models are nobody's."""
    async with open_door(FakeHouse()) as door:
        await ask(door, texts())
        door.house.error = Overloaded("full")
        await failure_of(ask(door, texts()))
        await failure_of(ask(door, oip.ModelInferRequest(model_name="nobody")))
        (stats,) = (await door.inference.ModelStatistics(oip.ModelStatisticsRequest())).model_stats
    assert (stats.name, stats.inference_count, stats.execution_count) == (samples.MODEL, 2, 1)
    assert (stats.inference_stats.success.count, stats.inference_stats.fail.count) == (1, 1)
    assert stats.inference_stats.success.ns > 0
    assert stats.last_inference > 1.7e12


async def test_what_a_revision_failed_with_is_for_admins() -> None:
    """It may quote files of the server: others hear that it could not be loaded, and no more."""
    async with open_door(FakeHouse()) as door:
        models = (await door.inference.RepositoryIndex(oip.RepositoryIndexRequest())).models
    assert [one.reason for one in models if one.name == "another"] == ["could not be loaded; admins are told why"]
    assert not any("safetensors" in one.reason for one in models)


async def test_the_index_tells_who_is_ready() -> None:
    """Models are listed with what else the repository holds, and a reason; only ready ones where those are wanted."""
    async with open_door(FakeHouse(), auth=AuthSettings(dangerously_trust_anyone=True)) as door:
        another, one, older = (await door.inference.RepositoryIndex(oip.RepositoryIndexRequest())).models
        assert (one.name, one.state, bool(one.reason)) == (samples.MODEL, "UNAVAILABLE", True)
        assert (older.name, older.version, older.state, older.reason) == (
            samples.MODEL,
            "0",
            "UNAVAILABLE",
            "not loaded",
        )
        assert (another.name, another.version) == ("another", "7")
        assert another.reason == "could not be loaded: it holds no .safetensors file"
        assert not (await door.inference.RepositoryIndex(oip.RepositoryIndexRequest(ready=True))).models
        await door.health.mark(samples.MODEL, ready=True)
        (one,) = (await door.inference.RepositoryIndex(oip.RepositoryIndexRequest(ready=True))).models
        assert (one.name, one.version, one.state, one.reason) == (samples.MODEL, "r1", "READY", "")
        failure = await failure_of(door.inference.RepositoryIndex(oip.RepositoryIndexRequest(repository_name="x")))
        assert set(failure.fields) == {"repository_name"}


async def test_models_are_loaded_by_admins() -> None:
    """The model, and the revision where one is named; callers may not, and what else a request says is refused."""
    revision = {"revision": oip.ModelRepositoryParameter(string_param="3")}
    load, unload = oip.RepositoryModelLoadRequest, oip.RepositoryModelUnloadRequest
    async with open_door(FakeHouse()) as door:
        failure = await failure_of(door.inference.RepositoryModelLoad(load(model_name="x")))
        assert (failure.code, door.house.loaded) == ("PERMISSION_DENIED", [])
    async with open_door(FakeHouse(), auth=AuthSettings(dangerously_trust_anyone=True)) as door:
        await door.inference.RepositoryModelLoad(load(model_name="x"))
        await door.inference.RepositoryModelLoad(load(model_name="y", parameters=revision))
        await door.inference.RepositoryModelUnload(unload(model_name="x"))
        assert door.house.loaded == [("x", ""), ("y", "3"), ("x", None)]
        failure = await failure_of(
            door.inference.RepositoryModelLoad(
                load(repository_name="r", parameters={"config": oip.ModelRepositoryParameter(string_param="{}")})
            )
        )
        assert set(failure.fields) == {"repository_name", "model_name", "parameters[config]"}
        door.house.error = Unsupported("repository", "models are loaded as the settings say")
        failure = await failure_of(door.inference.RepositoryModelLoad(load(model_name="x")))
        assert (failure.code, "settings" in failure.message) == ("FAILED_PRECONDITION", True)


async def test_unknown_models_are_not_found() -> None:
    """As with the native service."""
    async with open_door(FakeHouse(error=ModelNotFound("x", "no such model"))) as door:
        failure = await failure_of(ask(door, oip.ModelInferRequest(model_name="nobody")))
    assert failure.code == "NOT_FOUND"


def test_flags_and_reasons_have_names() -> None:
    """What rollcall.flag sends are the names of the wire's flags without their prefix."""
    assert {flag.name for flag in Flag} == {"FAITHFUL", "UNFAITHFUL", "INCONCLUSIVE", "NOT_CHECKED"}
    assert Reason.NONE.name == "NONE"
