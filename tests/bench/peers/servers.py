"""Servers of our own, and what any server's processes have spent."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rollcall.demo.server import ServerProcess, server_process
from rollcall_client import AsyncClient, Explanation
from tests.bench.peers.measure import Answer
from tests.bench.peers.ours import NAME
from tests.bench.peers.process import ONE_THREAD

CALL_SECONDS = 120.0
CORES = 2
"""Our server leaves one core to its event loop and computes on the others: with two, on one."""


@contextmanager
def few_cores() -> Iterator[None]:
    """Keep this thread, and all processes that it starts, on so many cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(before)[:CORES]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def own_server(directory: Path) -> Iterator[ServerProcess]:
    """Serve the model."""
    with server_process("--model", f"{NAME}={directory}", environment=ONE_THREAD) as server:
        yield server


def with_server_time(pid: int, call: Callable[[], Answer]) -> Answer:
    """Put the server's processor time into an answer, its children's included."""
    before = tree_seconds(pid)
    answer = call()
    return replace(answer, cpu=tree_seconds(pid) - before)


def tree_seconds(pid: int) -> float:
    """Processor seconds that a process and its living descendants have spent so far, in steps of the kernel's clock."""
    ticks = 0
    waiting = [pid]
    while waiting:
        process = waiting.pop()
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            waiting += map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def predict(target: str, texts: list[str], callers: int) -> list[tuple[float, ...]]:
    """Probabilities of each text, `callers` calls at a time."""

    async def everything() -> list[tuple[float, ...]]:
        found: list[tuple[float, ...]] = [() for _ in texts]
        waiting = iter(enumerate(texts))
        async with AsyncClient(target, timeout=CALL_SECONDS, retries=0) as client:

            async def caller() -> None:
                for number, text in waiting:
                    found[number] = (await client.predict(text)).prediction.probabilities

            await asyncio.gather(*(caller() for _ in range(callers)))
        return found

    return asyncio.run(everything())


def explain(target: str, text: str) -> tuple[Explanation, float]:
    """One explanation, and its wall seconds."""

    async def once() -> tuple[Explanation, float]:
        async with AsyncClient(target, timeout=CALL_SECONDS, retries=0) as client:
            started = time.perf_counter()
            return await client.explain(text), time.perf_counter() - started

    return asyncio.run(once())
