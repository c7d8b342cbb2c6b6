"""The Open Inference Protocol on a real server: the native service's own answers, item by item."""

from __future__ import annotations

import json
import struct
from typing import Any

import grpc
import numpy as np
import pytest

from rollcall.demo.server import ServerProcess
from rollcall.oip import open_inference_pb2 as oip
from rollcall.oip import open_inference_pb2_grpc
from rollcall_client import Client, Explanation

TEXTS = ("A wonderful, moving film with a great cast.", "Dull.", "The plot is thin, but the actors are charming.")
SECONDS = 120


def infer(server: ServerProcess, request: oip.ModelInferRequest) -> oip.ModelInferResponse:
    """Make the call."""
    with grpc.insecure_channel(server.target) as channel:
        stub: Any = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        reply: oip.ModelInferResponse = stub.ModelInfer(request, timeout=SECONDS)
        return reply


def reports(reply: oip.ModelInferResponse) -> list[dict[str, Any]]:
    """Read the typed reports."""
    (contents,) = (one.contents.bytes_contents for one in reply.outputs if one.name == "rollcall.report")
    return [json.loads(report) for report in contents]


def same(report: dict[str, Any], native: Explanation) -> bool:
    """Whether two answers say the same of every map, to the last bit."""
    found = {a["map"]: (a["verdict"]["flag"], a["scores"]) for a in report["attributions"]}
    return found == {
        f"MAP_KIND_{a.map.name}": (f"FLAG_{a.verdict.flag.name}", list(a.scores)) for a in native.attributions
    }


def test_a_batch_gets_the_native_verdicts(server: ServerProcess, client: Client) -> None:
    """Texts of one batch share the device, and each gets what it would get alone."""
    request = oip.ModelInferRequest(model_name="demo")
    text = request.inputs.add(name="text", datatype="BYTES", shape=[len(TEXTS)])
    text.contents.bytes_contents.extend(one.encode() for one in TEXTS)
    request.outputs.add(name="rollcall.report")
    found = reports(infer(server, request))
    native = [client.explain(one, model="demo") for one in TEXTS]
    assert all(same(report, explanation) for report, explanation in zip(found, native, strict=True))


def test_ids_are_taken_under_the_models_own_names(server: ServerProcess, client: Client) -> None:
    """Padded rows of ids, as a tokenizer returns them, are answered like the same ids through the native service."""
    rows = [(0, 11, 12, 13, 14, 2), (0, 21, 22, 2)]
    ids, mask = np.ones((2, 6), dtype="<i8"), np.zeros((2, 6), dtype="<i8")
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = row, 1
    request = oip.ModelInferRequest(model_name="roberta", raw_input_contents=[ids.tobytes(), mask.tobytes()])
    for name in ("input_ids", "attention_mask"):
        request.inputs.add(name=name, datatype="INT64", shape=[2, 6])
    request.outputs.add(name="probabilities")
    reply = infer(server, request)
    found = np.frombuffer(reply.raw_output_contents[0], "<f4").reshape(2, -1)
    native = [client.predict_tokens(row, model="roberta").prediction.probabilities for row in rows]
    assert found == pytest.approx(np.array(native), abs=1e-6)


def test_a_bad_item_is_named_by_a_real_model(server: ServerProcess) -> None:
    """An id that the vocabulary lacks is told with its item and its place."""
    request = oip.ModelInferRequest(model_name="roberta")
    tensor = request.inputs.add(name="input_ids", datatype="INT64", shape=[2, 3])
    tensor.contents.int64_contents.extend((0, 11, 2, 0, 10**6, 2))
    with pytest.raises(grpc.RpcError) as failure:
        infer(server, request)
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "input_ids[1][1]: not in the vocabulary" in (failure.value.details() or "")


def test_a_wrong_length_is_no_crash(server: ServerProcess) -> None:
    """Raw contents that promise more than they hold are the caller's fault."""
    data = struct.pack("<I", 2**32 - 1)
    request = oip.ModelInferRequest(model_name="demo", raw_input_contents=[data])
    request.inputs.add(name="text", datatype="BYTES", shape=[1])
    with pytest.raises(grpc.RpcError) as failure:
        infer(server, request)
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
