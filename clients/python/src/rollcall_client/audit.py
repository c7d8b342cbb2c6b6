"""A client for those who ask later: auditors, reviewers, data protection officers."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from rollcall_client import _record_calls as calls
from rollcall_client._calls import Call
from rollcall_client._record_answers import export
from rollcall_client._requests import text_input
from rollcall_client._reviewing import Reviewing
from rollcall_client._v1 import audit_service_pb2 as wire
from rollcall_client._v1 import explanation_pb2
from rollcall_client.enums import CheckLevel, EventType, TrendPeriod

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from rollcall_client.enums import ErasureGround
    from rollcall_client.explanation import Explanation
    from rollcall_client.records import (
        Caller,
        ErasureCertificate,
        Event,
        Export,
        HoldResult,
        LogCheckpoint,
        LogEntry,
        LogProof,
        LogReport,
        Record,
        RecordPage,
        RecordSummary,
        Replay,
        RetentionResult,
    )
    from rollcall_client.trends import Trends

EXPORT_RECORDS = 1_000
"""Of one export that names its records, and of one page of a search, at most."""
_Level = explanation_pb2.CheckLevel.ValueType
_Type = wire.EventType.ValueType
_Ground = wire.ErasureGround.ValueType
_Period = wire.TrendPeriod.ValueType


class AuditClient(Reviewing):
    """A Client that also asks of the records. Errors are those of Client; NotFound for what the log does not have.

    What opens sealed parts or changes anything takes a `reason`, which is logged (sealed) with whoever asked. What
    changes anything is done once for each `idempotency_key`: each call makes one of its own, so that its retries are
    safe; give one that outlives your process where that may die and ask again.
    """

    def caller(self) -> Caller:
        """Who asks, as the service knows them."""
        return self._asked(calls.GET_CALLER, wire.GetCallerRequest())

    def record(self, record_id: str, *, parts: Sequence[str] = (), reason: str = "", masked: bool = False) -> Record:
        """One record, by its id or its explanation's; sealed `parts` are opened for a reason only.

        `masked`: what identifies people is hidden in their texts, whose offsets stay.
        """
        request = wire.GetRecordRequest(record_id=record_id, parts=parts, reason=reason, masked=masked)
        return self._asked(calls.GET_RECORD, request)

    def search(self, text: str = "", *, page_size: int = 0, page_token: str = "") -> RecordPage:
        """One page of the records that a filter asks for, newest first."""
        request = wire.SearchRecordsRequest(filter=text, page_size=page_size, page_token=page_token)
        return self._asked(calls.SEARCH_RECORDS, request)

    def records(self, text: str = "", *, page_size: int = 0) -> Iterator[RecordSummary]:
        """All records that a filter asks for, newest first, as the log was when the first page was asked for."""
        page = self.search(text, page_size=page_size)
        yield from page.records
        while page.next_page_token:
            page = self.search(text, page_size=page_size, page_token=page.next_page_token)
            yield from page.records

    def events(
        self,
        *,
        record_id: str = "",
        kind: EventType = EventType.UNSPECIFIED,
        before_log_index: int = 0,
    ) -> tuple[Event, ...]:
        """What was done, newest first, at most a thousand: with one record, of one type, before an index."""
        request = wire.ListEventsRequest(record_id=record_id, type=_Type(kind.value), before_log_index=before_log_index)
        return self._asked(calls.LIST_EVENTS, request)

    def proof(self, record_id: str = "", *, log_index: int | None = None) -> LogProof:
        """That a record's entry, or the entry with an index, is in the log."""
        request = (
            wire.GetProofRequest(record_id=record_id)
            if log_index is None
            else wire.GetProofRequest(log_index=log_index)
        )
        return self._asked(calls.GET_PROOF, request)

    def checkpoint(self, old_size: int | None = None) -> LogCheckpoint:
        """The newest signed state of the log, and that one of `old_size` entries is its beginning."""
        return self._asked(calls.GET_CHECKPOINT, wire.GetCheckpointRequest(old_size=old_size))

    def verify_log(self, checkpoints: Sequence[str] = (), *, timeout: float | None = None) -> LogReport:
        """Whether every column of the log's database is what was logged; `checkpoints` were kept elsewhere."""
        return self._asked(calls.VERIFY_LOG, wire.VerifyLogRequest(checkpoints=checkpoints), timeout)

    def trends(
        self,
        model: str,
        *,
        since: date | None = None,
        until: date | None = None,
        period: TrendPeriod = TrendPeriod.UNSPECIFIED,
        model_digest: str = "",
    ) -> Trends:
        """How the answers of a model went, from the period of one day to that of another, in UTC.

        Today is the last one, and 30 days are asked about, unless told otherwise; 800 at most. `model_digest`: of these
        weights only.
        """
        request = wire.GetTrendsRequest(
            model=model,
            model_digest=model_digest,
            since=_midnight(since),
            until=_midnight(until),
            period=_Period(period.value),
        )
        return self._asked(calls.GET_TRENDS, request)

    def replay(
        self,
        record_id: str,
        reason: str,
        *,
        text: str | None = None,
        text_pair: str | None = None,
        timeout: float | None = None,
    ) -> Replay:
        """Work a record out again and compare; `text` is its input, where the record does not hold it."""
        given = None if text is None else text_input(text, text_pair)
        request = wire.ReplayRecordRequest(record_id=record_id, text=given, reason=reason)
        return self._asked(calls.REPLAY_RECORD, request, timeout)

    def explain_record(
        self,
        record_id: str,
        reason: str,
        *,
        text: str | None = None,
        text_pair: str | None = None,
        level: CheckLevel = CheckLevel.UNSPECIFIED,
        timeout: float | None = None,
    ) -> Explanation:
        """Explain a decision that was not explained, on the weights that decided; the answer is marked as such."""
        given = None if text is None else text_input(text, text_pair)
        request = wire.ExplainRecordRequest(
            record_id=record_id, text=given, reason=reason, check_level=_Level(level.value)
        )
        return self._asked(calls.EXPLAIN_RECORD, request, timeout)

    def erase_record(
        self, record_id: str, ground: ErasureGround, reason: str, *, idempotency_key: str = ""
    ) -> ErasureCertificate:
        """Erase one record for good; FailedPrecondition where a matter holds it."""
        request = wire.EraseRecordRequest(
            record_id=record_id, ground=_Ground(ground.value), reason=reason, idempotency_key=idempotency_key
        )
        return self._asked(calls.ERASE_RECORD, request)

    def erase_subject(
        self,
        subject_ref: str,
        ground: ErasureGround,
        reason: str,
        *,
        tenant: str | None = None,
        idempotency_key: str = "",
    ) -> ErasureCertificate:
        """Erase every record about a person for good, or none; FailedPrecondition where a matter holds one.

        The same name is another person's with another `tenant`: say whose, where several have records about it.
        """
        request = wire.EraseSubjectRequest(
            subject_ref=subject_ref,
            ground=_Ground(ground.value),
            reason=reason,
            tenant=tenant,
            idempotency_key=idempotency_key,
        )
        return self._asked(calls.ERASE_SUBJECT, request)

    def place_hold(
        self, matter: str, reason: str, *, record_ids: Sequence[str] = (), text: str = "", idempotency_key: str = ""
    ) -> HoldResult:
        """Hold records for a matter: those named, or those that a filter asks for now."""
        request = wire.PlaceHoldRequest(
            matter=matter, record_ids=record_ids, filter=text, reason=reason, idempotency_key=idempotency_key
        )
        return self._asked(calls.PLACE_HOLD, request)

    def release_hold(
        self, matter: str, reason: str, *, record_ids: Sequence[str] = (), idempotency_key: str = ""
    ) -> HoldResult:
        """End a matter's hold of records, of all that it holds if none is named."""
        request = wire.ReleaseHoldRequest(
            matter=matter, record_ids=record_ids, reason=reason, idempotency_key=idempotency_key
        )
        return self._asked(calls.RELEASE_HOLD, request)

    def apply_retention(self, reason: str = "", *, dry_run: bool) -> RetentionResult:
        """Erase what was kept as long as the service's settings say, or say what that would be."""
        return self._asked(calls.APPLY_RETENTION, wire.ApplyRetentionRequest(dry_run=dry_run, reason=reason))

    def export(
        self,
        reason: str,
        *,
        record_ids: Sequence[str] = (),
        text: str = "",
        texts: bool = False,
        timeout: float | None = None,
    ) -> Export:
        """Records with their proofs, pages, a table and the verifier: those named, or those that a filter asks for.

        `texts`: pages show the words of inputs, masked.
        """
        request = wire.ExportRecordsRequest(record_ids=record_ids, filter=text, reason=reason, texts=texts)
        asked = Call(method=calls.EXPORT_RECORDS, request=request, request_id="", timeout=self._seconds(timeout))
        try:
            return export(self._each(calls.EXPORT_RECORDS, request, asked.timeout))
        except ValueError as error:
            raise asked.contradiction(error) from error

    def exports(
        self,
        reason: str,
        text: str = "",
        *,
        size: int = EXPORT_RECORDS,
        texts: bool = False,
        timeout: float | None = None,
    ) -> Iterator[Export]:
        """All records that a filter asks for, however many, newest first: as many exports as it takes, of `size` each.

        As the log was when the first was asked for: no record is in two, and none is left out. Each export verifies by
        itself, and leaves an entry of its own.
        """
        token = ""
        while True:
            page = self.search(text, page_size=size, page_token=token)
            if page.records:
                ids = [record.record_id for record in page.records]
                yield self.export(reason, record_ids=ids, texts=texts, timeout=timeout)
            token = page.next_page_token
            if not token:
                return

    def entries(self, from_log_index: int = 0, *, follow: bool = False) -> Iterator[LogEntry]:
        """Entries of the log in their order, from an index on; `follow`: wait for further ones, until the server stops.

        Whoever keeps the last index that was handled, and goes on behind it, misses nothing and may see one twice.
        """
        request = wire.StreamRecordsRequest(from_log_index=from_log_index, follow=follow)
        return self._each(calls.STREAM_RECORDS, request, None)


def _midnight(day: date | None) -> Timestamp | None:
    """Say on the wire on which day, if on any."""
    if day is None:
        return None
    found = Timestamp()
    found.FromDatetime(datetime.combine(day, time(), UTC))
    return found
