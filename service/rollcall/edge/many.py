"""One request of an ExplainMany: answered as if it had come alone, or failed alone."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import grpc

from rollcall.domain.errors import Overloaded, QuotaExceeded
from rollcall.edge import status
from rollcall.edge.access.identity import current
from rollcall.edge.calls import Ledger, Outcome, cancelled_by, check_decoded, own_id
from rollcall.edge.converters import replies, requests

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from grpc import aio

    from rollcall.domain.explanation import ExplainRequest, Explanation
    from rollcall.edge import wire
    from rollcall.edge.port import ServicePort
    from rollcall.telemetry.metrics import Metrics
    from rollcall.telemetry.traces import Spans
    from rollcall.v1 import explanation_pb2, explanation_service_pb2

    Context = aio.ServicerContext[Any, Any]

METHOD = "ExplainMany"


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOfMany:
    """Answers requests of one call. `deadline` is the call's, a reading of time.monotonic()."""

    port: ServicePort
    metrics: Metrics
    spans: Spans
    context: Context
    deadline: float | None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def answer(
        self, index: int, request: explanation_pb2.ExplainRequest | wire.Undecodable
    ) -> explanation_service_pb2.ExplainManyResponse:
        """Answer the request at this place of the stream; whatever goes wrong with it is its answer."""
        ledger = Ledger(self.metrics, self.spans)
        request_id = own_id(request) or uuid.uuid4().hex
        opened = ledger.open_one(METHOD, request, request_id)
        outcome = Outcome(code=grpc.StatusCode.UNKNOWN)
        try:
            reply = await self._explained(request, request_id)
            outcome = Outcome(code=grpc.StatusCode.OK, reply=reply)
            return replies.many_response(index, request_id, reply)
        except Exception as error:  # noqa: BLE001 - the edge of this request: the others go on
            rejection = status.rejection(error)
            outcome = Outcome(code=rejection.code, rejection=rejection, error=error)
            return replies.many_failure(
                index, request_id, code=rejection.code.value[0], message=rejection.message, details=rejection.details
            )
        except asyncio.CancelledError:
            outcome = Outcome(code=cancelled_by(self.context))
            raise
        finally:
            ledger.close_one(opened, outcome)

    async def _explained(
        self, request: explanation_pb2.ExplainRequest | wire.Undecodable, request_id: str
    ) -> explanation_pb2.ExplainResponse:
        check_decoded(request)
        message = cast("explanation_pb2.ExplainRequest", request)
        message.request_id = message.request_id or request_id
        limits = self.port.limits()
        asked = requests.explain_request(message, limits=limits, deadline=self.deadline, caller=current())
        answer = await self._patiently(asked)
        started = time.perf_counter()
        reply = replies.explain_response(answer)
        self.metrics.stage(answer.model.name, "serialize", time.perf_counter() - started)
        return reply

    async def _patiently(self, asked: ExplainRequest) -> Explanation:
        """Wait while the server is too busy, or the tenant has what it may: few requests wait, and hold nothing."""
        while True:
            try:
                return await self.port.explain(asked)
            except (Overloaded, QuotaExceeded) as busy:
                await self.sleep(busy.retry_after)
