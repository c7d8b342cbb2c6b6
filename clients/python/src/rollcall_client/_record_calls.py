"""The calls of AuditService, as values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rollcall_client import _record_answers as answers
from rollcall_client import records
from rollcall_client._calls import Method
from rollcall_client._v1 import audit_service_pb2 as wire

if TYPE_CHECKING:
    from rollcall_client.explanation import Explanation
    from rollcall_client.trends import Trends

_SERVICE = "/rollcall.v1.AuditService"
GET_CALLER: Method[records.Caller] = Method(
    path=f"{_SERVICE}/GetCaller", reply=wire.GetCallerResponse, read=answers.caller
)
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
ERASE_RECORD: Method[records.ErasureCertificate] = Method(
    path=f"{_SERVICE}/EraseRecord", reply=wire.EraseRecordResponse, read=answers.erasure
)
ERASE_SUBJECT: Method[records.ErasureCertificate] = Method(
    path=f"{_SERVICE}/EraseSubject", reply=wire.EraseSubjectResponse, read=answers.erasure
)
PLACE_HOLD: Method[records.HoldResult] = Method(
    path=f"{_SERVICE}/PlaceHold", reply=wire.PlaceHoldResponse, read=answers.hold
)
RELEASE_HOLD: Method[records.HoldResult] = Method(
    path=f"{_SERVICE}/ReleaseHold", reply=wire.ReleaseHoldResponse, read=answers.hold
)
APPLY_RETENTION: Method[records.RetentionResult] = Method(
    path=f"{_SERVICE}/ApplyRetention", reply=wire.ApplyRetentionResponse, read=answers.retention
)
STREAM_RECORDS: Method[records.LogEntry] = Method(
    path=f"{_SERVICE}/StreamRecords", reply=wire.StreamRecordsResponse, read=answers.entry, each=True
)
EXPORT_RECORDS: Method[records.ExportHeader | bytes] = Method(
    path=f"{_SERVICE}/ExportRecords", reply=wire.ExportRecordsResponse, read=answers.export_part, each=True
)
REPLAY_RECORD: Method[records.Replay] = Method(
    path=f"{_SERVICE}/ReplayRecord", reply=wire.ReplayRecordResponse, read=answers.replay
)
EXPLAIN_RECORD: Method[Explanation] = Method(
    path=f"{_SERVICE}/ExplainRecord", reply=wire.ExplainRecordResponse, read=answers.explained
)
OPEN_REVIEW: Method[records.Review] = Method(
    path=f"{_SERVICE}/OpenReview", reply=wire.OpenReviewResponse, read=answers.review
)
ASSIGN_REVIEW: Method[records.Review] = Method(
    path=f"{_SERVICE}/AssignReview", reply=wire.AssignReviewResponse, read=answers.review
)
COMMENT_REVIEW: Method[records.Review] = Method(
    path=f"{_SERVICE}/CommentReview", reply=wire.CommentReviewResponse, read=answers.review
)
DECIDE_REVIEW: Method[records.Review] = Method(
    path=f"{_SERVICE}/DecideReview", reply=wire.DecideReviewResponse, read=answers.review
)
APPROVE_REVIEW: Method[records.Review] = Method(
    path=f"{_SERVICE}/ApproveReview", reply=wire.ApproveReviewResponse, read=answers.review
)
RETURN_REVIEW: Method[records.Review] = Method(
    path=f"{_SERVICE}/ReturnReview", reply=wire.ReturnReviewResponse, read=answers.review
)
REOPEN_REVIEW: Method[records.Review] = Method(
    path=f"{_SERVICE}/ReopenReview", reply=wire.ReopenReviewResponse, read=answers.review
)
SECOND_REVIEW: Method[records.Review] = Method(
    path=f"{_SERVICE}/SecondReview", reply=wire.SecondReviewResponse, read=answers.review
)
GET_REVIEW_STATISTICS: Method[records.ReviewStatistics] = Method(
    path=f"{_SERVICE}/GetReviewStatistics", reply=wire.GetReviewStatisticsResponse, read=answers.review_statistics
)
GET_REVIEW: Method[records.Review] = Method(
    path=f"{_SERVICE}/GetReview", reply=wire.GetReviewResponse, read=answers.review
)
LIST_REVIEWS: Method[tuple[records.Review, ...]] = Method(
    path=f"{_SERVICE}/ListReviews", reply=wire.ListReviewsResponse, read=answers.reviews
)
GET_TRENDS: Method[Trends] = Method(path=f"{_SERVICE}/GetTrends", reply=wire.GetTrendsResponse, read=answers.trends)
METHODS: tuple[Method[Any], ...] = tuple(method for method in vars().values() if isinstance(method, Method))
"""All of them."""
