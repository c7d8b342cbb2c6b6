"""What every method of AuditService does: learn who asks, and do it beside the event loop."""

from __future__ import annotations

import asyncio
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
        """Do what was asked by an actor, beside the event loop."""
        return await asyncio.to_thread(work, self._actor)
