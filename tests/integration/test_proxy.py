"""Two servers behind a real proxy: updates, new certificates, overload, readers that do not read, and storms."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from cryptography import x509
from grpc import aio

from rollcall.demo.server import server_process
from rollcall.v1 import explanation_service_pb2_grpc
from rollcall_client import (
    AccessDenied,
    AsyncClient,
    AttentionSelection,
    CheckLevel,
    Client,
    DataType,
    Internal,
    QuerySelection,
    Unavailable,
)
from rollcall_client._requests import explain_request, text_input
from rollcall_client._streams import Streamed
from tests.bench.process import look
from tests.proxy import TOKEN, Behind, behind_proxy, needs_envoy
from tests.tiny import make_model

TEXT = "The story is dull, but the actors are charming and I loved the ending of this film."
CALLERS = 6
THINKING_SECONDS = 0.1
"""Between a caller's calls: the processes that start beside them need the processor, too."""
CROWD = 200
"""Of explanations at once: more than both servers admit."""
LONG = "the film is good but the music did not like me " * 60
LARGE = AttentionSelection(queries=QuerySelection.ALL, data_type=DataType.UINT8)
STREAMED_MIB = 5 * 12 * 512 * 512 / 2**20
PROXY_GROWTH_MIB = 12.0
"""Of a proxy before two readers who do not read: windows and buffers of the example, and what a busy process takes."""


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    """Two servers with the demo model, and one whose attention is large."""
    shape: dict[str, Any] = {"hidden_size": 48, "num_attention_heads": 12, "num_hidden_layers": 5}
    large = make_model("bert", tmp_path_factory.mktemp("large"), **shape)
    with behind_proxy(
        tmp_path_factory.mktemp("proxy"),
        "--demo",
        "--model",
        f"large={large}",
        ROLLCALL_DEFAULT_MODEL="demo",
        ROLLCALL_GRPC_MAX_CONNECTION_SECONDS="2",
        # However slow the machine, six callers are never refused for want of room, and a crowd is.
        ROLLCALL_LIMITS_MAX_QUEUE_SECONDS="600",
        ROLLCALL_LIMITS_MAX_IN_FLIGHT="40",
    ) as started:
        yield started


@dataclass(slots=True, kw_only=True)
class Load:
    """What callers who never stop asking were answered, and what they were not."""

    answered: int = 0
    failed: list[Exception] = field(default_factory=list)


@asynccontextmanager
async def loaded(behind: Behind) -> AsyncIterator[Load]:
    """Have callers explain, predict and stream one after the other during the block; none of them tries again."""
    load = Load()
    stop = asyncio.Event()

    async def call(number: int) -> None:
        async with behind.client() as client:
            while not stop.is_set():
                text = f"{TEXT} {number}.{load.answered}."
                asked = (client.predict, client.explain, client.explain_stream)[(number + load.answered) % 3]
                try:
                    await asked(text)
                    load.answered += 1
                except Exception as error:  # noqa: BLE001 - told by the test
                    load.failed.append(error)
                await asyncio.sleep(THINKING_SECONDS)

    callers = [asyncio.create_task(call(number)) for number in range(CALLERS)]
    try:
        yield load
    finally:
        stop.set()
        await asyncio.gather(*callers)


async def more(load: Load, answers: int) -> None:
    """Wait for so many further answers."""
    enough = load.answered + answers
    async with asyncio.timeout(60):
        while load.answered < enough:  # noqa: ASYNC110 - nobody announces it
            await asyncio.sleep(0.02)


@needs_envoy
async def test_a_rolling_update_loses_no_call(behind: Behind) -> None:
    """Each process is ended by SIGTERM under load and replaced; nobody who asks, without retries, sees it."""
    async with loaded(behind) as load:
        await more(load, 20)
        for place in behind.places:
            assert await asyncio.to_thread(place.stop) == 0
            await more(load, 20)
            await asyncio.to_thread(place.start)
            await asyncio.to_thread(behind.wait_for, 2)
            await more(load, 20)
    assert load.failed == []
    assert load.answered > 100


@needs_envoy
async def test_who_is_killed_takes_only_his_own_calls_along(behind: Behind) -> None:
    """Without a goodbye the calls in progress there are lost, once; the other process has all that follow.

    They end as UNAVAILABLE or, where an answer had begun, as INTERNAL: by then a proxy can only reset the stream.
    """
    place = behind.places[0]
    assert place.server is not None
    async with loaded(behind) as load:
        await more(load, 20)
        place.server.process.kill()
        await asyncio.to_thread(place.server.process.wait)
        await asyncio.to_thread(behind.wait_for, 1)
        lost = len(load.failed)
        assert lost <= CALLERS
        await more(load, 40)
        assert len(load.failed) == lost
        await asyncio.to_thread(place.start)
        await asyncio.to_thread(behind.wait_for, 2)
    assert all(isinstance(error, Unavailable | Internal) for error in load.failed), load.failed


@needs_envoy
async def test_certificates_change_behind_the_proxy_without_a_failed_call(behind: Behind) -> None:
    """Both servers get another certificate three times while connections end and begin; the last is what is shown."""
    async with loaded(behind) as load:
        for _ in range(3):
            pair = behind.authority.server()
            pair.write(behind.directory, "server")
            await asyncio.sleep(3.0)  # older than any connection may be
            await more(load, 10)
            shown = [await asyncio.to_thread(serial, behind, place.port) for place in behind.places]
            assert shown == [pair.serial] * 2
    assert load.failed == []


def serial(behind: Behind, port: int) -> int:
    """Number of the certificate that a server shows to whoever connects, with a certificate as it must."""
    context = ssl.create_default_context(cafile=str(behind.files["ca"]))
    context.load_cert_chain(behind.files["cert"], behind.files["key"])
    with (
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as opened,
    ):
        shown = opened.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number


@needs_envoy
async def test_overload_is_refused_through_the_proxy_as_without_it(behind: Behind) -> None:
    """Of many more explanations than fit, those that fit are answered and the others told when to come back.

    The proxy does not take refusals for illness, and predictions get through all the while.
    """

    async def explain(number: int) -> float | None:
        """None, or the advice of the refusal."""
        try:
            await client.explain(f"{TEXT} Crowd {number}.", timeout=120)
        except Unavailable as refused:
            return refused.retry_after or 0.0
        return None

    async with behind.client() as client:
        crowd = [asyncio.create_task(explain(number)) for number in range(CROWD)]
        await asyncio.wait(crowd, return_when=asyncio.FIRST_COMPLETED)
        for number in range(10):
            await client.predict(f"{TEXT} {number}.", timeout=30)
        advice = await asyncio.gather(*crowd)
        refused = [each for each in advice if each is not None]
        assert 0 < len(refused) < CROWD
        assert all(each > 0 for each in refused)
        assert behind.healthy() == 2
        await client.explain(TEXT)


@needs_envoy
async def test_a_hop_is_no_identity(behind: Behind) -> None:
    """The proxy refuses who has no certificate; behind it a token says who asks, the proxy's certificate nothing."""
    async with behind.client() as client:
        assert (await client.predict("A wonderful film.")).prediction.predicted == "positive"
    async with behind.client(cert=None, key=None) as nobody:
        with pytest.raises(Unavailable):
            await nobody.predict("A wonderful film.")
    async with behind.client(token=None) as unnamed:
        with pytest.raises(AccessDenied, match="UNAUTHENTICATED"):
            await unnamed.predict("A wonderful film.")


@needs_envoy
async def test_who_does_not_read_holds_nobody_up(behind: Behind) -> None:
    """Two readers stop after the first chunk of 15 MiB each.

    The proxy holds little, others are answered, and when the two read on everything is there.
    """
    credentials = grpc.ssl_channel_credentials(
        *(behind.files[name].read_bytes() for name in ("ca", "key", "cert")),
    )
    request = explain_request(
        text_input(LONG, None), request_id="", model="large", attention=LARGE, level=CheckLevel.NONE
    )
    before = look(behind.pid, 0).memory_mib
    async with aio.secure_channel(behind.target, credentials, (("grpc.max_receive_message_length", -1),)) as channel:
        stub: Any = explanation_service_pb2_grpc.ExplanationServiceStub(channel)
        readers = [stub.ExplainStream(request, metadata=(("authorization", f"Bearer {TOKEN}"),)) for _ in range(2)]
        begun = [Streamed(), Streamed()]
        for reader, streamed in zip(readers, begun, strict=True):
            while (message := await reader.read()).WhichOneof("content") != "attention":
                if message.WhichOneof("content") == "header":
                    streamed.take(message)
            streamed.take(message)
        async with behind.client() as client:
            started = time.monotonic()
            for number in range(10):
                await client.explain(f"{TEXT} {number}")
            assert time.monotonic() - started < 60
        assert look(behind.pid, 0).memory_mib - before < PROXY_GROWTH_MIB < STREAMED_MIB
        for reader, streamed in zip(readers, begun, strict=True):
            while message := await reader.read():  # falsy at the end only: each has content
                streamed.take(message)
            attention = streamed.explanation().attention
            assert attention is not None
            assert len(attention.data) == STREAMED_MIB * 2**20


STORM = 300
ROOM = 64
HANDSHAKE_SECONDS = 10.0


def test_a_storm_of_connections_passes() -> None:
    """300 connections that say nothing: who is connected goes on, who comes is told, and then all is as before."""
    with server_process("--demo", environment={"ROLLCALL_GRPC_MAX_CONNECTIONS": str(ROOM)}) as server:
        host, _, port = server.target.rpartition(":")
        with Client(server.target, timeout=20, retries=0) as steady, ExitStack() as storm:
            steady.predict(TEXT)
            before = look(server.process.pid, 0).descriptors
            for _ in range(STORM):
                storm.enter_context(socket.create_connection((host, int(port)), 10))
            began = time.monotonic()
            for number in range(20):
                assert steady.explain(f"{TEXT} {number}").prediction.predicted
            answers = asyncio.run(come(server.target, 20))
            assert set(answers) <= {"OK", "UNAVAILABLE"}
            while set(asyncio.run(come(server.target, 5))) != {"OK"}:
                assert time.monotonic() - began < 3 * HANDSHAKE_SECONDS
                time.sleep(0.5)
            assert look(server.process.pid, 0).descriptors < before + ROOM
        until = time.monotonic() + 3 * HANDSHAKE_SECONDS
        while look(server.process.pid, 0).descriptors > before:
            assert time.monotonic() < until
            time.sleep(0.2)


async def come(target: str, callers: int) -> list[str]:
    """Connect anew, all at once, and predict; how each of them fared."""

    async def one() -> str:
        try:
            async with AsyncClient(target, timeout=15, retries=0) as client:
                await client.predict(TEXT)
        except Unavailable:
            return "UNAVAILABLE"
        return "OK"

    return await asyncio.gather(*(one() for _ in range(callers)))
