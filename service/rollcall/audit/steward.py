"""What a server does with its records by itself, now and then, as its settings say: each thing is a Chore.

What fails is logged and done again at its next time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from rollcall.audit.agreement import count_overdue
from rollcall.audit.archive import Archive
from rollcall.audit.events import SERVER
from rollcall.audit.retaining import apply
from rollcall.domain.errors import RollcallError
from rollcall.telemetry import logs

_log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0
"""Between two looks for reviews that are late, and for bytes of what was erased."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chore:
    """Something that is done at the start, and then again so many seconds after it was done."""

    name: str
    every_seconds: float
    do: Callable[[], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Steward:
    """Does chores, each in its own time, from one event loop."""

    chores: tuple[Chore, ...]
    _stopping: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list, repr=False)

    def start(self) -> None:
        """Begin."""
        self._tasks = [asyncio.create_task(self._keep(chore)) for chore in self.chores]

    async def stop(self) -> None:
        """End what is being done, and nothing further."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)

    async def _keep(self, chore: Chore) -> None:
        while not self._stopping.is_set():
            try:
                await chore.do()
            except RollcallError as error:
                logs.event(_log, logging.WARNING, "audit_chore_failed", chore=chore.name, problem=str(error))
            except Exception as error:  # noqa: BLE001 - a chore's edge: what nobody thought of is no reason to stop
                problem = type(error).__name__
                logs.event(_log, logging.ERROR, "audit_chore_failed", chore=chore.name, problem=problem, error=error)
            with suppress(TimeoutError):
                async with asyncio.timeout(chore.every_seconds):
                    await self._stopping.wait()


def looking_for_late_reviews(archive: Archive, tell: Callable[[int], None]) -> Chore:
    """Tell how many reviews are overdue."""

    async def do() -> None:
        tell(await asyncio.to_thread(count_overdue, archive))

    return Chore(name="overdue", every_seconds=LOOK_SECONDS, do=do)


def scrubbing(archive: Archive) -> Chore:
    """Have the database forget what it could not when it was erased, by this process or one before it."""

    async def do() -> None:
        if archive.store.scrub_owed:
            await asyncio.to_thread(archive.scrub)

    return Chore(name="scrub", every_seconds=LOOK_SECONDS, do=do)


def keeping_to_retention(archive: Archive, every_seconds: float) -> Chore:
    """Erase what was kept long enough."""

    async def do() -> None:
        erased = await asyncio.to_thread(apply, archive, "", SERVER)
        if erased:
            records = sum(len(each.records) for each in erased)
            logs.event(_log, logging.INFO, "audit_retention_applied", records=records)

    return Chore(name="retention", every_seconds=every_seconds, do=do)
