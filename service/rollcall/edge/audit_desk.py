"""What every method of AuditService does: learn who asks, see that they may, and do it beside the event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from rollcall.edge.audit_roles import LOCAL, Actor, check_role
from rollcall.v1 import audit_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from grpc import aio

    from rollcall.audit.replaying import Replayer
    from rollcall.edge.port import ServicePort

    Context = aio.ServicerContext[Any, Any]
    Reply = TypeVar("Reply")


def whoever_is_here(_: Context) -> Actor:
    """Name who asks, where nobody has to say who they are."""
    return LOCAL


class Desk(audit_service_pb2_grpc.AuditServiceServicer):
    """An open log and whoever comes to it. `who` names whoever makes a call."""

    def __init__(
        self, replayer: Replayer, port: ServicePort, who: Callable[[Context], Actor] = whoever_is_here
    ) -> None:
        self._archive = replayer.archive
        self._replayer = replayer
        self._port = port
        self._who = who

    async def _ask(self, method: str, context: Context, work: Callable[[Actor], Reply]) -> Reply:
        """Do what was asked, by whoever may, beside the event loop."""
        actor = self._who(context)
        check_role(actor, method)
        return await asyncio.to_thread(work, actor)
