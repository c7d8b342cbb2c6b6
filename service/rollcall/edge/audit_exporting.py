"""The method of AuditService that takes records away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollcall.audit.exporting import Exported, export_records
from rollcall.edge.audit_desk import MOST_EXPORTS, Desk
from rollcall.edge.converters import governance as convert
from rollcall.v1 import audit_service_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rollcall.edge.audit_desk import Context

CHUNK_BYTES = 512 * 1024


class Exporting(Desk):
    """What auditors take away."""

    async def ExportRecords(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.ExportRecordsRequest, context: Context
    ) -> AsyncIterator[audit_service_pb2.ExportRecordsResponse]:
        """Export records."""
        del context
        names, reason = convert.record_names(request.record_ids), convert.reason(request.reason)

        def work(actor: str) -> tuple[Exported, bytes]:
            exported = export_records(self._archive, names, request.filter, reason, actor, texts=request.texts)
            return exported, exported.bundle.zipped()

        with self._exports.place(of=MOST_EXPORTS):
            exported, data = await self._ask_at_length(work)
            yield audit_service_pb2.ExportRecordsResponse(header=convert.export_header(exported, len(data)))
            for start in range(0, len(data), CHUNK_BYTES):
                yield audit_service_pb2.ExportRecordsResponse(chunk=data[start : start + CHUNK_BYTES])
