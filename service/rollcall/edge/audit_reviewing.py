"""The methods of AuditService by which records are reviewed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from rollcall.audit.agreement import statistics
from rollcall.audit.reviewing import Doing, act, find_review, list_reviews
from rollcall.audit.reviews import ReviewAction
from rollcall.edge.audit_desk import Desk
from rollcall.edge.converters import reviews as convert
from rollcall.edge.converters.audit import record_name
from rollcall.v1 import audit_service_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from rollcall.audit.reviews import Review
    from rollcall.edge.audit_desk import Context


class Step(Protocol):
    """What every step of a review is asked with."""

    @property
    def record_id(self) -> str: ...  # noqa: D102 - as in the proto
    @property
    def rationale(self) -> str: ...  # noqa: D102 - as in the proto


class Reviewing(Desk):
    """What reviewers and approvers do."""

    async def OpenReview(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.OpenReviewRequest, context: Context
    ) -> audit_service_pb2.OpenReviewResponse:
        """Opens a review of a record."""
        del context
        review = await self._step(
            request, ReviewAction.OPEN, lambda _: {"case_number": convert.case_number(request.case_number)}
        )
        return audit_service_pb2.OpenReviewResponse(review=review)

    async def AssignReview(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.AssignReviewRequest, context: Context
    ) -> audit_service_pb2.AssignReviewResponse:
        """Gives a review to somebody, or to somebody else."""
        del context
        review = await self._step(
            request, ReviewAction.ASSIGN, lambda actor: {"assignee": convert.assignee(request.assignee, actor)}
        )
        return audit_service_pb2.AssignReviewResponse(review=review)

    async def CommentReview(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.CommentReviewRequest, context: Context
    ) -> audit_service_pb2.CommentReviewResponse:
        """Adds a remark."""
        del context
        review = await self._step(request, ReviewAction.COMMENT)
        return audit_service_pb2.CommentReviewResponse(review=review)

    async def DecideReview(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.DecideReviewRequest, context: Context
    ) -> audit_service_pb2.DecideReviewResponse:
        """Decides a review."""
        del context
        review = await self._step(
            request, ReviewAction.DECIDE, lambda _: {"disposition": convert.disposition(request.disposition)}
        )
        return audit_service_pb2.DecideReviewResponse(review=review)

    async def SecondReview(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.SecondReviewRequest, context: Context
    ) -> audit_service_pb2.SecondReviewResponse:
        """Gives a second opinion."""
        del context
        review = await self._step(
            request, ReviewAction.SECOND, lambda _: {"disposition": convert.disposition(request.disposition)}
        )
        return audit_service_pb2.SecondReviewResponse(review=review)

    async def ApproveReview(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.ApproveReviewRequest, context: Context
    ) -> audit_service_pb2.ApproveReviewResponse:
        """Agrees with the decision, and closes the review."""
        del context
        review = await self._step(request, ReviewAction.APPROVE)
        return audit_service_pb2.ApproveReviewResponse(review=review)

    async def ReturnReview(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.ReturnReviewRequest, context: Context
    ) -> audit_service_pb2.ReturnReviewResponse:
        """Does not agree with the decision: the review goes back."""
        del context
        review = await self._step(request, ReviewAction.RETURN)
        return audit_service_pb2.ReturnReviewResponse(review=review)

    async def ReopenReview(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.ReopenReviewRequest, context: Context
    ) -> audit_service_pb2.ReopenReviewResponse:
        """Opens a review again that is closed."""
        del context
        review = await self._step(request, ReviewAction.REOPEN)
        return audit_service_pb2.ReopenReviewResponse(review=review)

    async def GetReview(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.GetReviewRequest, context: Context
    ) -> audit_service_pb2.GetReviewResponse:
        """Read a review."""
        del context
        name = record_name(request.record_id)

        def work(_: str) -> audit_service_pb2.GetReviewResponse:
            return audit_service_pb2.GetReviewResponse(review=self._written(find_review(self._archive, name)))

        return await self._ask(work)

    async def ListReviews(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.ListReviewsRequest, context: Context
    ) -> audit_service_pb2.ListReviewsResponse:
        """List reviews."""
        del context
        state = convert.state(request.state)

        def work(_: str) -> audit_service_pb2.ListReviewsResponse:
            found = list_reviews(self._archive, state, late=request.overdue_only, assignee=request.assignee)
            return audit_service_pb2.ListReviewsResponse(reviews=[self._written(each) for each in found])

        return await self._ask(work)

    async def GetReviewStatistics(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.GetReviewStatisticsRequest, context: Context
    ) -> audit_service_pb2.GetReviewStatisticsResponse:
        """Say how reviewers do."""
        del request, context
        return await self._ask(lambda _: convert.statistics(statistics(self._archive)))

    def _written(self, review: Review) -> audit_service_pb2.Review:
        return convert.review(review, self._archive.review_days)

    async def _step(
        self, request: Step, action: ReviewAction, further: Callable[[str], dict[str, Any]] = lambda _: {}
    ) -> audit_service_pb2.Review:
        """Do a step of a review; `further` reads what it takes beside a rationale, for an actor."""
        name, key = record_name(request.record_id), self._once(cast("Message", request))

        def work(actor: str) -> audit_service_pb2.Review:
            told = further(actor)
            doing = Doing(action=action, actor=actor, rationale=convert.rationale(request.rationale), **told)
            return self._written(act(self._archive, name, doing, four_eyes=self._archive.four_eyes, once=key))

        return await self._ask(work)
