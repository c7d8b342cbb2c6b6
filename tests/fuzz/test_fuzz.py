"""A bounded run of the fuzzer against the real server, and that each of its judgements can fail."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any
from urllib.request import urlopen

import pytest

from rollcall.demo.server import ServerProcess
from rollcall.v1.audit_service_pb2 import StreamRecordsRequest
from rollcall_client import AccessDenied, Client, InvalidArgument, Threshold
from tests.fuzz.cases import METHODS, Case, case
from tests.fuzz.hostile import CANARY, OPERATIONS
from tests.fuzz.run import Findings, fuzz, judge
from tests.fuzz.serving import CALLERS, TOKEN, fuzzed_server, leaks

COUNT = 6_000
SEED = 7
CONNECTIONS = 200


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the directory of the server's files."""
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def server(directory: Path) -> Iterator[ServerProcess]:
    """Serve the demo model with secrets that are planted."""
    with fuzzed_server(directory) as process:
        yield process


@pytest.mark.timeout(600)
def test_the_server_is_blameless(server: ServerProcess) -> None:
    """Of thousands of hostile requests none is our fault, none is remembered, and nothing of them gets out."""
    findings = asyncio.run(fuzz(server, token=TOKEN, seed=SEED, count=COUNT))
    assert findings.problems == []
    assert leaks(server) == []
    codes = Counter[str]()
    for (_, code), count in findings.codes.items():
        codes[code] += count
    assert {method for method, _ in findings.codes} == {path for path, *_ in METHODS}
    assert codes["INVALID_ARGUMENT"] > COUNT / 4
    assert codes["OK"] > COUNT / 100
    assert codes["UNAUTHENTICATED"] > COUNT / 100


def test_bytes_that_are_not_http_harm_nobody(server: ServerProcess) -> None:
    """Noise on a connection, with and without HTTP/2's first bytes, is hung up on; the server answers on."""
    host, port = server.target.split(":")
    random = Random(SEED)
    for number in range(CONNECTIONS):
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" if number % 2 else b""
            connection.sendall(preface + random.randbytes(random.choice((1, 9, 100, 5_000))))
    with Client(server.target, token=TOKEN, timeout=60) as client:
        assert client.predict("A wonderful film.").prediction.predicted == "positive"
    assert not [problem for problem in leaks(server) if "ours" in problem]


def test_secrets_and_inputs_stay_where_they_belong(server: ServerProcess, directory: Path) -> None:
    """Text, labels and tokens that are planted in good and bad calls are in no log, metric, status or error."""
    said = []
    with Client(server.target, token=TOKEN, timeout=60) as client:
        client.predict(f"A {CANARY} film.")
        client.explain(f"A {CANARY} film.", reported_label="positive")
        wrong: list[dict[str, Any]] = [
            {"target": CANARY},
            {"reported_label": CANARY * 200},
            {"threshold": Threshold(label=CANARY, probability=0.5)},
        ]
        for options in wrong:
            with pytest.raises(InvalidArgument) as refused:
                client.explain(f"A {CANARY} film.", **options)
            said.append(str(refused.value))
    with Client(server.target, token=f"{TOKEN}-{CANARY}", timeout=60) as client, pytest.raises(AccessDenied) as denied:
        client.predict("A film.")
    said.append(str(denied.value))
    assert leaks(server) == []
    with urlopen(f"{server.admin}/statusz", timeout=10) as reply:
        assert str(directory) in reply.read().decode()  # where the secrets are may be told, and not what they are
    assert not any(CANARY in message or TOKEN in message for message in said)
    assert TOKEN not in CALLERS


# --- the fuzzer itself ---------------------------------------------------------------------------------------------


def test_a_case_can_be_made_again() -> None:
    """What a number stands for does not change, and numbers stand for different cases."""
    first = [case(3, number) for number in range(300)]
    assert first == [case(3, number) for number in range(300)]
    assert len({(made.method, made.body) for made in first}) > 250
    assert any(CANARY.encode() in made.body for made in first)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_every_operation_takes_any_bytes(operation: Any) -> None:  # noqa: ANN401 - a function
    """Also no bytes at all, and it does change some."""
    changed = 0
    for number in range(50):
        for data in (b"", b"x", bytes(range(256))):
            held = bytearray(data)
            operation(held, Random(number))
            changed += bytes(held) != data
    assert changed > 0


@pytest.mark.parametrize(
    ("code", "said", "authorization", "problem"),
    [
        ("INTERNAL", "", None, "ended with INTERNAL"),
        ("UNKNOWN", "", None, "ended with UNKNOWN"),
        ("UNAVAILABLE", "", None, "ended with UNAVAILABLE"),
        ("DEADLINE_EXCEEDED", "", None, "ended with DEADLINE_EXCEEDED"),
        ("UNAUTHENTICATED", "", None, "ended with UNAUTHENTICATED"),
        ("OK", "", "Bearer x", "ended with OK"),
        ("INVALID_ARGUMENT", "", "Bearer x", "ended with INVALID_ARGUMENT"),
        ("INVALID_ARGUMENT", f"no label {CANARY}", None, "repeats the input"),
    ],
)
def test_what_must_not_come_back_is_a_problem(code: str, said: str, authorization: str | None, problem: str) -> None:
    """A code that blames us, an open door, and an input in an error are found."""
    findings = Findings()
    sent = Case(number=5, method="/a.B/C", streams=False, body=b"", authorization=authorization)
    judge(findings, sent, code, said)
    assert [problem in found for found in findings.problems] == [True]
    assert "case 5" in findings.problems[0]


@pytest.mark.parametrize("follow", [True, False])
def test_a_stream_without_an_end_is_ended_by_its_caller(follow: bool) -> None:  # noqa: FBT001 - drawn
    """Whoever follows the log until their deadline has what they asked for; who does not is kept waiting by us."""
    findings = Findings()
    body = StreamRecordsRequest(follow=follow).SerializeToString()
    method = "/rollcall.v1.AuditService/StreamRecords"
    for sent in (body, body + b"\xff"):  # what cannot be read follows nothing
        case = Case(number=5, method=method, streams=True, body=sent, authorization=None)
        judge(findings, case, "DEADLINE_EXCEEDED", "")
    assert len(findings.problems) == (1 if follow else 2)


def test_leaks_are_found(server: ServerProcess) -> None:
    """What is looked for is found where it is: in the log, as a forged line, and as an error that is ours."""
    log = server.log.read_text()
    try:
        with server.log.open("a") as file:
            file.write(f'{{"event": "forged", "level": "error", "text": "{CANARY} {TOKEN}"}}\n')
        assert [found.split(":")[0] for found in leaks(server)] == [
            "an input in log",
            "the token in log",
            "a forged line in the log",
            "an error that is ours",
        ]
    finally:
        server.log.write_text(log)
