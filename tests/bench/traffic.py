"""Traffic against a running server: open and closed loops of real calls, and what its admin port says meanwhile."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from rollcall.demo.server import ServerProcess
from rollcall_client import AsyncClient, CapacityError, Explanation, InvalidAnswer, Reason, RollcallError
from tests.bench.openloop import Answer, Due, Kind, Verdict, Verdicts

SERVED = ("grpcio", "protobuf")
"""Libraries whose versions count where a server is measured."""
SAMPLE_SECONDS = 1.0
WATCHED = ("rollcall_requests_in_flight", "rollcall_queue")
"""Gauges whose names begin like this are watched."""
ZERO_WHEN_IDLE = ("rollcall_requests_in_flight", "rollcall_queue_depth")
IDLE_SECONDS = 60.0
"""Longest wait for the server to finish or drop what is left after a run."""
PATIENT_SECONDS = 120.0
"""Deadline of the calls of a closed loop: long enough to leave no trace in the capacity."""
BACK_OFF_SECONDS = (0.02, 1.0)
"""A client of the closed loop that was refused follows the server's advice, within these bounds."""


class Scheduled(Protocol):
    """Something that is due at some time."""

    @property
    def at(self) -> float:
        """Seconds from the start."""


Item = TypeVar("Item", bound=Scheduled)
Result = TypeVar("Result")


def served(model: Path | None) -> list[str]:
    """Return the arguments of `rollcall serve` for a model's directory, or for the demo model."""
    return ["--demo"] if model is None else ["--model", f"model={model}"]


async def drive(plan: Sequence[Item], handle: Callable[[Item, float], Awaitable[Result]]) -> list[Result]:
    """Start handling each item when it is due, never waiting for earlier ones; return all results.

    `handle` is told when the timetable started, by the monotonic clock.
    """

    async def one(item: Item) -> Result:
        return await handle(item, start)

    start = time.monotonic()
    async with asyncio.TaskGroup() as group:
        tasks = []
        for item in plan:
            await asyncio.sleep(max(0.0, start + item.at - time.monotonic()))
            tasks.append(group.create_task(one(item)))
    return [task.result() for task in tasks]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Makes calls that must be answered within `deadline` of when they were due, and remembers verdicts."""

    client: AsyncClient
    deadline: float
    verdicts: Verdicts

    async def __call__(self, due: Due, start: float) -> Answer:
        """Ask; whatever happens is an answer."""
        sent = time.monotonic() - start
        reply: Explanation | None = None
        retry_after = None
        try:
            left = max(0.001, due.at + self.deadline - sent)
            if due.kind is Kind.PREDICT:
                await self.client.predict(due.text, timeout=left)
            else:
                reply = await self.client.explain(due.text, timeout=left)
            code = "OK"
        except InvalidAnswer:
            code = "INVALID_ANSWER"
        except CapacityError as error:
            code, retry_after = error.code, error.retry_after
        except RollcallError as error:
            code = error.code
        verdict = None if reply is None else _verdict(reply)
        cut = reply is not None and reply.reason is Reason.BUDGET
        if verdict is not None and not cut:
            self.verdicts.see(due.text, verdict)
        return Answer(
            due=due,
            sent=sent,
            done=time.monotonic() - start,
            deadline=self.deadline,
            code=code,
            cut=cut,
            retry_after=retry_after,
            verdict=verdict,
        )


def _verdict(reply: Explanation) -> Verdict:
    alignment = reply.verdict.alignment
    return Verdict(
        flag=reply.flag.name, reason=reply.reason.name, alignment=None if alignment is None else alignment.value
    )


async def saturate(
    target: str, *, share: float, clients: int, seconds: float, texts: Sequence[str], verdicts: Verdicts
) -> list[Answer]:
    """Let clients ask again and again, each waiting for its answer, for `seconds`: enough of them find the capacity.

    Calls that are still open at the end are cancelled.
    """
    answers: list[Answer] = []
    start = time.monotonic()

    async def ask_on(number: int, call: Caller) -> None:
        random = np.random.default_rng([clients, number])
        turn = number * len(texts) // clients
        while True:
            kind = Kind.EXPLAIN if random.random() < share else Kind.PREDICT
            due = Due(at=time.monotonic() - start, kind=kind, text=texts[turn % len(texts)])
            turn += 1
            answer = await call(due, start)
            answers.append(answer)
            if not answer.good:
                least, most = BACK_OFF_SECONDS
                await asyncio.sleep(min(max(answer.retry_after or 0.0, least), most))

    async with AsyncClient(target, retries=0) as client:
        call = Caller(client=client, deadline=PATIENT_SECONDS, verdicts=verdicts)
        try:
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                for number in range(clients):
                    group.create_task(ask_on(number, call))
        except TimeoutError:
            pass
    return answers


# --- what the server says ---------------------------------------------------------------------------------------------


def gauges(exposition: str) -> dict[str, float]:
    """Read the gauges of the queue out of a scrape, each summed over its labels."""
    lines = [line for line in exposition.splitlines() if any(name in line for name in WATCHED)]
    return {
        family.name: sum(sample.value for sample in family.samples)
        for family in text_string_to_metric_families("\n".join([*lines, ""]))
        if family.type == "gauge" and family.name.startswith(WATCHED)
    }


def codes_handled(exposition: str) -> tuple[float, Counter[str]]:
    """Read how many calls the server has started, and with which codes calls have ended."""
    started, ended = 0.0, Counter[str]()
    lines = [line for line in exposition.splitlines() if "grpc_server_started" in line or "rollcall_requests" in line]
    for family in text_string_to_metric_families("\n".join([*lines, ""])):
        for sample in family.samples:
            if sample.name == "grpc_server_started_total":
                started += sample.value
            elif sample.name == "rollcall_requests_total":
                ended[sample.labels["code"]] += int(sample.value)
    return started, ended


@dataclass(slots=True, kw_only=True)
class Watch:
    """The largest values that the gauges had when somebody looked, and how often the admin port did not answer."""

    maxima: dict[str, float] = field(default_factory=dict)
    failed_scrapes: int = 0


@asynccontextmanager
async def watching(server: ServerProcess) -> AsyncIterator[Watch]:
    """Look at the gauges once a second during the block."""
    watch = Watch()

    async def look() -> None:
        while True:
            try:
                seen = gauges(await asyncio.to_thread(server.metrics))
            except OSError:
                watch.failed_scrapes += 1
                seen = {}
            for name, value in seen.items():
                watch.maxima[name] = max(value, watch.maxima.get(name, 0.0))
            await asyncio.sleep(SAMPLE_SECONDS)

    looking = asyncio.create_task(look())
    try:
        yield watch
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking


async def busy_gauges(server: ServerProcess, seconds: float = IDLE_SECONDS) -> dict[str, float]:
    """Wait until nothing is in flight or queued; return the gauges that have not come back to 0 after `seconds`."""
    until = time.monotonic() + seconds
    while True:
        seen = gauges(await asyncio.to_thread(server.metrics))
        left = {name: seen.get(name, float("nan")) for name in ZERO_WHEN_IDLE if seen.get(name) != 0.0}
        if not left or time.monotonic() > until:
            return left
        await asyncio.sleep(SAMPLE_SECONDS / 4)


def compute_threads(server: ServerProcess) -> int:
    """How many threads compute in the server."""
    events = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    return next((int(event["compute_threads"]) for event in events if "compute_threads" in event), 1)


@contextmanager
def few_pauses() -> Iterator[None]:
    """Take what is loaded already out of the garbage collector's sight: its long pauses would make requests late."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
