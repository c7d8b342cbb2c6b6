"""Streams under way in a real server: whoever leaves touches nobody else, and leaves nothing behind.

The cells that `test_isolation` lacks of the matrix of leaving: {attention being streamed, results of many being
streamed} by {cancel, deadline, connection gone}, first, middle and last of three. All of them are half-closed: who has
said all there is to say gets all the answers.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import aio

from rollcall.domain.maps import AttentionTensor
from rollcall.v1 import common_pb2, explanation_pb2, explanation_service_pb2_grpc
from rollcall_client import AsyncClient, Client, InvalidArgument, Question, Result
from tests.integration.test_isolation import PATIENCE, Open, numbers, serving, until
from tests.tiny import make_model

LAYERS, HEADS, TOKENS = 5, 8, 512
SIZE = LAYERS * HEADS * TOKENS**2 * 4
TEXTS = tuple(f"{word} film is good but the music did not like me " * 60 for word in ("this", "the", "a"))
SHORT = (
    "a dull and lifeless story",
    "wonderful music",
    "terrible dialogue",
    "the acting",
    "I did not like it",
    "a film",
)
SECONDS = 8.0
"""What a caller with a deadline has: enough to come to its stream, and then it does not read."""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a model whose attention is far more than what gRPC takes before anybody reads."""
    return make_model("distilbert", tmp_path_factory.mktemp("large"), n_layers=LAYERS, n_heads=HEADS, dim=64)


@pytest.fixture
async def house(large: Path) -> AsyncIterator[Open]:
    """Serve it in this process."""
    async with serving(large) as opened:
        yield opened


class Caller:
    """A connection of its own, and what it reads."""

    def __init__(self, house: Open) -> None:
        self.channel = aio.insecure_channel(f"127.0.0.1:{house.server.grpc_port}")
        self.stub: Any = explanation_service_pb2_grpc.ExplanationServiceStub(self.channel)
        self.call: Any = None

    def ask_attention(self, text: str, seconds: float) -> None:
        """Ask for everything, without checks."""
        request = explanation_pb2.ExplainRequest(
            text=common_pb2.TextInput(text=text),
            check_level=explanation_pb2.CHECK_LEVEL_NONE,
            attention=explanation_pb2.AttentionSelection(queries=explanation_pb2.QUERY_SELECTION_ALL),
        )
        self.call = self.stub.ExplainStream(request, timeout=seconds)

    def ask_many(self, seconds: float) -> None:
        """Ask about some texts, and say that there are no more."""
        requests = [explanation_pb2.ExplainRequest(text=common_pb2.TextInput(text=text)) for text in SHORT]
        self.call = self.stub.ExplainMany(iter(requests), timeout=seconds)

    async def first(self, kind: str) -> None:
        """Read until a message of a kind has come."""
        while (message := await self.call.read()) and message.WhichOneof("content") != kind:
            assert message is not None
        assert message

    async def rest(self) -> list[Any]:
        """Read to the end."""
        found = []
        while message := await self.call.read():
            found.append(message)
        return found


async def leave(caller: Caller, way: str) -> None:
    """Leave, by one of the ways there are."""
    if way == "cancel":
        caller.call.cancel()
    elif way == "reset":
        await caller.channel.close(grace=None)
    else:
        assert await caller.call.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def tensors() -> int:
    """Count the attention tensors that anything in this process holds."""
    gc.collect()
    return sum(type(each) is AttentionTensor for each in gc.get_objects())


WAYS = pytest.mark.parametrize(
    ("way", "leavers"), [("cancel", (0, 1, 2)), ("reset", (0, 1, 2)), ("deadline", (1,))], ids=str
)


async def three(house: Open, way: str, leaver: int, ask: Callable[[Caller, int, float], Awaitable[None]]) -> list[Any]:
    """Let three callers come to their streams, one of them leave, and the others read on; return what those read."""
    callers = [Caller(house) for _ in range(3)]
    try:
        for i, caller in enumerate(callers):
            await ask(caller, i, SECONDS if way == "deadline" and i == leaver else PATIENCE)
        await leave(callers[leaver], way)
        return [await caller.rest() for i, caller in enumerate(callers) if i != leaver]
    finally:
        for caller in callers:
            await caller.channel.close(grace=None)


@WAYS
async def test_who_leaves_attention_touches_nobody_else(house: Open, way: str, leavers: tuple[int, ...]) -> None:
    """In the middle of chunks: the others read theirs whole, and no tensor stays behind."""

    async def ask(caller: Caller, i: int, seconds: float) -> None:
        caller.ask_attention(TEXTS[i], seconds)
        await caller.first("attention")

    assert tensors() == 0
    for messages in [messages for leaver in leavers for messages in await three(house, way, leaver, ask)]:
        data = np.frombuffer(b"".join(message.chunk.data for message in messages), "<f4")
        assert data.nbytes == SIZE
        assert np.abs(data.reshape(-1, TOKENS).sum(axis=1) - 1).max() < 1e-4
    await house.nothing_is_left()
    await until(lambda: tensors() == 0)


@WAYS
async def test_who_leaves_many_touches_nobody_else(house: Open, way: str, leavers: tuple[int, ...]) -> None:
    """In the middle of results: the others get all of theirs, the same as without anybody, and no row stays behind."""
    async with AsyncClient(f"127.0.0.1:{house.server.grpc_port}", timeout=PATIENCE) as client:
        alone = [numbers(await client.explain(text)) for text in SHORT[:2]]

    async def ask(caller: Caller, _: int, seconds: float) -> None:
        caller.ask_many(seconds)
        assert await caller.call.read()

    for messages in [messages for leaver in leavers for messages in await three(house, way, leaver, ask)]:
        assert len(messages) == len(SHORT) - 1
        assert all(message.WhichOneof("result") == "explanation" for message in messages)
    async with AsyncClient(f"127.0.0.1:{house.server.grpc_port}", timeout=PATIENCE) as client:
        assert [numbers(await client.explain(text)) for text in SHORT[:2]] == alone
    await house.nothing_is_left()


def test_a_backfill_says_of_each_what_a_call_of_its_own_would(client: Client) -> None:
    """Forty texts and two that are none, from a generator, through a server with other work: all there, each right."""
    texts = [f"{SHORT[i % 6]} {i}" for i in range(40)]
    questions = [
        Question(text=text, request_id=f"r-{i}") for i, text in enumerate([*texts[:20], " ", *texts[20:], "\n"])
    ]
    found: dict[int, Result] = {result.index: result for result in client.explain_many(iter(questions))}
    assert sorted(found) == list(range(42))
    assert all(result.request_id == f"r-{index}" for index, result in found.items())
    bad = {index for index, result in found.items() if isinstance(result.error, InvalidArgument)}
    assert bad == {20, 41} == {index for index, result in found.items() if result.explanation is None}
    for index in (0, 19, 40):
        several, alone = found[index].explanation, client.explain(questions[index].text)
        assert several is not None
        assert numbers(several) == numbers(alone)
