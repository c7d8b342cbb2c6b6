"""Reviews, between protobuf and values."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from rollcall.domain.errors import InvalidInput
from rollcall.edge.converters import enums
from rollcall.edge.converters.audit import MAX_REASON_CHARACTERS
from rollcall.edge.converters.governance import MAX_MATTER_CHARACTERS
from rollcall.v1 import audit_service_pb2

if TYPE_CHECKING:
    from rollcall.audit.agreement import Statistics
    from rollcall.audit.reviews import Disposition, Review, ReviewState, Step

MAX_ACTOR_CHARACTERS = 256


def rationale(value: str) -> str:
    """Read why a step is done; whether it must be said depends on the step. Raises InvalidInput."""
    if len(value) > MAX_REASON_CHARACTERS:
        raise InvalidInput.of("rationale", f"must have at most {MAX_REASON_CHARACTERS} characters")
    return value.strip()


def assignee(value: str, actor: str) -> str:
    """Read who is to work on a review: whoever asks, if nobody is named. Raises InvalidInput."""
    if len(value) > MAX_ACTOR_CHARACTERS or not value.isprintable():
        raise InvalidInput.of("assignee", f"must have at most {MAX_ACTOR_CHARACTERS} printable characters")
    return value or actor


def case_number(value: str) -> str:
    """Read how others number the matter. Raises InvalidInput."""
    if len(value) > MAX_MATTER_CHARACTERS or not value.isprintable():
        raise InvalidInput.of("case_number", f"must have at most {MAX_MATTER_CHARACTERS} printable characters")
    return value


def disposition(number: int) -> Disposition:
    """Read what a review comes to. Raises InvalidInput."""
    found = next((known for known, wire in enums.DISPOSITIONS.items() if wire == number), None)
    if found is None:
        raise InvalidInput.of("disposition", "must be set to one of this version's values")
    return found


def state(number: int) -> ReviewState | None:
    """Read in which state reviews are asked for, None for any. Raises InvalidInput."""
    found = next((known for known, wire in enums.REVIEW_STATES.items() if wire == number), None)
    if found is None and number:
        raise InvalidInput.of("state", f"has no value {number} in this version")
    return found


def review(found: Review, days: int) -> audit_service_pb2.Review:
    """Write a review, which may be open for so many days."""
    due_at = Timestamp()
    if found.opened_at:
        due_at.FromDatetime(datetime.fromisoformat(found.opened_at) + timedelta(days=days))
    return audit_service_pb2.Review(
        record_id=found.record_id,
        state=enums.REVIEW_STATES[found.state] if found.state else audit_service_pb2.REVIEW_STATE_UNSPECIFIED,
        case_number=found.case_number,
        assignee=found.assignee,
        disposition=enums.DISPOSITIONS[found.disposition]
        if found.disposition
        else audit_service_pb2.DISPOSITION_UNSPECIFIED,
        decided_by=found.decided_by,
        approved_by=found.approved_by,
        steps=[_step(step) for step in found.steps],
        rules=found.rules,
        due_at=due_at if found.opened_at else None,
        second_due=found.second_due,
        second_by=found.second_by,
        second_disposition=enums.DISPOSITIONS[found.second_disposition]
        if found.second_disposition
        else audit_service_pb2.DISPOSITION_UNSPECIFIED,
    )


def statistics(found: Statistics) -> audit_service_pb2.GetReviewStatisticsResponse:
    """Write how reviewers do."""
    return audit_service_pb2.GetReviewStatisticsResponse(
        states=[
            audit_service_pb2.ReviewCount(state=number, reviews=found.states.get(state, 0))
            for state, number in enums.REVIEW_STATES.items()
        ],
        overdue=found.overdue,
        second_opinions=found.pairs,
        agreed=found.agreed,
        kappa=found.kappa,
    )


def _step(step: Step) -> audit_service_pb2.ReviewStep:
    created_at = Timestamp()
    created_at.FromDatetime(datetime.fromisoformat(step.created_at))
    return audit_service_pb2.ReviewStep(
        log_index=step.log_index,
        created_at=created_at,
        actor=step.actor,
        action=enums.REVIEW_ACTIONS[step.action],
        state=enums.REVIEW_STATES[step.state],
        rationale=step.rationale,
    )
