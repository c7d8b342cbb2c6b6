"""The engine as the pipeline sees it: awaitable, in jobs small enough for others to get in between."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from rollcall.backends.base import BatchOutput
from rollcall.domain.compute import Priority
from rollcall.domain.decision import Decision, Task
from rollcall.domain.errors import BackendError, DeviceMemory, InvalidInput
from rollcall.domain.inputs import Encoding, TextInput
from rollcall.domain.maps import MapKind, MapOptions
from rollcall.domain.rows import Row
from rollcall.engine.dispatch import Dispatcher
from rollcall.engine.worker import Worker
from tests.unit.engine.fakes import FakeBackend, engine_of

PATIENCE = 20.0


@dataclass(kw_only=True)
class Halting(FakeBackend):
    """Stops at the batch with a given number until it is let go."""

    halt_at: int = -1
    halted: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)

    def run(self, encoding: Encoding, rows: list[Row], options: MapOptions) -> BatchOutput:
        """Halt, then answer."""
        if len(self.batches) == self.halt_at:
            self.halted.set()
            assert self.let_go.wait(PATIENCE)
        return super().run(encoding, rows, options)


Batches = list[tuple[str, int]]


@contextmanager
def dispatching(backend: FakeBackend, max_batch_tokens: int = 8192) -> Iterator[tuple[Dispatcher, Batches]]:
    """Dispatch to a fake; the second value lists model and rows of each batch."""
    ran: Batches = []
    worker, texts = Worker("test", waited=lambda _: None), ThreadPoolExecutor(1)
    worker.start()
    try:
        yield (
            Dispatcher(
                engine=engine_of(backend, max_batch_tokens),
                worker=worker,
                texts=texts,
                ran=lambda model, rows: ran.append((model, rows)),
            ),
            ran,
        )
    finally:
        worker.close()
        texts.shutdown()


async def test_rows_run_in_chunks_and_come_back_in_order() -> None:
    """An explanation's rows come back whole, whatever batches they ran in, and each batch is counted."""
    with dispatching(FakeBackend(), max_batch_tokens=32) as (dispatcher, ran):
        encoded = await dispatcher.encode("m", TextInput(text="a b c d e f"))
        rows = [Row(seed=seed) for seed in range(10)]
        results = await dispatcher.run("m", encoded, rows, MapOptions(), Priority.CHECK)
        assert [float(result.logits[0]) for result in results] == list(range(10))
        assert ran == [("m", 4), ("m", 4), ("m", 2)]


async def test_a_prediction_gets_in_between_two_chunks() -> None:
    """Whoever wants a prediction waits for one batch of an explanation, not for all of them."""
    backend = Halting(halt_at=0)
    with dispatching(backend, max_batch_tokens=32) as (dispatcher, ran):
        encoded = await dispatcher.encode("m", TextInput(text="a b c d e f"))
        rows = [Row(seed=seed) for seed in range(8)]
        explaining = asyncio.create_task(dispatcher.run("m", encoded, rows, MapOptions(), Priority.CHECK))
        assert await asyncio.to_thread(backend.halted.wait, PATIENCE)
        predicting = asyncio.create_task(dispatcher.run("m", encoded, rows[:1], MapOptions(), Priority.PREDICT))
        await asyncio.sleep(0)
        backend.let_go.set()
        await asyncio.gather(explaining, predicting)
        assert backend.batches == [4, 1, 4]
        assert sorted(ran) == [("m", 1), ("m", 4), ("m", 4)]


async def test_cancelled_rows_are_not_run() -> None:
    """Once a caller has left, the batch on the device is the last one that runs for them."""
    backend = Halting(halt_at=1)
    with dispatching(backend, max_batch_tokens=32) as (dispatcher, ran):
        encoded = await dispatcher.encode("m", TextInput(text="a b c d e f"))
        rows = [Row(seed=seed) for seed in range(40)]
        leaving = asyncio.create_task(dispatcher.run("m", encoded, rows, MapOptions(), Priority.CHECK))
        assert await asyncio.to_thread(backend.halted.wait, PATIENCE)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        backend.let_go.set()
        (result,) = await dispatcher.run("m", encoded, [Row(seed=7)], MapOptions(), Priority.PREDICT)
        assert float(result.logits[0]) == 7
        assert backend.batches == [4, 4, 1]
        assert ran == [("m", 4), ("m", 1)]


async def test_texts_are_read_off_the_device_thread() -> None:
    """Tokenising goes on while the device computes."""
    backend = Halting(halt_at=0)
    with dispatching(backend) as (dispatcher, _):
        encoded = await dispatcher.encode("m", TextInput(text="a b"))
        computing = asyncio.create_task(dispatcher.run("m", encoded, [Row()], MapOptions(), Priority.CHECK))
        assert await asyncio.to_thread(backend.halted.wait, PATIENCE)
        again = await asyncio.wait_for(dispatcher.encode("m", TextInput(text="a b c")), PATIENCE)
        assert len(again.units) == 3
        backend.let_go.set()
        await computing


async def test_errors_come_through_as_they_are() -> None:
    """The caller's mistakes, a full device and a failing model are told apart."""
    with dispatching(FakeBackend()) as (dispatcher, ran):
        with pytest.raises(InvalidInput):
            await dispatcher.encode("m", TextInput(text=" "))
        encoded = await dispatcher.encode("m", TextInput(text="a b"))
    with dispatching(FakeBackend(capacity=0)) as (dispatcher, ran), pytest.raises(DeviceMemory):
        await dispatcher.run("m", encoded, [Row(), Row()], MapOptions(), Priority.CHECK)
    with dispatching(FakeBackend(failure=ArithmeticError)) as (dispatcher, _), pytest.raises(BackendError):
        await dispatcher.run("m", encoded, [Row()], MapOptions(), Priority.CHECK)
    assert ran == []


async def test_a_capture_is_one_row() -> None:
    """A capture counts as the one row that it runs, and brings the maps asked for."""
    with dispatching(FakeBackend()) as (dispatcher, ran):
        encoded = await dispatcher.encode("m", TextInput(text="a b c"))
        captured = await dispatcher.capture(
            "m",
            encoded,
            maps=frozenset({MapKind.RAW_ATTENTION}),
            options=MapOptions(),
            decision=Decision(task=Task.SINGLE_LABEL, target=0),
            attention=None,
        )
        assert [unit_map.kind for unit_map in captured.maps] == [MapKind.RAW_ATTENTION]
        assert ran == [("m", 1)]
