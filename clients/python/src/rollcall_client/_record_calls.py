"""The calls of AuditService, as values."""

from __future__ import annotations

from typing import Any

from rollcall_client import _record_answers as answers
from rollcall_client import records
from rollcall_client._calls import Method
from rollcall_client._v1 import audit_service_pb2 as wire

_SERVICE = "/rollcall.v1.AuditService"
GET_RECORD: Method[records.Record] = Method(
    path=f"{_SERVICE}/GetRecord", reply=wire.GetRecordResponse, read=answers.record
)
SEARCH_RECORDS: Method[records.RecordPage] = Method(
    path=f"{_SERVICE}/SearchRecords", reply=wire.SearchRecordsResponse, read=answers.page
)
LIST_EVENTS: Method[tuple[records.Event, ...]] = Method(
    path=f"{_SERVICE}/ListEvents", reply=wire.ListEventsResponse, read=answers.events
)
GET_PROOF: Method[records.LogProof] = Method(
    path=f"{_SERVICE}/GetProof", reply=wire.GetProofResponse, read=answers.proof
)
GET_CHECKPOINT: Method[records.LogCheckpoint] = Method(
    path=f"{_SERVICE}/GetCheckpoint", reply=wire.GetCheckpointResponse, read=answers.checkpoint
)
VERIFY_LOG: Method[records.LogReport] = Method(
    path=f"{_SERVICE}/VerifyLog", reply=wire.VerifyLogResponse, read=answers.report
)
METHODS: tuple[Method[Any], ...] = (GET_RECORD, SEARCH_RECORDS, LIST_EVENTS, GET_PROOF, GET_CHECKPOINT, VERIFY_LOG)
