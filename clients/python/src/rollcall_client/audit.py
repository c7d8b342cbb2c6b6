"""A client for those who ask later: auditors, reviewers, data protection officers."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import grpc

from rollcall_client import _record_calls as calls
from rollcall_client._calls import Answer, Call, Method
from rollcall_client._failures import failure_from
from rollcall_client._record_answers import export
from rollcall_client._requests import text_input
from rollcall_client._v1 import audit_service_pb2 as wire
from rollcall_client._v1 import explanation_pb2
from rollcall_client.client import Client
from rollcall_client.enums import CheckLevel, EventType, ReviewState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from google.protobuf.message import Message

    from rollcall_client.enums import Disposition, ErasureGround
    from rollcall_client.explanation import Explanation
    from rollcall_client.records import (
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
        Review,
        ReviewStatistics,
    )

_Level = explanation_pb2.CheckLevel.ValueType
_Type = wire.EventType.ValueType
_Ground = wire.ErasureGround.ValueType
_Disposition = wire.Disposition.ValueType
_State = wire.ReviewState.ValueType


class AuditClient(Client):
    """A Client that also asks of the records. Errors are those of Client; NotFound for what the log does not have.

    What opens sealed parts or changes anything takes a `reason`, which is logged (sealed) with whoever asked. What
    changes anything is done once for each `idempotency_key`: each call makes one of its own, so that its retries are
    safe; give one that outlives your process where that may die and ask again.
    """

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

    def open_review(
        self, record_id: str, rationale: str, *, case_number: str = "", idempotency_key: str = ""
    ) -> Review:
        """Open a review of a record."""
        request = wire.OpenReviewRequest(
            record_id=record_id, rationale=rationale, case_number=case_number, idempotency_key=idempotency_key
        )
        return self._asked(calls.OPEN_REVIEW, request)

    def assign_review(
        self, record_id: str, assignee: str = "", rationale: str = "", *, idempotency_key: str = ""
    ) -> Review:
        """Give a review to somebody, to oneself if nobody is named."""
        request = wire.AssignReviewRequest(
            record_id=record_id, rationale=rationale, assignee=assignee, idempotency_key=idempotency_key
        )
        return self._asked(calls.ASSIGN_REVIEW, request)

    def comment_review(self, record_id: str, rationale: str, *, idempotency_key: str = "") -> Review:
        """Add a remark."""
        return self._asked(
            calls.COMMENT_REVIEW,
            wire.CommentReviewRequest(record_id=record_id, rationale=rationale, idempotency_key=idempotency_key),
        )

    def decide_review(
        self, record_id: str, disposition: Disposition, rationale: str, *, idempotency_key: str = ""
    ) -> Review:
        """Decide a review that is assigned to whoever asks."""
        request = wire.DecideReviewRequest(
            record_id=record_id,
            rationale=rationale,
            disposition=_Disposition(disposition.value),
            idempotency_key=idempotency_key,
        )
        return self._asked(calls.DECIDE_REVIEW, request)

    def second_review(
        self, record_id: str, disposition: Disposition, rationale: str, *, idempotency_key: str = ""
    ) -> Review:
        """Give a second opinion, where one is asked for; until then nobody is told the first."""
        request = wire.SecondReviewRequest(
            record_id=record_id,
            rationale=rationale,
            disposition=_Disposition(disposition.value),
            idempotency_key=idempotency_key,
        )
        return self._asked(calls.SECOND_REVIEW, request)

    def review_statistics(self) -> ReviewStatistics:
        """How many reviews there are, how many are late, and whether two who do not know each other agree."""
        return self._asked(calls.GET_REVIEW_STATISTICS, wire.GetReviewStatisticsRequest())

    def approve_review(self, record_id: str, rationale: str = "", *, idempotency_key: str = "") -> Review:
        """Agree with a decision, and close the review: the second pair of eyes."""
        return self._asked(
            calls.APPROVE_REVIEW,
            wire.ApproveReviewRequest(record_id=record_id, rationale=rationale, idempotency_key=idempotency_key),
        )

    def return_review(self, record_id: str, rationale: str, *, idempotency_key: str = "") -> Review:
        """Do not agree with a decision: the review goes back."""
        return self._asked(
            calls.RETURN_REVIEW,
            wire.ReturnReviewRequest(record_id=record_id, rationale=rationale, idempotency_key=idempotency_key),
        )

    def reopen_review(self, record_id: str, rationale: str, *, idempotency_key: str = "") -> Review:
        """Open a review again that is closed."""
        return self._asked(
            calls.REOPEN_REVIEW,
            wire.ReopenReviewRequest(record_id=record_id, rationale=rationale, idempotency_key=idempotency_key),
        )

    def review(self, record_id: str) -> Review:
        """The review of a record, with every step."""
        return self._asked(calls.GET_REVIEW, wire.GetReviewRequest(record_id=record_id))

    def reviews(
        self, state: ReviewState = ReviewState.UNSPECIFIED, *, overdue_only: bool = False
    ) -> tuple[Review, ...]:
        """Reviews, those of the newest records first: in one state, or in any; all, or those that are late."""
        request = wire.ListReviewsRequest(state=_State(state.value), overdue_only=overdue_only)
        return self._asked(calls.LIST_REVIEWS, request)

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

    def entries(self, from_log_index: int = 0, *, follow: bool = False) -> Iterator[LogEntry]:
        """Entries of the log in their order, from an index on; `follow`: wait for further ones, until the server stops.

        Whoever keeps the last index that was handled, and goes on behind it, misses nothing and may see one twice.
        """
        request = wire.StreamRecordsRequest(from_log_index=from_log_index, follow=follow)
        return self._each(calls.STREAM_RECORDS, request, None)

    def _each(self, method: Method[Answer], request: Message, timeout: float | None) -> Iterator[Answer]:
        """Answers of a stream as they come; the call is never made again by itself."""
        call = self._send[method.path](request, timeout=timeout, metadata=self._say_who())
        try:
            for message in call:
                yield method.read(message)
        except grpc.RpcError as error:
            raise failure_from(error, request_id="") from error
        finally:
            call.cancel()

    def _asked(self, method: Method[Answer], request: Message, timeout: float | None = None) -> Answer:
        if not getattr(request, "idempotency_key", "?"):
            request.idempotency_key = uuid.uuid4().hex  # type: ignore[attr-defined] # it has the field
        return self._run(Call(method=method, request=request, request_id="", timeout=self._seconds(timeout)))
