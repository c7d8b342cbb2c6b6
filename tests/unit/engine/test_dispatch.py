"""The engine as the pipeline sees it: awaitable, in jobs small enough for others to get in between."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import torch

from rollcall.backends.base import BatchOutput, BatchRow
from rollcall.domain.compute import Job
from rollcall.domain.decision import Decision, Task
from rollcall.domain.errors import BackendError, DeviceLost, DeviceMemory, InvalidInput, ModelRejected
from rollcall.domain.inputs import TextInput
from rollcall.domain.maps import MapKind, MapOptions
from rollcall.domain.rows import Row
from rollcall.engine.dispatch import Dispatcher
from rollcall.models.loading import LoadedModel
from rollcall.scheduling.queue import Limits, RowQueue
from tests.unit.engine.fakes import FakeBackend, engine_of
from tests.unit.engine.test_device import Told

PATIENCE = 20.0


@dataclass(kw_only=True)
class Halting(FakeBackend):
    """Stops at the batch with a given number until it is let go."""

    halt_at: int = -1
    halted: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)

    def run(self, rows: Sequence[BatchRow]) -> BatchOutput:
        """Halt, then answer."""
        if len(self.batches) == self.halt_at:
            self.halted.set()
            assert self.let_go.wait(PATIENCE)
        return super().run(rows)


@contextmanager
def dispatching(backend: FakeBackend, max_tokens: int = 8192) -> Iterator[tuple[Dispatcher, Told]]:
    """Dispatch to a fake; the second value is told of each batch."""
    told, texts = Told(), ThreadPoolExecutor(1)
    queue = RowQueue(limits=Limits(max_tokens=max_tokens, max_seconds=1e9))
    dispatcher = Dispatcher.on(engine_of(backend), queue, texts, told)
    dispatcher.device.start()
    try:
        yield dispatcher, told
    finally:
        dispatcher.device.close()
        texts.shutdown()
        dispatcher.beside.shutdown()


class Panic(BaseException):
    """As what a tokenizer raises whose own language panics: no Exception."""


async def test_a_tokenizer_that_panics_fails_its_own_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller hears of it without the input, and the next one is served."""
    with dispatching(backend := FakeBackend()) as (dispatcher, _):
        encode = backend.encode

        def panics(model_input: object) -> object:
            raise Panic(model_input)

        monkeypatch.setattr(FakeBackend, "encode", lambda _, given: panics(given))
        with pytest.raises(BackendError, match="tokenizer failed on this input") as raised:
            await dispatcher.encode("m", TextInput(text="secret"))
        assert "secret" not in str(raised.value)
        monkeypatch.setattr(FakeBackend, "encode", lambda _, given: encode(given))
        assert (await dispatcher.encode("m", TextInput(text="a b"))).length


def job() -> Job:
    """A request."""
    return Job(arrived=0.0)


async def test_rows_run_in_batches_and_come_back_in_order() -> None:
    """An explanation's rows come back whole, whatever batches they ran in, and each batch is counted."""
    with dispatching(FakeBackend(), max_tokens=32) as (dispatcher, told):
        encoded = await dispatcher.encode("m", TextInput(text="a b c d e f"))
        rows = [Row(seed=seed) for seed in range(10)]
        results = await dispatcher.run(job(), "m", encoded, rows, MapOptions())
        assert [float(result.logits[0]) for result in results] == list(range(10))
    assert told.batches == [("rows", 4, 0), ("rows", 4, 0), ("rows", 2, 0)]


async def test_a_prediction_gets_in_between_two_batches() -> None:
    """Whoever wants a prediction waits for one batch of an explanation, not for all of them."""
    backend = Halting(halt_at=0)
    with dispatching(backend, max_tokens=32) as (dispatcher, told):
        encoded = await dispatcher.encode("m", TextInput(text="a b c d e f"))
        explaining = asyncio.create_task(dispatcher.run(job(), "m", encoded, [Row()] * 8, MapOptions()))
        assert await asyncio.to_thread(backend.halted.wait, PATIENCE)
        predicting = asyncio.create_task(dispatcher.predict(job(), "m", encoded))
        await asyncio.sleep(0)
        backend.let_go.set()
        _, predicted = await asyncio.gather(explaining, predicting)
        assert float(predicted.logits[0]) == 6
    assert [kind for kind, _, _ in told.batches] == ["rows", "predictions", "rows"]


async def test_rows_of_a_model_that_company_changes_stay_alone() -> None:
    """Where a row's numbers depend on its batch, every request's rows are cut in the same places, alone or not."""
    backend = Halting(halt_at=0, batch_is_neutral=False)
    with dispatching(backend, max_tokens=32) as (dispatcher, _):
        encoded = await dispatcher.encode("m", TextInput(text="a b c d e f"))
        tasks = [
            asyncio.create_task(dispatcher.run(job(), "m", encoded, [Row(seed=i)] * 5, MapOptions())) for i in range(3)
        ]
        assert await asyncio.to_thread(backend.halted.wait, PATIENCE)
        await asyncio.sleep(0)
        backend.let_go.set()
        await asyncio.gather(*tasks)
        assert sorted(backend.batches) == [1, 1, 1, 4, 4, 4]


async def test_cancelled_rows_are_not_run() -> None:
    """Once a caller has left, the batch on the device is the last one that runs for them."""
    backend = Halting(halt_at=1)
    with dispatching(backend, max_tokens=32) as (dispatcher, told):
        encoded = await dispatcher.encode("m", TextInput(text="a b c d e f"))
        leaving = asyncio.create_task(dispatcher.run(job(), "m", encoded, [Row()] * 40, MapOptions()))
        assert await asyncio.to_thread(backend.halted.wait, PATIENCE)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        backend.let_go.set()
        (result,) = await dispatcher.run(job(), "m", encoded, [Row(seed=7)], MapOptions())
        assert float(result.logits[0]) == 7
        assert backend.batches == [4, 4, 1]
        assert told.dropped == 32


async def test_texts_are_read_off_the_device_thread() -> None:
    """Tokenising goes on while the device computes."""
    backend = Halting(halt_at=0)
    with dispatching(backend) as (dispatcher, _):
        encoded = await dispatcher.encode("m", TextInput(text="a b"))
        computing = asyncio.create_task(dispatcher.run(job(), "m", encoded, [Row()], MapOptions()))
        assert await asyncio.to_thread(backend.halted.wait, PATIENCE)
        again = await asyncio.wait_for(dispatcher.encode("m", TextInput(text="a b c")), PATIENCE)
        assert len(again.units) == 3
        backend.let_go.set()
        await computing


async def test_errors_come_through_as_they_are() -> None:
    """The caller's mistakes, a full device, a failing model and a lost device are told apart."""
    with dispatching(FakeBackend()) as (dispatcher, _):
        with pytest.raises(InvalidInput):
            await dispatcher.encode("m", TextInput(text=" "))
        encoded = await dispatcher.encode("m", TextInput(text="a b"))
    for backend, error in (
        (FakeBackend(capacity=0), DeviceMemory),
        (FakeBackend(failure=ArithmeticError), BackendError),
        (FakeBackend(failure=lambda: torch.AcceleratorError("CUDA error")), DeviceLost),
    ):
        with dispatching(backend) as (dispatcher, _), pytest.raises(error):
            await dispatcher.run(job(), "m", encoded, [Row(), Row()], MapOptions())


async def test_no_rows_are_no_work() -> None:
    """Asking for nothing gets nothing, at once."""
    with dispatching(FakeBackend()) as (dispatcher, told):
        encoded = await dispatcher.encode("m", TextInput(text="a b"))
        assert await dispatcher.run(job(), "m", encoded, [], MapOptions()) == []
    assert told.batches == []


async def test_a_capture_is_one_row() -> None:
    """A capture brings the prediction, the decision and the maps asked for."""
    with dispatching(FakeBackend()) as (dispatcher, told):
        encoded = await dispatcher.encode("m", TextInput(text="a b c"))
        captured = await dispatcher.capture(
            job(),
            "m",
            encoded,
            maps=frozenset({MapKind.RAW_ATTENTION}),
            options=MapOptions(),
            decide=lambda logits: Decision(task=Task.SINGLE_LABEL, target=int(logits.argmax())),
            attention=None,
        )
        assert [unit_map.kind for unit_map in captured.maps] == [MapKind.RAW_ATTENTION]
        assert captured.row.logits.tolist() == [1, -1]
        assert captured.decision.target == 0
    assert told.batches == [("capture", 1, 0)]


async def test_a_loaded_model_is_tried_before_it_is_used() -> None:
    """After loading it is known how long rows take, so that the first request can be told if it has no time."""
    backend = FakeBackend()
    model = engine_of(backend).models["m"]
    with dispatching(FakeBackend()) as (dispatcher, _):
        dispatcher.engine.models.clear()
        assert dispatcher.expected_seconds("m", 10, 8) == 0
        assert await dispatcher.load("m", lambda: model) is model
        assert dispatcher.expected_seconds("m", 10, 8) > 0
        assert dispatcher.engine.models["m"] is model
        assert dispatcher.capture_seconds("m", 8) > 0
        bounds = dispatcher.bounds("m")
        assert bounds.longest_row_bytes.keys() == {"predictions", "rows", "capture"}
        assert bounds.batch_bytes is not None
        assert not bounds.tight
    assert max(backend.batches) > 1


class Elsewhere(FakeBackend):
    """On a device that this machine does not have."""

    device = "cuda:7"


async def test_a_model_whose_memory_cannot_be_measured_serves(caplog: pytest.LogCaptureFixture) -> None:
    """Tokens bound its batches then, as they did before anything was measured."""
    model = engine_of(Elsewhere()).models["m"]
    with dispatching(FakeBackend()) as (dispatcher, _):
        await dispatcher.load("m", lambda: model)
        assert dispatcher.bounds("m").batch_bytes is None
        assert dispatcher.bounds("m").longest_rows == {}
    assert [record.message for record in caplog.records] == ["memory_not_measured"]


async def test_an_unloaded_model_leaves_nothing_behind() -> None:
    """Its weights can be collected, and what was learnt of it is forgotten; a neighbour stays as it was."""
    with dispatching(FakeBackend()) as (dispatcher, _):
        loaded = await dispatcher.load("m@2", lambda: engine_of(FakeBackend()).models["m"])
        gone = weakref.ref(loaded.backend)
        del loaded
        await dispatcher.load("m", lambda: engine_of(FakeBackend()).models["m"])
        await dispatcher.unload("m@2")
        queue = dispatcher.queue
        assert gone() is None
        assert dispatcher.engine.models.keys() == {"m"}
        learnt = (queue.widths, queue.budgets, dict(queue.memories).keys(), dict(queue.latencies).keys())
        assert not any("m@2" in (one if isinstance(one, str) else one[0]) for known in learnt for one in known)
        assert dispatcher.expected_seconds("m", 10, 8) > 0


async def test_a_model_that_cannot_be_loaded_says_why() -> None:
    """What loading raises is raised where it is awaited."""

    def fail() -> LoadedModel:
        message = "no such directory"
        raise ModelRejected(message)

    with dispatching(FakeBackend()) as (dispatcher, _), pytest.raises(ModelRejected):
        await dispatcher.load("n", fail)
