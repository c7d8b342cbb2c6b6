"""Sends cases to a server and judges what comes back: codes, texts, and what the server keeps."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from rollcall.demo.server import ServerProcess
from rollcall.v1.audit_service_pb2 import StreamRecordsRequest
from rollcall_client import AsyncClient
from tests.bench.growth import floor_rise
from tests.bench.process import sampling
from tests.fuzz.cases import FIXED, RECORD, Case, case
from tests.fuzz.hostile import CANARY

AT_A_TIME = 4
"""As many streams of tensors as are read at a time: more would be refused for want of room, as they should."""
CALL_SECONDS = 60.0
FOLLOW_SECONDS = 0.5
"""How long a stream without an end is read."""
RECORDS = 20
SAMPLE_SECONDS = 0.1
WARM_UP_SHARE = 0.4
"""Of the run, before memory is judged: caches and arenas fill."""
GROWTH_MIB = 24.0
"""The least memory of the last third may lie so much above that of the first."""
BLAMELESS = frozenset(
    {
        "OK",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "FAILED_PRECONDITION",
        "OUT_OF_RANGE",
        "RESOURCE_EXHAUSTED",
        "UNIMPLEMENTED",
    }
)
"""Codes by which a server is not to blame. For a token that is none there is one more, and OK is not among them."""
TIMEOUT = b"timeout"
"""A request that has it may have chosen a deadline that nobody can keep."""
REFUSED = frozenset({"UNAUTHENTICATED", "RESOURCE_EXHAUSTED"})


@dataclass(slots=True, kw_only=True)
class Findings:
    """What came back: how often each method ended with each code, and what must not be."""

    codes: Counter[tuple[str, str]] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    rise_mib: float = 0.0


async def fuzz(server: ServerProcess, *, token: str, seed: int, count: int) -> Findings:
    """Send `count` cases; the server must know `token` as that of somebody with every role."""
    findings, numbers, records = Findings(), iter(range(count)), await _records(server, token)
    async with sampling(server.process.pid, SAMPLE_SECONDS) as samples, aio.insecure_channel(server.target) as channel:

        async def keep_sending() -> None:
            for number in numbers:
                sent = case(seed, number)
                body = sent.body.replace(RECORD.encode(), records[number % len(records)].encode())
                judge(findings, sent, *await _send(channel, replace(sent, body=body), token))

        await asyncio.gather(*(keep_sending() for _ in range(AT_A_TIME)))
    warm = [sample.memory_mib for sample in samples][int(WARM_UP_SHARE * len(samples)) :]
    findings.rise_mib = floor_rise(warm)
    if findings.rise_mib > GROWTH_MIB:
        findings.problems.append(f"memory rose by {findings.rise_mib:.1f} MiB")
    return findings


def judge(findings: Findings, sent: Case, code: str, said: str) -> None:
    """Note the end of a case, and what is wrong with it."""
    findings.codes[sent.method, code] += 1
    open_to_all = sent.method.endswith(("/ServerLive", "/ServerReady"))
    allowed = BLAMELESS if sent.authorization is None or open_to_all else REFUSED
    hurried = code == "DEADLINE_EXCEEDED" and TIMEOUT in sent.body
    if code not in allowed and not hurried and not (code == "DEADLINE_EXCEEDED" and _follows(sent)):
        findings.problems.append(f"case {sent.number}: {sent.method} ended with {code}: {said[:200]}")
    if CANARY in said:
        findings.problems.append(f"case {sent.number}: {sent.method}: the error repeats the input")


def _follows(sent: Case) -> bool:
    """Whether a call asks for a stream without an end, which only the caller's own deadline ends."""
    if not sent.method.endswith("/StreamRecords"):
        return False
    try:
        return StreamRecordsRequest.FromString(sent.body).follow
    except DecodeError:
        return False


async def _records(server: ServerProcess, token: str) -> list[str]:
    """Leave records of explanations and of decisions; return their ids, as long as the one that they stand in for."""
    async with AsyncClient(server.target, token=token, timeout=CALL_SECONDS) as client:
        receipts = [(await client.explain(FIXED, subject_ref="person 7")).audit for _ in range(RECORDS)]
        receipts += [(await client.predict(FIXED, decision_ref=f"decision {n}")).audit for n in range(RECORDS)]
    return [receipt.record_id for receipt in receipts if receipt is not None]


async def _send(channel: aio.Channel, sent: Case, token: str) -> tuple[str, str]:
    """Make the call; return its code and all that an error says."""
    make: Any = channel.unary_stream if sent.streams else channel.unary_unary
    metadata = (("authorization", sent.authorization or f"Bearer {token}"),)
    seconds = FOLLOW_SECONDS if _follows(sent) else CALL_SECONDS
    call = make(sent.method, bytes, bytes)(sent.body, metadata=metadata, timeout=seconds)
    try:
        if sent.streams:
            async for _ in call:
                pass
        else:
            await call
    except aio.AioRpcError as error:
        trailers: Any = error.trailing_metadata() or ()
        details = b" ".join(value if isinstance(value, bytes) else value.encode() for _, value in trailers)
        return error.code().name, f"{error.details()} {details.decode(errors='replace')}"
    code: grpc.StatusCode = await call.code()
    return code.name, ""
