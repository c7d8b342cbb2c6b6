"""The methods of AuditService that hold, erase, and keep to retention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollcall.audit import erasing, holding, records, retaining
from rollcall.edge.audit_desk import Desk
from rollcall.edge.converters import governance as convert
from rollcall.edge.converters.audit import record_name
from rollcall.v1 import audit_service_pb2

if TYPE_CHECKING:
    from rollcall.audit.erasing import Erased
    from rollcall.edge.audit_desk import Context


class Governing(Desk):
    """What data protection officers ask."""

    async def EraseRecord(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.EraseRecordRequest, context: Context
    ) -> audit_service_pb2.EraseRecordResponse:
        """Erase a record."""
        del context
        name, ground = record_name(request.record_id), convert.ground(request.ground)
        reason, once = convert.reason(request.reason), self._once(request)

        def work(actor: str) -> audit_service_pb2.EraseRecordResponse:
            erased = erasing.erase_record(self._archive, name, ground, reason, actor, once)
            return audit_service_pb2.EraseRecordResponse(certificate=self._certificate(erased))

        return await self._ask(work)

    async def EraseSubject(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.EraseSubjectRequest, context: Context
    ) -> audit_service_pb2.EraseSubjectResponse:
        """Erase what is about a person."""
        del context
        subject, ground = convert.subject(request.subject_ref), convert.ground(request.ground)
        tenant = request.tenant if request.HasField("tenant") else None
        reason, once = convert.reason(request.reason), self._once(request)

        def work(actor: str) -> audit_service_pb2.EraseSubjectResponse:
            erased = erasing.erase_subject(self._archive, subject, ground, reason, actor, once, tenant)
            return audit_service_pb2.EraseSubjectResponse(certificate=self._certificate(erased))

        return await self._ask(work)

    async def PlaceHold(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.PlaceHoldRequest, context: Context
    ) -> audit_service_pb2.PlaceHoldResponse:
        """Hold records."""
        del context
        matter, names = convert.matter(request.matter), convert.record_names(request.record_ids)
        reason, once = convert.reason(request.reason), self._once(request)

        def work(actor: str) -> audit_service_pb2.PlaceHoldResponse:
            held = holding.place(self._archive, matter, names, request.filter, reason, actor, once)
            return audit_service_pb2.PlaceHoldResponse(records=len(held.records), log_index=held.log_index)

        return await self._ask(work)

    async def ReleaseHold(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.ReleaseHoldRequest, context: Context
    ) -> audit_service_pb2.ReleaseHoldResponse:
        """End a hold."""
        del context
        matter, names = convert.matter(request.matter), convert.record_names(request.record_ids)
        reason, once = convert.reason(request.reason), self._once(request)

        def work(actor: str) -> audit_service_pb2.ReleaseHoldResponse:
            held = holding.release(self._archive, matter, names, reason, actor, once)
            return audit_service_pb2.ReleaseHoldResponse(records=len(held.records), log_index=held.log_index)

        return await self._ask(work)

    async def ApplyRetention(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.ApplyRetentionRequest, context: Context
    ) -> audit_service_pb2.ApplyRetentionResponse:
        """Erase what was kept long enough."""
        del context
        reason = "" if request.dry_run else convert.reason(request.reason)

        def work(actor: str) -> audit_service_pb2.ApplyRetentionResponse:
            due = retaining.plan(self._archive)
            done = [] if request.dry_run else retaining.apply(self._archive, reason, actor)
            return convert.retention_reply(due, done)

        return await self._ask(work)

    def _certificate(self, erased: Erased) -> audit_service_pb2.ErasureCertificate:
        """Sign the log, so that the erasure can be proved at once, also to whoever does not see all of it."""
        whole = self._whole.archive
        whole.sign()
        entry, proof = records.prove(whole, erased.log_index)
        with whole.reading() as connection:
            (event,) = records.happened(connection, before=erased.log_index + 1, most=1)
        return convert.certificate(erased, event.body, entry, proof, whole.verifier.line())
