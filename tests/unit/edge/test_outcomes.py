"""Every way in which a call can end, at every method that is counted: one code, one count, one line of the log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from grpc import aio

from rollcall.domain import errors
from rollcall.edge import status
from rollcall.edge.access.callers import token_digest
from rollcall.settings import AuthSettings
from rollcall.telemetry.metrics import CODES, METHODS, SERVICES, grpc_type
from rollcall.v1 import common_pb2, explanation_pb2, explanation_service_pb2
from tests.unit.edge.fakes import Door, FakeHouse, open_door
from tests.unit.edge.test_inference import texts
from tests.unit.edge.test_interceptors import captured_log

TEXT = common_pb2.TextInput(text="a good film")
REQUESTS = {
    "Predict": explanation_service_pb2.PredictRequest(text=TEXT),
    "Explain": explanation_pb2.ExplainRequest(text=TEXT),
    "ExplainStream": explanation_pb2.ExplainRequest(text=TEXT),
    "ExplainMany": explanation_pb2.ExplainRequest(text=TEXT),
    "ModelInfer": texts("rollcall.flag"),
    "ListModels": explanation_service_pb2.ListModelsRequest(),
    "GetModel": explanation_service_pb2.GetModelRequest(),
}
ASKING = [method for method in METHODS if method not in {"ListModels", "GetModel"}]
"""Those that have the house work, and need the role for it."""
PATIENT = (errors.Overloaded, errors.QuotaExceeded)
"""What ExplainMany waits out."""
ERRORS: dict[type[Exception], Exception] = {
    errors.InvalidInput: errors.InvalidInput.of("text", "is odd"),
    errors.ModelNotFound: errors.ModelNotFound("m", "no such model"),
    errors.Blocked: errors.Blocked("hold", "is held"),
    errors.Unsupported: errors.Unsupported("map", "not here"),
    errors.QuotaExceeded: errors.QuotaExceeded("t", "one a day", 5.0),
    KeyError: KeyError("unexpected"),
}
"""Those whose making takes more than a message, and one that nobody expects."""


def every_error(root: type[errors.RollcallError] = errors.RollcallError) -> Iterator[type[errors.RollcallError]]:
    """The whole tree."""
    for kind in root.__subclasses__():
        yield kind
        yield from every_error(kind)


def call(door: Door, method: str, data: bytes, **options: Any) -> Any:  # noqa: ANN401 - calls of three shapes
    """Begin a call with a request's bytes."""
    path = f"/{SERVICES[method]}/{method}"
    if grpc_type(method) == "unary":
        return door.channel.unary_unary(path, bytes, bytes)(data, **options)
    if grpc_type(method) == "server_stream":
        return door.channel.unary_stream(path, bytes, bytes)(data, **options)
    return door.channel.stream_stream(path, bytes, bytes)(iter([data]), **options)


async def end(begun: Any) -> str:  # noqa: ANN401 - as above
    """Wait for its end; the code that the caller sees."""
    try:
        if isinstance(begun, aio.UnaryUnaryCall):
            await begun
        else:
            async for _ in begun:
                pass
    except aio.AioRpcError as error:
        return str(error.code().name)
    except asyncio.CancelledError:
        return "CANCELLED"
    return "OK"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What one call came to: what its caller saw, what was counted, and its lines in the log."""

    code: str
    handled: dict[str, float]
    requests: dict[str, float]
    started: dict[str, float]
    lines: list[dict[str, Any]]


async def outcome(
    method: str,
    house: FakeHouse,
    data: bytes | None = None,
    auth: AuthSettings | None = None,
    **options: Any,  # noqa: ANN401 - of the call
) -> Ended:
    """Make one call of a server of its own; a house that hangs has its caller leave, or reach the deadline."""
    with captured_log() as lines:
        async with open_door(house, auth=auth) as door:
            message = REQUESTS[method].SerializeToString() if data is None else data
            begun = call(door, method, message, **options)
            ending = asyncio.ensure_future(end(begun))
            if house.hangs and "timeout" not in options:
                await asyncio.wait_for(house.entered.wait(), 10)
                begun.cancel()
            code = await asyncio.wait_for(ending, 20)
            async with asyncio.timeout(10):  # the caller hears of the end before it is counted; nobody announces that
                while door.sample("rollcall_requests_in_flight", method=method) or not counted(  # noqa: ASYNC110
                    door, "grpc_server_handled_total", grpc_method=method
                ):
                    await asyncio.sleep(0.01)
            handled = counted(door, "grpc_server_handled_total", grpc_method=method)
            requests = counted(door, "rollcall_requests_total", method=method)
            started = counted(door, "grpc_server_started_total")
    told = [line for line in lines if line["event"] in {"request", "refused"}]
    return Ended(code=code, handled=handled, requests=requests, started=started, lines=told)


def counted(door: Door, name: str, **wanted: str) -> dict[str, float]:
    """The series of a counter that have moved, by the label that tells them apart."""
    label = {"grpc_server_handled_total": "grpc_code", "rollcall_requests_total": "code"}.get(name, "grpc_method")
    samples = [sample for family in door.registry.collect() for sample in family.samples if sample.name == name]
    return {s.labels[label]: s.value for s in samples if s.value and wanted.items() <= s.labels.items()}


def pascal(code: str) -> str:
    """A code as grpc-prometheus writes it."""
    return {"OK": "OK", "CANCELLED": "Canceled"}.get(code, code.title().replace("_", ""))


def check(ended: Ended, method: str, code: str) -> None:
    """One call began and one ended, with the code that the caller saw; its request and its line have that code."""
    assert ended.code == code
    assert ended.handled == {pascal(code): 1}
    assert ended.started == {method: 1}
    assert [line["code"] for line in ended.lines if line["method"].endswith(method)] == [code] * len(ended.lines)
    assert code in CODES
    if method == "ExplainMany":
        return
    assert ended.requests == {code: 1}
    assert len(ended.lines) == 1


@pytest.mark.parametrize("method", METHODS)
async def test_an_answer(method: str) -> None:
    """Counts as OK once."""
    check(await outcome(method, FakeHouse()), method, "OK")


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        pytest.param(method, kind, id=f"{method}-{kind.__name__}")
        for method in ASKING
        for kind in (*every_error(), KeyError)
        if method != "ExplainMany" or not issubclass(kind, PATIENT)
    ],
)
async def test_a_failure(method: str, kind: type[Exception]) -> None:
    """Counts once with the code of its kind; a request of many has it in place of its call."""
    code = status.rejection(ERRORS.get(kind) or kind("a reason")).code.name
    ended = await outcome(method, FakeHouse(error=ERRORS.get(kind) or kind("a reason")))
    if method == "ExplainMany":
        assert (ended.code, ended.handled, ended.requests) == ("OK", {"OK": 1}, {code: 1})
        assert sorted(line["code"] for line in ended.lines) == sorted(["OK", code])
    else:
        check(ended, method, code)


@pytest.mark.parametrize("method", METHODS)
async def test_bytes_that_are_no_message(method: str) -> None:
    """Are the caller's fault, once."""
    ended = await outcome(method, FakeHouse(), data=b"\xff\xff\xff")
    if method == "ExplainMany":
        assert (ended.code, ended.handled, ended.requests) == ("OK", {"OK": 1}, {"INVALID_ARGUMENT": 1})
    else:
        check(ended, method, "INVALID_ARGUMENT")


@pytest.mark.parametrize("method", ASKING)
@pytest.mark.parametrize(("code", "options"), [("CANCELLED", {}), ("DEADLINE_EXCEEDED", {"timeout": 0.3})])
async def test_leaving(method: str, code: str, options: dict[str, Any]) -> None:
    """A caller who gives up, and one whose time is over, count once, each as what they are."""
    ended = await outcome(method, FakeHouse(hangs=True), **options)
    check(ended, method, code)
    assert ended.requests == {code: 1}


@pytest.mark.parametrize(
    ("method", "code", "token"),
    [
        *((method, "UNAUTHENTICATED", token) for method in METHODS for token in (None, "guess")),
        *((method, "PERMISSION_DENIED", "scraping") for method in ASKING),
    ],
)
async def test_a_refusal(method: str, code: str, token: str | None, tmp_path: Path) -> None:
    """Without credentials, with wrong ones, and without the role, nobody gets in, and that counts once."""
    (tmp_path / "callers.toml").write_text(
        f'[scraper]\nroles = "metrics"\ntoken_sha256 = "{token_digest("scraping")}"\n'
    )
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    auth = AuthSettings(callers=tmp_path / "callers.toml")
    ended = await outcome(method, FakeHouse(), auth=auth, metadata=metadata)
    check(ended, method, code)
    assert len(ended.lines) == 1
