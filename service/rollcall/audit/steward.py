"""What a server does with its records by itself, now and then, as its settings say. What fails is tried again later."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Protocol

from rollcall.audit.agreement import count_overdue
from rollcall.audit.archive import Archive
from rollcall.domain.errors import RollcallError
from rollcall.telemetry import logs

_log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0
"""Between two looks for reviews that are late."""


class StewardTelemetry(Protocol):
    """What the steward tells."""

    def audit_reviews_overdue(self, count: int) -> None:
        """So many reviews should be closed by now."""
        ...


@dataclass(slots=True, kw_only=True)
class Steward:
    """Looks after the records of an open log, from one event loop, beside it."""

    archive: Archive
    telemetry: StewardTelemetry
    look_seconds: float = LOOK_SECONDS
    _stopping: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    _task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End what is being done, and nothing further."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while not self._stopping.is_set():
            await self.turn()
            try:
                async with asyncio.timeout(self.look_seconds):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    async def turn(self) -> None:
        """Do what is to be done now; what goes wrong is logged."""
        try:
            self.telemetry.audit_reviews_overdue(await asyncio.to_thread(count_overdue, self.archive))
        except RollcallError as error:
            logs.event(_log, logging.WARNING, "audit_steward_failed", problem=str(error))
