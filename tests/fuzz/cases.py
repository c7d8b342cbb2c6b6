"""Cases by number: the same seed and number are the same bytes to the same method, whenever and wherever."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from rollcall.edge.access.table import TABLE
from rollcall.oip import open_inference_pb2 as oip
from rollcall.v1 import audit_service_pb2, common_pb2, explanation_pb2, explanation_service_pb2
from tests.fuzz.hostile import CANARY, blob, fill, nudge, scramble, text

SERVICES = ("rollcall.v1.", "inference.")
RECORD = "01900000-0000-7000-8000-000000000000"
"""Stands for a record that the server has: what has its id replaced goes deeper."""
FIXED = "a wonderful film with a great cast"
MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Bytes for a method; `authorization` where it is not the good one."""

    number: int
    method: str
    """As in the path of a call: "/package.Service/Method"."""
    streams: bool
    body: bytes
    authorization: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A way to make cases, as likely as its `weight` says."""

    weight: float
    make: Callable[[Message, Random], bytes]


def _text_infer(*outputs: str) -> oip.ModelInferRequest:
    element = FIXED.encode()
    return oip.ModelInferRequest(
        model_name="demo",
        inputs=[oip.ModelInferRequest.InferInputTensor(name="text", datatype="BYTES", shape=[1])],
        raw_input_contents=[struct.pack("<I", len(element)) + element],
        outputs=[oip.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in outputs],
    )


def _ids_infer(*, raw: bool) -> oip.ModelInferRequest:
    values = {"input_ids": [2, 100, 200, 3], "attention_mask": [1, 1, 1, 1], "token_type_ids": [0, 0, 0, 0]}
    request = oip.ModelInferRequest()
    for name, numbers in values.items():
        tensor = request.inputs.add(name=name, datatype="INT64", shape=[1, len(numbers)])
        if raw:
            request.raw_input_contents.append(struct.pack(f"<{len(numbers)}q", *numbers))
        else:
            tensor.contents.int64_contents.extend(numbers)
    return request


def _seeds() -> Mapping[str, tuple[Message, ...]]:
    """Good requests, by the name of their type, from which hostile ones are made."""
    plain = common_pb2.TextInput(text=FIXED)
    explain = explanation_pb2.ExplainRequest(text=plain, check_level=explanation_pb2.CHECK_LEVEL_NONE, max_rows=20)
    full = explanation_pb2.ExplainRequest(
        tokens=common_pb2.TokensInput(input_ids=[2, 100, 200, 3]),
        check_level=explanation_pb2.CHECK_LEVEL_NONE,
        max_rows=9,
        seed=1,
        maps=[explanation_pb2.MAP_KIND_RAW_ATTENTION, explanation_pb2.MAP_KIND_NORM_ROLLOUT],
        primary_map=explanation_pb2.MAP_KIND_RAW_ATTENTION,
        attention=explanation_pb2.AttentionSelection(
            layers=[0], heads=[0], queries=explanation_pb2.QUERY_SELECTION_ALL
        ),
        reported_label="positive",
        reported_score=0.5,
        decision_ref="decision 7",
        subject_ref="person 7",
    )
    predict = explanation_service_pb2.PredictRequest(text=plain, request_id="one", decision_ref="decision 8")
    asked = (
        _text_infer(),
        _text_infer("rollcall.flag", "rollcall.scores"),
        _ids_infer(raw=True),
        _ids_infer(raw=False),
    )
    why: dict[str, Any] = {"record_id": RECORD, "reason": "a test"}
    records = (
        audit_service_pb2.GetRecordRequest(**why, parts=["input", "scores"]),
        audit_service_pb2.SearchRecordsRequest(filter="flag = not_checked AND model = demo", page_size=3),
        audit_service_pb2.SearchRecordsRequest(filter='(decision = "decision 7" OR NOT held = true)'),
        audit_service_pb2.ListEventsRequest(record_id=RECORD),
        audit_service_pb2.GetProofRequest(log_index=0),
        audit_service_pb2.GetCheckpointRequest(old_size=1),
        audit_service_pb2.ReplayRecordRequest(**why, text=plain),
        audit_service_pb2.ExplainRecordRequest(**why, text=plain),
        audit_service_pb2.OpenReviewRequest(record_id=RECORD, rationale="a test"),
        audit_service_pb2.DecideReviewRequest(
            record_id=RECORD, rationale="a test", disposition=audit_service_pb2.DISPOSITION_UPHELD
        ),
        audit_service_pb2.PlaceHoldRequest(matter="case 7", record_ids=[RECORD], reason="a test"),
        audit_service_pb2.ReleaseHoldRequest(matter="case 7", record_ids=[RECORD], reason="a test"),
        audit_service_pb2.EraseSubjectRequest(
            subject_ref="person 7", reason="a test", ground=audit_service_pb2.ERASURE_GROUND_PERSON
        ),
    )
    seeds: dict[str, tuple[Message, ...]] = {}
    for message in (explain, full, predict, *asked, *records):
        seeds[message.DESCRIPTOR.full_name] = (*seeds.get(message.DESCRIPTOR.full_name, ()), message)
    return seeds


def _filled(seed: Message, random: Random, *, share: float, marked: bool = True) -> bytes:
    message = type(seed)()
    message.CopyFrom(seed)
    fill(message, random, share=share)
    data = message.SerializeToString()
    return data if marked else data.replace(CANARY.encode(), b"x" * len(CANARY))  # its bytes may become a name's


def _nudged(seed: Message, random: Random) -> bytes:
    message = type(seed)()
    message.CopyFrom(seed)
    for _ in range(random.choice((1, 1, 2))):
        if message.DESCRIPTOR.fields:
            nudge(message, random)
    return message.SerializeToString()


SEEDS = _seeds()
KINDS = (
    Kind(weight=4.0, make=lambda seed, random: scramble(seed.SerializeToString(), random)),
    Kind(weight=4.0, make=lambda seed, random: _filled(seed, random, share=random.choice((0.1, 0.3, 0.9)))),
    Kind(weight=4.0, make=_nudged),
    Kind(weight=1.0, make=lambda _, random: random.randbytes(random.choice((0, 1, 2, 10, 100, 5_000)))),
    Kind(weight=0.5, make=lambda seed, random: scramble(_filled(seed, random, share=0.3, marked=False), random)),
    Kind(weight=0.5, make=lambda seed, random: (seed.SerializeToString() + blob(random)) * random.randrange(1, 3)),
    Kind(weight=0.01, make=lambda seed, _: seed.SerializeToString() + b"\x00" * MAX_BYTES),
)


def methods() -> list[tuple[str, bool, type[Message]]]:
    """List the methods of our services: path, whether it answers with a stream, and the type of its request."""
    pool = descriptor_pool.Default()
    found = []
    for call in sorted(TABLE):
        service, _, name = call.partition("/")
        if service.startswith(SERVICES):
            method = pool.FindServiceByName(service).methods_by_name[name]
            found.append((f"/{call}", method.server_streaming, GetMessageClass(method.input_type)))
    return found


METHODS = methods()
BUSY = [found for found in METHODS if found[2].DESCRIPTOR.full_name in SEEDS]
"""Methods with much to get wrong: they get most of the cases."""


def case(seed: int, number: int) -> Case:
    """Make a case."""
    random = Random(f"{seed}/{number}")
    path, streams, request = random.choice(BUSY if random.random() < 0.9 else METHODS)
    start = random.choice(SEEDS.get(request.DESCRIPTOR.full_name, (request(),)))
    (kind,) = random.choices(KINDS, weights=[each.weight for each in KINDS])
    authorization = _authorization(random) if random.random() < 0.05 else None
    return Case(number=number, method=path, streams=streams, body=kind.make(start, random), authorization=authorization)


def _authorization(random: Random) -> str:
    """Draw something that looks like a token, and is none."""
    parts = [
        json.dumps({"alg": random.choice(("none", "HS256", "EdDSA", "")), "kid": random.choice(("a", 7, None))}),
        "[" * random.choice((1, 5000)),
        '{"sub": "admin", "roles": ["admin"], "exp": 1e999}',
    ]
    random.shuffle(parts)
    jwt = ".".join(base64.urlsafe_b64encode(part.encode()).decode() for part in parts)
    sendable = "".join(character for character in text(random) if " " <= character <= "~").strip() or "x"
    return random.choice((f"Bearer {jwt}", f"bearer {sendable}", sendable, "Bearer", f"Basic {jwt}"))
