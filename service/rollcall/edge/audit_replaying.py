"""The methods of AuditService that ask again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollcall.edge.audit_desk import Desk
from rollcall.edge.converters import enums, governance, replies, requests
from rollcall.edge.converters.audit import record_name
from rollcall.v1 import audit_service_pb2

if TYPE_CHECKING:
    from rollcall.edge.audit_desk import Context


class Replaying(Desk):
    """What is answered by the models themselves, so on the event loop."""

    async def ReplayRecord(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.ReplayRecordRequest, context: Context
    ) -> audit_service_pb2.ReplayRecordResponse:
        """Work a record out again."""
        del context
        name, reason = record_name(request.record_id), governance.reason(request.reason)
        given = requests.replay_input(request, self._port.limits())
        actor = self._actor
        replayed = await self._replayer.replay(name, given, reason, actor)
        return audit_service_pb2.ReplayRecordResponse(
            outcome=enums.REPLAY_OUTCOMES[replayed.compared.outcome],
            differences=[
                audit_service_pb2.ReplayDifference(what=each.what, recorded=each.recorded, now=each.now)
                for each in replayed.compared.differences
            ],
            log_index=replayed.log_index,
        )

    async def ExplainRecord(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.ExplainRecordRequest, context: Context
    ) -> audit_service_pb2.ExplainRecordResponse:
        """Explain a decision afterwards."""
        del context
        name, reason = record_name(request.record_id), governance.reason(request.reason)
        given, level = requests.replay_input(request, self._port.limits()), requests.check_level(request)
        actor = self._actor
        answer = await self._replayer.explain_decision(name, given, level, reason, actor)
        return audit_service_pb2.ExplainRecordResponse(explanation=replies.explain_response(answer))
