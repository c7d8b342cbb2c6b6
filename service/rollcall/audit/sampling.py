"""Replays nobody asks for: records that are held in full, drawn at random, worked out again while nobody else waits."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from sqlalchemy import Connection, not_, select

from rollcall.audit import queries
from rollcall.audit.events import SERVER
from rollcall.audit.replaying import Replayer
from rollcall.audit.schema import LEAF, RECORD
from rollcall.audit.searching import erased
from rollcall.audit.steward import Chore
from rollcall.domain.recording import RecordMode

HOUR_SECONDS = 3600.0
IDLE_SECONDS = 0.05
"""How often it is looked whether requests are in progress."""


async def _idle() -> None:
    await asyncio.sleep(IDLE_SECONDS)


@dataclass(slots=True, kw_only=True)
class SampledReplays:
    """Draws a record of a model that is served, and replays it once `busy` says that no request is in progress."""

    replayer: Replayer
    busy: Callable[[], bool]
    idle: Callable[[], Awaitable[None]] = _idle
    random: random.Random = field(default_factory=random.SystemRandom, repr=False)

    def chore(self, per_hour: float) -> Chore:
        """Do it so many times an hour."""
        return Chore(name="replay", every_seconds=HOUR_SECONDS / per_hour, do=self.replay_one)

    async def replay_one(self) -> None:
        """Replay one record, if there is any. Raises what replaying does."""
        digests = [card.ref.digest for card in self.replayer.models()]
        record_id = await asyncio.to_thread(self._draw, digests)
        if record_id is None:
            return
        while self.busy():
            await self.idle()
        await self.replayer.replay(record_id, None, "", SERVER)

    def _draw(self, digests: list[str]) -> str | None:
        with self.replayer.archive.reading() as connection:
            start = self.random.randrange(queries.size(connection))
            return _first(connection, digests, start) or _first(connection, digests, 0)


def _first(connection: Connection, digests: list[str], start: int) -> str | None:
    """Id of the first record from an index on that can be replayed; None where there is none."""
    found = connection.execute(
        select(RECORD.c.record_id)
        .join(LEAF, LEAF.c.record_id == RECORD.c.record_id)
        .where(
            LEAF.c.leaf_index >= start,
            RECORD.c.mode == RecordMode.FULL.value,
            RECORD.c.model_digest.in_(digests),
            not_(erased()),
        )
        .order_by(LEAF.c.leaf_index)
        .limit(1)
    ).scalar()
    return None if found is None else str(found)
