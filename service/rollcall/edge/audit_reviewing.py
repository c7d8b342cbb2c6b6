"""The methods of AuditService by which records are reviewed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rollcall.audit.reviewing import Doing, ReviewAction, act, find_review, list_reviews
from rollcall.edge.audit_desk import Desk
from rollcall.edge.converters import reviews as convert
from rollcall.edge.converters.audit import record_name
from rollcall.v1 import audit_service_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollcall.edge.audit_desk import Context


class Reviewing(Desk):
    """What reviewers and approvers do."""

    async def OpenReview(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.OpenReviewRequest, context: Context
    ) -> audit_service_pb2.OpenReviewResponse:
        """Opens a review of a record."""
        del context

        def doing(actor: str) -> Doing:
            return Doing(
                action=ReviewAction.OPEN,
                actor=actor,
                rationale=request.rationale,
                case_number=convert.case_number(request.case_number),
            )

        review = await self._step(request.record_id, doing)
        return audit_service_pb2.OpenReviewResponse(review=review)

    async def AssignReview(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.AssignReviewRequest, context: Context
    ) -> audit_service_pb2.AssignReviewResponse:
        """Gives a review to somebody, or to somebody else."""
        del context

        def doing(actor: str) -> Doing:
            return Doing(
                action=ReviewAction.ASSIGN,
                actor=actor,
                rationale=request.rationale,
                assignee=convert.assignee(request.assignee, actor),
            )

        review = await self._step(request.record_id, doing)
        return audit_service_pb2.AssignReviewResponse(review=review)

    async def CommentReview(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.CommentReviewRequest, context: Context
    ) -> audit_service_pb2.CommentReviewResponse:
        """Adds a remark."""
        del context

        def doing(actor: str) -> Doing:
            return Doing(action=ReviewAction.COMMENT, actor=actor, rationale=request.rationale)

        review = await self._step(request.record_id, doing)
        return audit_service_pb2.CommentReviewResponse(review=review)

    async def DecideReview(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.DecideReviewRequest, context: Context
    ) -> audit_service_pb2.DecideReviewResponse:
        """Decides a review."""
        del context

        def doing(actor: str) -> Doing:
            return Doing(
                action=ReviewAction.DECIDE,
                actor=actor,
                rationale=request.rationale,
                disposition=convert.disposition(request.disposition),
            )

        review = await self._step(request.record_id, doing)
        return audit_service_pb2.DecideReviewResponse(review=review)

    async def ApproveReview(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.ApproveReviewRequest, context: Context
    ) -> audit_service_pb2.ApproveReviewResponse:
        """Agrees with the decision, and closes the review."""
        del context

        def doing(actor: str) -> Doing:
            return Doing(action=ReviewAction.APPROVE, actor=actor, rationale=request.rationale)

        review = await self._step(request.record_id, doing)
        return audit_service_pb2.ApproveReviewResponse(review=review)

    async def ReturnReview(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.ReturnReviewRequest, context: Context
    ) -> audit_service_pb2.ReturnReviewResponse:
        """Does not agree with the decision: the review goes back."""
        del context

        def doing(actor: str) -> Doing:
            return Doing(action=ReviewAction.RETURN, actor=actor, rationale=request.rationale)

        review = await self._step(request.record_id, doing)
        return audit_service_pb2.ReturnReviewResponse(review=review)

    async def ReopenReview(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.ReopenReviewRequest, context: Context
    ) -> audit_service_pb2.ReopenReviewResponse:
        """Opens a review again that is closed."""
        del context

        def doing(actor: str) -> Doing:
            return Doing(action=ReviewAction.REOPEN, actor=actor, rationale=request.rationale)

        review = await self._step(request.record_id, doing)
        return audit_service_pb2.ReopenReviewResponse(review=review)

    async def GetReview(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.GetReviewRequest, context: Context
    ) -> audit_service_pb2.GetReviewResponse:
        """Read a review."""
        del context
        name = record_name(request.record_id)

        def work(_: str) -> audit_service_pb2.GetReviewResponse:
            return audit_service_pb2.GetReviewResponse(review=convert.review(find_review(self._archive, name)))

        return await self._ask(work)

    async def ListReviews(  # noqa: N802 - the proto's name
        self, request: audit_service_pb2.ListReviewsRequest, context: Context
    ) -> audit_service_pb2.ListReviewsResponse:
        """List reviews."""
        del context
        state = convert.state(request.state)

        def work(_: str) -> audit_service_pb2.ListReviewsResponse:
            found = list_reviews(self._archive, state)
            return audit_service_pb2.ListReviewsResponse(reviews=[convert.review(each) for each in found])

        return await self._ask(work)

    async def _step(self, record_id: str, doing: Callable[[str], Doing]) -> audit_service_pb2.Review:
        """Do a step of a review."""
        name = record_name(record_id)

        def work(actor: str) -> audit_service_pb2.Review:
            wanted = doing(actor)
            wanted = replace(wanted, rationale=convert.rationale(wanted.rationale))
            return convert.review(act(self._archive, name, wanted, four_eyes=self._archive.four_eyes))

        return await self._ask(work)
