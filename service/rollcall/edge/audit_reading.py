"""The methods of AuditService that read, prove and verify."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollcall.audit import records
from rollcall.audit.schema import EVENT
from rollcall.audit.searching import search
from rollcall.audit.trends import trends
from rollcall.audit.verifying_here import verify_here
from rollcall.edge.access.identity import current
from rollcall.edge.access.table import check_opens
from rollcall.edge.audit_desk import Desk
from rollcall.edge.converters import audit as convert
from rollcall.edge.converters.trends import trends_reply, trends_request
from rollcall.v1 import audit_service_pb2

if TYPE_CHECKING:
    from rollcall.edge.audit_desk import Context


class Reading(Desk):
    """What auditors ask."""

    async def GetCaller(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.GetCallerRequest, context: Context
    ) -> audit_service_pb2.GetCallerResponse:
        """Say who asks."""
        del request, context
        roles = sorted(role.value for role in current().roles)
        return audit_service_pb2.GetCallerResponse(name=self._actor, roles=roles)

    async def GetRecord(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.GetRecordRequest, context: Context
    ) -> audit_service_pb2.GetRecordResponse:
        """Read a record."""
        del context
        asked = convert.record_request(request)
        if asked.parts:
            check_opens(current())
        return await self._ask(
            lambda actor: convert.record_reply(
                records.read_record(self._archive, asked.name, asked.parts, asked.reason, actor, hide=asked.masked)
            ),
        )

    async def SearchRecords(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.SearchRecordsRequest, context: Context
    ) -> audit_service_pb2.SearchRecordsResponse:
        """Find records."""
        del context
        size = convert.page_size(request)
        return await self._ask(
            lambda _: convert.page_reply(search(self._archive, request.filter, size, request.page_token)),
        )

    async def ListEvents(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.ListEventsRequest, context: Context
    ) -> audit_service_pb2.ListEventsResponse:
        """List what was done."""
        del context
        kind = convert.event_kind(request)

        def work(_: str) -> audit_service_pb2.ListEventsResponse:
            with self._archive.reading() as connection:
                found = records.happened(
                    connection,
                    told=self._archive.told(EVENT.c.record_id),
                    record_id=request.record_id or None,
                    kind=kind,
                    before=request.before_log_index or None,
                )
            return audit_service_pb2.ListEventsResponse(events=convert.events(found))

        return await self._ask(work)

    async def GetProof(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.GetProofRequest, context: Context
    ) -> audit_service_pb2.GetProofResponse:
        """Prove an entry."""
        del context
        name, index = convert.proof_request(request)

        def work(_: str) -> audit_service_pb2.GetProofResponse:
            entry, proof = records.prove(
                self._archive, records.index_of(self._archive, name) if index is None else index
            )
            return audit_service_pb2.GetProofResponse(
                entry=entry.decode(), proof=proof, verifier_key=self._archive.verifier.line()
            )

        return await self._ask(work)

    async def GetCheckpoint(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.GetCheckpointRequest, context: Context
    ) -> audit_service_pb2.GetCheckpointResponse:
        """Give the newest checkpoint."""
        del context
        old = request.old_size if request.HasField("old_size") else None

        def work(_: str) -> audit_service_pb2.GetCheckpointResponse:
            signed, consistency = records.checkpoint(self._archive, old)
            return audit_service_pb2.GetCheckpointResponse(
                note=signed.note,
                size=signed.size,
                verifier_key=self._archive.verifier.line(),
                consistency=consistency,
            )

        return await self._ask(work)

    async def VerifyLog(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.VerifyLogRequest, context: Context
    ) -> audit_service_pb2.VerifyLogResponse:
        """Verify the database."""
        del context
        notes = convert.checkpoints(request)
        return await self._ask_at_length(lambda _: convert.report_reply(verify_here(self._archive, notes)))

    async def GetTrends(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.GetTrendsRequest, context: Context
    ) -> audit_service_pb2.GetTrendsResponse:
        """Say how the answers of a model went."""
        del context
        asked = trends_request(request, self._archive.now())
        return await self._ask(lambda _: trends_reply(trends(self._archive, asked)))
