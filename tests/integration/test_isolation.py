"""One caller's trouble touches that caller alone, seen through the whole service: real server, engine, model, client.

The server runs in this process, so that a test can hold its device and break its model. The matrix of leaving: at
{waiting for the device, in the running batch} by {cancel, deadline, connection gone}, first, middle and last of those
who wait; the others get the answer that they would have got, and nothing is left behind.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import torch

from rollcall.app import Running, running
from rollcall.backends.base import BatchOutput, BatchRow
from rollcall.backends.torch_backend import TorchBackend
from rollcall.domain.inputs import TextInput
from rollcall.engine.dispatch import Dispatcher
from rollcall.settings import Entry, Sources, load_settings
from rollcall_client import AsyncClient, CheckLevel, Explanation, Internal, RollcallError, Unavailable

TEXTS = (
    "I did not like the film at all",
    "a dull and lifeless story",
    "wonderful music and terrible dialogue",
    "the acting could have been better",
)
PATIENCE = 60.0


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that nobody announces."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.01)


@dataclass(kw_only=True)
class Open:
    """A server in this process, its device, and clients."""

    server: Running
    compute: Dispatcher
    clients: list[AsyncClient] = field(default_factory=list)

    @property
    def backend(self) -> TorchBackend:
        """The only model's."""
        (model,) = self.compute.engine.models.values()
        assert isinstance(model.backend, TorchBackend)
        return model.backend

    def client(self, timeout: float = PATIENCE) -> AsyncClient:
        """A connection of its own."""
        self.clients.append(AsyncClient(f"127.0.0.1:{self.server.grpc_port}", timeout=timeout, retries=0))
        return self.clients[-1]

    def get(self, path: str) -> tuple[int, str]:
        """Ask the admin port."""
        try:
            with urlopen(f"http://127.0.0.1:{self.server.admin_port}{path}") as reply:
                return reply.status, reply.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()

    async def nothing_is_left(self) -> None:
        """Rows, futures, permits and counts are back at zero."""
        pipeline = self.server.service.pipeline
        await until(lambda: not (pipeline.gate.in_flight or pipeline.in_flight.flights or self.compute.queue.asks))
        assert (pipeline.gate.explaining, pipeline.backlog.total(), self.compute.queue.rows) == (0, 0, 0)
        await until(lambda: not self.server.metrics.load().in_flight)


@pytest.fixture
async def house(tiny_models: dict[str, Path]) -> AsyncIterator[Open]:
    """Serve one tiny model."""
    async with serving(tiny_models["distilbert"]) as opened:
        yield opened


@asynccontextmanager
async def serving(model: Path) -> AsyncIterator[Open]:
    """Open the doors, and wait for the model."""
    overrides = {
        ("models", "tiny", "path"): str(model),
        ("grpc", "port"): 0,
        ("admin", "port"): 0,
        ("grpc", "drain_seconds"): 1,
    }
    entries = tuple(Entry(place=".".join(key), key=key, value=value) for key, value in overrides.items())
    settings = load_settings(Sources(overrides=entries))
    async with running(settings) as server:
        await server.loaded
        compute = server.service.pipeline.compute
        assert isinstance(compute, Dispatcher)
        opened = Open(server=server, compute=compute)
        try:
            yield opened
        finally:
            for client in opened.clients:
                await client.close()


@dataclass(kw_only=True)
class Held:
    """A backend whose batches wait until they are let go."""

    running: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)

    def hold(self, run: Callable[[Sequence[BatchRow]], BatchOutput]) -> Callable[[Sequence[BatchRow]], BatchOutput]:
        """Wrap."""

        def held(rows: Sequence[BatchRow]) -> BatchOutput:
            self.running.set()
            assert self.let_go.wait(PATIENCE)
            return run(rows)

        return held


def numbers(explanation: Explanation) -> object:
    """What must not change."""
    return (
        explanation.prediction.margin,
        [effect.effect for effect in explanation.effects],
        [(a.verdict.flag, a.verdict.reason, a.verdict.alignment, list(a.scores)) for a in explanation.attributions],
    )


Asking = Callable[[AsyncClient, str], Coroutine[Any, Any, Explanation]]


def explain(client: AsyncClient, text: str) -> Coroutine[Any, Any, Explanation]:
    """Ask for the answer alone."""
    return client.explain(text)


def explain_stream(client: AsyncClient, text: str) -> Coroutine[Any, Any, Explanation]:
    """Ask for the answer and its progress."""
    return client.explain_stream(text, progress=lambda _: None)


async def explain_many(client: AsyncClient, text: str) -> Explanation:
    """Ask for one of many."""
    async for result in client.explain_many([text], timeout=client._timeout):
        if result.explanation is not None:
            return result.explanation
        assert result.error is not None
        raise result.error
    raise AssertionError


async def test_who_leaves_thorough_checks_takes_their_rows_along(house: Open) -> None:
    """In the middle of hundreds of rows: cancelled, they are dropped, and others have their answers."""
    heard: list[str] = []
    leaving = house.client()
    task = asyncio.create_task(
        leaving.explain_stream(
            TEXTS[0], level=CheckLevel.THOROUGH, progress=lambda step: heard.append(step.stage), timeout=PATIENCE
        )
    )
    await until(lambda: "thorough" in heard)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert (await house.client().explain(TEXTS[1])).units
    await house.nothing_is_left()


async def test_thorough_checks_let_others_pass(house: Open) -> None:
    """A prediction does not wait for the thousand rows of somebody else, and their answer comes all the same."""
    heard: list[str] = []
    thorough = asyncio.create_task(
        house.client().explain_stream(
            TEXTS[0], level=CheckLevel.THOROUGH, progress=lambda step: heard.append(step.stage)
        )
    )
    await until(lambda: "thorough" in heard)
    await house.client().predict(TEXTS[1])
    assert not thorough.done()
    answer = await thorough
    assert any(check.kind.thorough and check.value is not None for check in answer.primary.verdict.checks)
    await house.nothing_is_left()


@pytest.mark.parametrize("leaver", [0, 1, 2])
@pytest.mark.parametrize("stage", ["waiting", "running"])
@pytest.mark.parametrize("way", ["cancel", "deadline", "reset"])
@pytest.mark.parametrize("asking", [explain, explain_stream, explain_many])
async def test_who_leaves_touches_nobody_else(
    house: Open, monkeypatch: pytest.MonkeyPatch, asking: Asking, way: str, stage: str, leaver: int
) -> None:
    """Whoever leaves, however and whenever: the others' answers are what they would have been, and nothing is kept."""
    calm = house.client()
    alone = [numbers(await calm.explain(text)) for text in TEXTS[:3]]
    held = Held()
    monkeypatch.setattr(house.backend, "run", held.hold(house.backend.run))
    if stage == "waiting":  # all wait behind a stranger's batch
        stranger = asyncio.create_task(calm.explain(TEXTS[3]))
        assert await asyncio.to_thread(held.running.wait, PATIENCE)
    clients = [house.client(timeout=1.0 if way == "deadline" and i == leaver else PATIENCE) for i in range(3)]
    tasks = [asyncio.create_task(asking(client, text)) for client, text in zip(clients, TEXTS, strict=False)]
    assert await asyncio.to_thread(held.running.wait, PATIENCE)
    await until(lambda: house.server.service.pipeline.gate.in_flight == 3 + (stage == "waiting"))
    if way == "cancel":
        tasks[leaver].cancel()
    elif way == "reset":
        await clients[leaver].close()
    left = (await asyncio.gather(tasks[leaver], return_exceptions=True))[0]
    assert isinstance(left, (RollcallError, asyncio.CancelledError))
    held.let_go.set()
    staying = [i for i in range(3) if i != leaver]
    found = await asyncio.gather(*(tasks[i] for i in staying))
    assert [numbers(answer) for answer in found] == [alone[i] for i in staying]
    if stage == "waiting":
        await stranger
    await house.nothing_is_left()


@pytest.mark.parametrize("position", [0, 1, 2])
async def test_a_poisonous_input_fails_alone(
    house: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, position: int
) -> None:
    """An input that crashes the model in a shared batch costs its own caller the checks, and nobody else anything."""
    client = house.client()
    alone = [numbers(await client.explain(text)) for text in TEXTS[:3]]
    poison = house.backend.encode(TextInput(text=TEXTS[position])).input_ids.tolist()
    run = house.backend.run

    def poisoned(rows: Sequence[BatchRow]) -> BatchOutput:
        if any(row.encoding.input_ids.tolist() == poison for row in rows):
            message = "size mismatch"
            raise RuntimeError(message)
        return run(rows)

    monkeypatch.setattr(house.backend, "run", poisoned)
    found = await asyncio.gather(*(client.explain(text) for text in TEXTS[:3]))
    for i, answer in enumerate(found):
        if i == position:
            assert {a.verdict.flag.name for a in answer.attributions} == {"INCONCLUSIVE"}
        else:
            assert numbers(answer) == alone[i]
    assert TEXTS[position] not in caplog.text
    await house.nothing_is_left()


async def test_a_crash_of_the_untouched_input_is_that_callers_error(
    house: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without maps there is nothing to answer: INTERNAL for one, with an id, and answers for the others."""
    client = house.client()
    capture = house.backend.capture

    def failing(encoding: object, request: object) -> object:
        if [unit.text for unit in getattr(encoding, "units", ())] == TEXTS[1].split():
            raise ArithmeticError
        return capture(encoding, request)  # type: ignore[arg-type] # passed on

    monkeypatch.setattr(house.backend, "capture", failing)
    found = await asyncio.gather(*(client.explain(text) for text in TEXTS[:3]), return_exceptions=True)
    assert [type(answer).__name__ for answer in found] == ["Explanation", "Internal", "Explanation"]
    assert isinstance(found[1], Internal)
    await house.nothing_is_left()


async def test_a_slow_forward_delays_and_breaks_nothing(house: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the device is slow the doors stay open: health and status answer, and a deadline is kept."""
    held = Held()
    monkeypatch.setattr(house.backend, "run", held.hold(house.backend.run))
    slow = asyncio.create_task(house.client().explain(TEXTS[0]))
    assert await asyncio.to_thread(held.running.wait, PATIENCE)
    with pytest.raises(RollcallError):
        await house.client(timeout=0.5).predict(TEXTS[1])
    for path in ("/livez", "/readyz", "/metrics"):
        assert (await asyncio.to_thread(house.get, path))[0] == 200
    held.let_go.set()
    assert (await slow).attributions
    await house.nothing_is_left()


async def test_a_lost_device_is_said_and_seen(house: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error that nothing survives: callers are told to go elsewhere, readiness and liveness fall."""
    client = house.client()
    assert (await asyncio.to_thread(house.get, "/livez"))[0] == 200

    def sticky(_: Sequence[BatchRow]) -> BatchOutput:
        message = "CUDA error: an illegal memory access was encountered"
        raise torch.AcceleratorError(message)

    monkeypatch.setattr(house.backend, "run", sticky)
    found = await asyncio.gather(*(client.explain(text) for text in TEXTS), return_exceptions=True)
    assert all(isinstance(error, Unavailable) for error in found)
    with pytest.raises(Unavailable) as later:
        await client.predict(TEXTS[0])
    assert "CUDA" not in str(later.value)
    assert (await asyncio.to_thread(house.get, "/livez"))[0] == 503
    async with asyncio.timeout(PATIENCE):  # the news travels from the device's thread to the loop
        while (answer := await asyncio.to_thread(house.get, "/readyz"))[0] == 200:  # noqa: ASYNC110 - nobody announces it
            await asyncio.sleep(0.01)
    code, body = answer
    assert (code, json.loads(body)["models"]) == (503, {"tiny": False})
    await house.nothing_is_left()


async def test_a_dead_thread_is_said_and_seen(house: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the device's thread dies nobody waits for ever."""

    def die(_: Sequence[BatchRow]) -> BatchOutput:
        raise SystemExit

    monkeypatch.setattr(house.backend, "run", die)
    async with asyncio.timeout(PATIENCE):
        found = await asyncio.gather(*(house.client().explain(text) for text in TEXTS), return_exceptions=True)
    assert all(isinstance(error, Unavailable) for error in found)
    assert (await asyncio.to_thread(house.get, "/livez"))[0] == 503
    await house.nothing_is_left()


async def test_a_crashing_tokenizer_fails_one_request(house: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tokenizer does to one text is that text's affair."""
    encode = house.backend.encode

    def crash(model_input: object) -> object:
        if getattr(model_input, "text", "") == TEXTS[2]:
            raise MemoryError
        return encode(model_input)  # type: ignore[arg-type] # passed on

    monkeypatch.setattr(house.backend, "encode", crash)
    found = await asyncio.gather(*(house.client().explain(text) for text in TEXTS[:3]), return_exceptions=True)
    assert [type(answer).__name__ for answer in found] == ["Explanation", "Explanation", "Internal"]
    await house.nothing_is_left()
