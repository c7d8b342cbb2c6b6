"""Reviews of records, and what every call of AuditService has in common."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import grpc

from rollcall_client import _record_calls as calls
from rollcall_client._calls import Answer, Call, Method
from rollcall_client._failures import failure_from
from rollcall_client._v1 import audit_service_pb2 as wire
from rollcall_client.client import Client
from rollcall_client.enums import ReviewState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

    from rollcall_client.enums import Disposition
    from rollcall_client.records import Review, ReviewStatistics

_Disposition = wire.Disposition.ValueType
_State = wire.ReviewState.ValueType


class Reviewing(Client):
    """A Client that also asks of reviews."""

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
        self, state: ReviewState = ReviewState.UNSPECIFIED, *, overdue_only: bool = False, assignee: str = ""
    ) -> tuple[Review, ...]:
        """Reviews, those of the newest records first, at most 200: in one state, or in any.

        All, those that are late, those that are assigned to somebody, or what is both.
        """
        request = wire.ListReviewsRequest(state=_State(state.value), overdue_only=overdue_only, assignee=assignee)
        return self._asked(calls.LIST_REVIEWS, request)

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
