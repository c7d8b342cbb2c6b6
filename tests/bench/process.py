"""The server's process from outside: what /proc says of its memory, threads and file descriptors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The server's process at one moment."""

    at: float
    memory_mib: float
    threads: int
    descriptors: int


def look(pid: int, at: float) -> Sample:
    """Read one process from /proc."""
    process = Path("/proc") / str(pid)
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    return Sample(
        at=at,
        memory_mib=int(status["VmRSS"].split()[0]) * 1024 / MIB,
        threads=int(status["Threads"]),
        descriptors=sum(1 for _ in (process / "fd").iterdir()),
    )


@asynccontextmanager
async def sampling(pid: int, every: float) -> AsyncIterator[list[Sample]]:
    """Look at a process again and again during the block."""
    samples: list[Sample] = []
    start = time.monotonic()

    async def keep_looking() -> None:
        while True:
            samples.append(look(pid, time.monotonic() - start))
            await asyncio.sleep(every)

    looking = asyncio.create_task(keep_looking())
    try:
        yield samples
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
