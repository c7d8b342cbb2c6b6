"""The first thing that meets a call: who makes it, and may they? What follows knows by `identity.current`.

Also calls of services that others have added pass here, so that none is open by oversight: the table decides.
"""

from __future__ import annotations

import logging
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
from grpc import aio

from rollcall.edge import status
from rollcall.edge.access import table
from rollcall.edge.access.identity import let_in
from rollcall.edge.interceptors import REQUEST_ID_KEY, request_id_of
from rollcall.telemetry import logs
from rollcall.telemetry.metrics import SERVICES
from rollcall.telemetry.series import OTHER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from rollcall.edge.access.authenticate import Authenticator
    from rollcall.telemetry.metrics import Metrics

    Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]
    Context: TypeAlias = aio.ServicerContext[Any, Any]

_log = logging.getLogger("rollcall.edge")


class AccessInterceptor(aio.ServerInterceptor):  # type: ignore[type-arg] # generic in the stubs only
    """Lets calls in, or refuses them with UNAUTHENTICATED or PERMISSION_DENIED; the outermost interceptor.

    A method that answers with a stream must be an asynchronous generator, unless its row is OPEN.
    """

    def __init__(self, authenticator: Authenticator, metrics: Metrics) -> None:
        self._authenticator = authenticator
        self._metrics = metrics
        self._guarded: dict[str, Handler] = {}

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]], details: grpc.HandlerCallDetails
    ) -> Handler:
        """Find the handler; guard it once."""
        handler = await continuation(details)
        call = details.method.lstrip("/")
        if handler is None or table.is_open(call):
            return handler
        if call not in self._guarded:
            self._guarded[call] = self._guard(call, handler)
        return self._guarded[call]

    def _guard(self, call: str, handler: Handler) -> Handler:
        shape = (
            "stream" if handler.request_streaming else "unary",
            "stream" if handler.response_streaming else "unary",
        )
        behaviour: Any = getattr(handler, "_".join(shape))

        async def answer(request: object, context: Context) -> object:
            await self._admit(call, context)
            return await behaviour(request, context)

        async def answers(request: object, context: Context) -> AsyncIterator[object]:
            await self._admit(call, context)
            async with aclosing(behaviour(request, context)) as messages:
                async for message in messages:
                    yield message

        make = getattr(grpc, "_".join((*shape, "rpc_method_handler")))
        guarded: Handler = make(
            answers if handler.response_streaming else answer,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
        return guarded

    async def _admit(self, call: str, context: Context) -> None:
        """Let the call in, or end it."""
        started = time.monotonic()
        try:
            metadata: Any = context.invocation_metadata() or ()
            identity = await self._authenticator.identify(metadata, context.auth_context())
            table.check(identity, call)
        except Exception as error:  # noqa: BLE001 - the edge: whatever happened, nobody is let in and no text gets out
            await self._refuse(call, error, time.monotonic() - started, context)
        else:
            let_in(identity)

    async def _refuse(self, call: str, error: Exception, seconds: float, context: Context) -> None:
        """Count, log and end the call: abort raises."""
        rejection = status.rejection(error)
        service, _, method = call.partition("/")
        if SERVICES.get(method) == service:
            self._metrics.rpc_started(method)
            self._metrics.rpc_handled(method, model=OTHER, code=rejection.code.name, seconds=seconds)
        request_id = request_id_of(context)
        logs.event(
            _log,
            logging.INFO if rejection.error_id is None else logging.ERROR,
            "refused",
            error=error if rejection.error_id else None,
            method=call,
            code=rejection.code.name,
            problem=rejection.message,
            request_id=request_id,
        )
        trailers = ((REQUEST_ID_KEY, request_id), (status.DETAILS_KEY, rejection.details))
        await context.abort(rejection.code, rejection.message, trailers)
