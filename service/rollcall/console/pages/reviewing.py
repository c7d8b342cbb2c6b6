"""Reviews: the queue, and the steps that somebody may take. What may follow what is the service's to say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.responses import Response

from rollcall.console.visiting import Visit, address, no_such, wrong
from rollcall_client import (
    AuditClient,
    Caller,
    Disposition,
    RecordSummary,
    Review,
    ReviewAction,
    ReviewState,
)

MOST = 200
"""Of a list, as the service has it."""
NAMED = 40
"""Records that a filter names, at most: 2,000 characters."""
STATES = (ReviewState.OPEN, ReviewState.ASSIGNED, ReviewState.DECIDED, ReviewState.CLOSED)
DISPOSITIONS = tuple(each for each in Disposition if each.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doable:
    """A step: in which states (None: not open yet) and by which roles, what its button says, and how it is taken."""

    action: ReviewAction
    states: frozenset[ReviewState | None]
    roles: frozenset[str]
    button: str
    take: Callable[[AuditClient, str, Visit], object]
    why: bool = True
    """Whether it needs a rationale."""


def _disposition(visit: Visit) -> Disposition:
    try:
        return Disposition[visit.given("disposition")]
    except KeyError:
        raise wrong("disposition", "choose one") from None


_STATE = ReviewState
STEPS = (
    Doable(
        action=ReviewAction.OPEN,
        states=frozenset({None}),
        roles=frozenset({"auditor", "reviewer"}),
        button="Open a review",
        take=lambda client, name, visit: client.open_review(
            name, visit.given("rationale"), case_number=visit.given("case_number")
        ),
    ),
    Doable(
        action=ReviewAction.ASSIGN,
        states=frozenset({_STATE.OPEN, _STATE.ASSIGNED}),
        roles=frozenset({"reviewer"}),
        button="Assign",
        take=lambda client, name, visit: client.assign_review(name, visit.given("assignee"), visit.given("rationale")),
        why=False,
    ),
    Doable(
        action=ReviewAction.DECIDE,
        states=frozenset({_STATE.ASSIGNED}),
        roles=frozenset({"reviewer"}),
        button="Decide",
        take=lambda client, name, visit: client.decide_review(name, _disposition(visit), visit.given("rationale")),
    ),
    Doable(
        action=ReviewAction.SECOND,
        states=frozenset({_STATE.DECIDED}),
        roles=frozenset({"reviewer"}),
        button="Give a second opinion",
        take=lambda client, name, visit: client.second_review(name, _disposition(visit), visit.given("rationale")),
    ),
    Doable(
        action=ReviewAction.APPROVE,
        states=frozenset({_STATE.DECIDED}),
        roles=frozenset({"approver"}),
        button="Approve, and close",
        take=lambda client, name, visit: client.approve_review(name, visit.given("rationale")),
        why=False,
    ),
    Doable(
        action=ReviewAction.RETURN,
        states=frozenset({_STATE.DECIDED}),
        roles=frozenset({"approver"}),
        button="Send back",
        take=lambda client, name, visit: client.return_review(name, visit.given("rationale")),
    ),
    Doable(
        action=ReviewAction.REOPEN,
        states=frozenset({_STATE.CLOSED}),
        roles=frozenset({"approver"}),
        button="Open again",
        take=lambda client, name, visit: client.reopen_review(name, visit.given("rationale")),
    ),
    Doable(
        action=ReviewAction.COMMENT,
        states=frozenset({_STATE.OPEN, _STATE.ASSIGNED, _STATE.DECIDED}),
        roles=frozenset({"reviewer", "approver"}),
        button="Comment",
        take=lambda client, name, visit: client.comment_review(name, visit.given("rationale")),
    ),
)
"""The forms that are offered. The service decides again, whatever is sent."""


def queue(visit: Visit) -> Response:
    """Show the reviews in one state, or in any, with what their records say."""
    state = _state(visit.asked("state"))
    late = visit.asked("whose") == "late"
    mine = visit.caller.name if visit.asked("whose") == "mine" else ""
    reviews = visit.client.reviews(state, overdue_only=late, assignee=mine)
    summaries = _summaries(visit.client, [review.record_id for review in reviews])
    return visit.show(
        "queue.html",
        reviews=[(review, summaries[review.record_id]) for review in reviews],
        most=MOST,
        state=state,
        states=STATES,
        whose=visit.asked("whose"),
        statistics=visit.client.review_statistics(),
        now=datetime.now(UTC),
        address=address,
    )


def take(visit: Visit, name: str, action: str) -> None:
    """Take a step of a record's review. Raises what the client does."""
    doable = next((each for each in STEPS if each.action.name == action.upper()), None)
    if doable is None:
        raise no_such("step")
    doable.take(visit.client, name, visit)


def steps_for(caller: Caller, review: Review | None) -> tuple[Doable, ...]:
    """Steps that a record's review allows next to whoever has these roles."""
    state = review.state if review else None
    return tuple(
        each
        for each in STEPS
        if state in each.states and each.roles & caller.roles and (review is None or _is_theirs(each, review, caller))
    )


def _is_theirs(step: Doable, review: Review, caller: Caller) -> bool:
    """Whether a step that the state allows is this person's: decisions, second opinions, and what waits for them."""
    match step.action:
        case ReviewAction.DECIDE:
            return review.assignee == caller.name
        case ReviewAction.SECOND:
            return review.second_due and review.decided_by != caller.name
        case ReviewAction.APPROVE | ReviewAction.RETURN:
            return not review.second_due
    return True


def _summaries(client: AuditClient, record_ids: Sequence[str]) -> dict[str, RecordSummary]:
    """Ask for what records say, as many at a time as a filter may name."""
    found: dict[str, RecordSummary] = {}
    for start in range(0, len(record_ids), NAMED):
        named = " OR ".join(f"record = {record_id}" for record_id in record_ids[start : start + NAMED])
        found |= {each.record_id: each for each in client.search(named, page_size=NAMED).records}
    return found


def _state(name: str) -> ReviewState:
    return next((state for state in STATES if state.name.lower() == name), ReviewState.UNSPECIFIED)
