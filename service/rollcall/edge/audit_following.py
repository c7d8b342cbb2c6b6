"""The method of AuditService that follows the log."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from rollcall.audit.following import entries
from rollcall.edge.audit_desk import Desk
from rollcall.edge.converters import audit as convert

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rollcall.edge.audit_desk import Context
    from rollcall.v1 import audit_service_pb2

MOST_FOLLOWERS = 16
LOOK_SECONDS = 1.0
"""How often it is looked whether there is a further entry."""


class Following(Desk):
    """What watches from elsewhere."""

    async def StreamRecords(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.StreamRecordsRequest, context: Context
    ) -> AsyncIterator[audit_service_pb2.StreamRecordsResponse]:
        """Follow the log."""
        del context
        at = convert.first_index(request)
        with self._followers.place(of=MOST_FOLLOWERS):
            while not self._closing.is_set():
                found = await asyncio.to_thread(entries, self._archive, at)
                for entry in found:
                    at = entry.leaf_index + 1
                    yield convert.entry(entry)
                if not found and not request.follow:
                    return
                if not found:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_SECONDS):
                            await self._closing.wait()
