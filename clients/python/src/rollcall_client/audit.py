"""A client for those who ask later: auditors, reviewers, data protection officers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollcall_client import _record_calls as calls
from rollcall_client._calls import Answer, Call, Method
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
        Caller,
        ErasureCertificate,
        Event,
        HoldResult,
        LogCheckpoint,
        LogProof,
        LogReport,
        Record,
        RecordPage,
        RecordSummary,
        Replay,
        RetentionResult,
        Review,
    )

_Level = explanation_pb2.CheckLevel.ValueType
_Type = wire.EventType.ValueType
_Ground = wire.ErasureGround.ValueType
_Disposition = wire.Disposition.ValueType
_State = wire.ReviewState.ValueType


class AuditClient(Client):
    """A Client that also asks of the records. Errors are those of Client; NotFound for what the log does not have.

    What opens sealed parts or changes anything takes a `reason`, which is logged (sealed) with whoever asked.
    """

    def caller(self) -> Caller:
        """Who asks, as the service knows them."""
        return self._asked(calls.GET_CALLER, wire.GetCallerRequest())

    def record(self, record_id: str, *, parts: Sequence[str] = (), reason: str = "") -> Record:
        """One record, by its id or its explanation's; sealed `parts` are opened for a reason only."""
        request = wire.GetRecordRequest(record_id=record_id, parts=parts, reason=reason)
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

    def open_review(self, record_id: str, rationale: str, *, case_number: str = "") -> Review:
        """Open a review of a record."""
        request = wire.OpenReviewRequest(record_id=record_id, rationale=rationale, case_number=case_number)
        return self._asked(calls.OPEN_REVIEW, request)

    def assign_review(self, record_id: str, assignee: str = "", rationale: str = "") -> Review:
        """Give a review to somebody, to oneself if nobody is named."""
        request = wire.AssignReviewRequest(record_id=record_id, rationale=rationale, assignee=assignee)
        return self._asked(calls.ASSIGN_REVIEW, request)

    def comment_review(self, record_id: str, rationale: str) -> Review:
        """Add a remark."""
        return self._asked(calls.COMMENT_REVIEW, wire.CommentReviewRequest(record_id=record_id, rationale=rationale))

    def decide_review(self, record_id: str, disposition: Disposition, rationale: str) -> Review:
        """Decide a review that is assigned to whoever asks."""
        request = wire.DecideReviewRequest(
            record_id=record_id, rationale=rationale, disposition=_Disposition(disposition.value)
        )
        return self._asked(calls.DECIDE_REVIEW, request)

    def approve_review(self, record_id: str, rationale: str = "") -> Review:
        """Agree with a decision, and close the review: the second pair of eyes."""
        return self._asked(calls.APPROVE_REVIEW, wire.ApproveReviewRequest(record_id=record_id, rationale=rationale))

    def return_review(self, record_id: str, rationale: str) -> Review:
        """Do not agree with a decision: the review goes back."""
        return self._asked(calls.RETURN_REVIEW, wire.ReturnReviewRequest(record_id=record_id, rationale=rationale))

    def reopen_review(self, record_id: str, rationale: str) -> Review:
        """Open a review again that is closed."""
        return self._asked(calls.REOPEN_REVIEW, wire.ReopenReviewRequest(record_id=record_id, rationale=rationale))

    def review(self, record_id: str) -> Review:
        """The review of a record, with every step."""
        return self._asked(calls.GET_REVIEW, wire.GetReviewRequest(record_id=record_id))

    def reviews(self, state: ReviewState = ReviewState.UNSPECIFIED) -> tuple[Review, ...]:
        """Reviews, those of the newest records first: in one state, or in any."""
        return self._asked(calls.LIST_REVIEWS, wire.ListReviewsRequest(state=_State(state.value)))

    def erase_record(self, record_id: str, ground: ErasureGround, reason: str) -> ErasureCertificate:
        """Erase one record for good; FailedPrecondition where a matter holds it."""
        request = wire.EraseRecordRequest(record_id=record_id, ground=_Ground(ground.value), reason=reason)
        return self._asked(calls.ERASE_RECORD, request)

    def erase_subject(self, subject_ref: str, ground: ErasureGround, reason: str) -> ErasureCertificate:
        """Erase every record about a person for good, or none; FailedPrecondition where a matter holds one."""
        request = wire.EraseSubjectRequest(subject_ref=subject_ref, ground=_Ground(ground.value), reason=reason)
        return self._asked(calls.ERASE_SUBJECT, request)

    def place_hold(self, matter: str, reason: str, *, record_ids: Sequence[str] = (), text: str = "") -> HoldResult:
        """Hold records for a matter: those named, or those that a filter asks for now."""
        request = wire.PlaceHoldRequest(matter=matter, record_ids=record_ids, filter=text, reason=reason)
        return self._asked(calls.PLACE_HOLD, request)

    def release_hold(self, matter: str, reason: str, *, record_ids: Sequence[str] = ()) -> HoldResult:
        """End a matter's hold of records, of all that it holds if none is named."""
        request = wire.ReleaseHoldRequest(matter=matter, record_ids=record_ids, reason=reason)
        return self._asked(calls.RELEASE_HOLD, request)

    def apply_retention(self, reason: str = "", *, dry_run: bool) -> RetentionResult:
        """Erase what was kept as long as the service's settings say, or say what that would be."""
        return self._asked(calls.APPLY_RETENTION, wire.ApplyRetentionRequest(dry_run=dry_run, reason=reason))

    def _asked(self, method: Method[Answer], request: Message, timeout: float | None = None) -> Answer:
        return self._run(Call(method=method, request=request, request_id="", timeout=self._seconds(timeout)))
