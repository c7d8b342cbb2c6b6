"""What every method of AuditService does: learn who asks, and do it beside the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from rollcall.audit.sealing import index_key
from rollcall.edge.access.identity import current
from rollcall.edge.converters.once import once
from rollcall.edge.places import Places
from rollcall.v1 import audit_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message
    from grpc import aio

    from rollcall.audit.archive import Archive
    from rollcall.audit.events import Once
    from rollcall.audit.replaying import Replayer
    from rollcall.edge.port import ServicePort

    Context = aio.ServicerContext[Any, Any]
    Reply = TypeVar("Reply")

THREADS = 4
"""In which calls are answered; further ones wait."""
MOST_AT_LENGTH = 2
"""Of them, at most, for calls that may read all of the log."""
MOST_EXPORTS = 4
"""That are held in memory at a time, for as long as their readers like."""
ANYONE = "anyone"
"""What the log calls whoever asks where nobody has to say who they are."""


class Desk(audit_service_pb2_grpc.AuditServiceServicer):
    """An open log, and whoever comes to it. Whether they may is decided before (`access.table`).

    `closing` is set when the server is about to stop.
    """

    def __init__(self, replayer: Replayer, port: ServicePort, closing: asyncio.Event) -> None:
        self._whole = replayer
        self._port = port
        self._closing = closing
        self._followers = Places("streams of the log")
        self._exports = Places("exports")
        self._at_length = Places("verifications and exports")
        self._threads = ThreadPoolExecutor(THREADS, "rollcall-desk")

    @property
    def _archive(self) -> Archive:
        """The log as whoever makes the call that is being answered sees it."""
        return self._whole.archive.seen_by(current().sees)

    @property
    def _replayer(self) -> Replayer:
        """The same for what is answered by the models."""
        return replace(self._whole, archive=self._archive)

    @property
    def _actor(self) -> str:
        """Name of whoever makes the call that is being answered."""
        return current().name or ANYONE

    def _once(self, request: Message) -> Once | None:
        """For which idempotency key a request is made. Raises InvalidInput."""
        return once(request, self._actor, index_key(self._archive.operator))

    async def _ask(self, work: Callable[[str], Reply]) -> Reply:
        """Do what was asked by an actor, beside the event loop, in threads that nothing else waits for."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, copy_context().run, work, self._actor)

    async def _ask_at_length(self, work: Callable[[str], Reply]) -> Reply:
        """Do the same where it may take all of the log. Raises Overloaded while MOST_AT_LENGTH are at it.

        A caller who leaves does not end the work, and its place is taken until it has ended.
        """

        async def working() -> Reply:
            with self._at_length.place(of=MOST_AT_LENGTH):
                return await self._ask(work)

        return await asyncio.shield(working())
