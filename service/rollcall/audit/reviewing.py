"""Reviews: somebody looks into a record, decides, and somebody else agrees. Every step is an entry of the log.

There is no table of reviews: a review is what its events say. What may follow what is TRANSITIONS, and nothing else is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from sqlalchemy import Connection, select

from rollcall.audit.archive import Archive
from rollcall.audit.events import EventKind, Note, open_note
from rollcall.audit.schema import EVENT, LEAF, NOTE, RECORD
from rollcall.audit.sealing import Sealed, SealError
from rollcall.audit.searching import review_state
from rollcall.domain.errors import Blocked, InvalidInput, RecordNotFound

MOST_REVIEWS = 200
"""Of one list."""


class ReviewState(Enum):
    """How far a review is."""

    OPEN = "open"
    """Nobody has taken it."""
    ASSIGNED = "assigned"
    """Somebody works on it."""
    DECIDED = "decided"
    """Somebody has decided, and nobody has agreed yet."""
    CLOSED = "closed"
    """It is decided, and somebody else agrees."""


class ReviewAction(Enum):
    """What somebody does to a review."""

    OPEN = "open"
    ASSIGN = "assign"
    COMMENT = "comment"
    DECIDE = "decide"
    APPROVE = "approve"
    RETURN = "return"
    """The second pair of eyes does not agree."""
    REOPEN = "reopen"


class Disposition(Enum):
    """What a review came to."""

    UPHELD = "upheld"
    """The decision stands."""
    OVERTURNED = "overturned"
    """The decision does not stand."""
    EXPLANATION_UNRELIABLE = "unreliable"
    """The explanation must not be used."""
    MODEL_DEFECT = "model_defect"
    DATA_DEFECT = "data_defect"
    NO_ACTION = "no_action"


_STATE, _DO = ReviewState, ReviewAction
TRANSITIONS: dict[tuple[ReviewState | None, ReviewAction], ReviewState] = {
    (None, _DO.OPEN): _STATE.OPEN,
    (_STATE.OPEN, _DO.ASSIGN): _STATE.ASSIGNED,
    (_STATE.OPEN, _DO.COMMENT): _STATE.OPEN,
    (_STATE.ASSIGNED, _DO.ASSIGN): _STATE.ASSIGNED,
    (_STATE.ASSIGNED, _DO.COMMENT): _STATE.ASSIGNED,
    (_STATE.ASSIGNED, _DO.DECIDE): _STATE.DECIDED,
    (_STATE.DECIDED, _DO.COMMENT): _STATE.DECIDED,
    (_STATE.DECIDED, _DO.APPROVE): _STATE.CLOSED,
    (_STATE.DECIDED, _DO.RETURN): _STATE.ASSIGNED,
    (_STATE.CLOSED, _DO.REOPEN): _STATE.OPEN,
}
UNEXPLAINED = frozenset({_DO.ASSIGN, _DO.APPROVE})
"""Steps that need no words; all others do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: who did what when, where the review was afterwards, and why, None where that is erased."""

    log_index: int
    created_at: str
    actor: str
    action: ReviewAction
    state: ReviewState
    rationale: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A review as its steps left it. `decided_by` and `disposition` are of the decision that stands, if any."""

    record_id: str
    state: ReviewState | None = None
    case_number: str = ""
    assignee: str = ""
    disposition: Disposition | None = None
    decided_by: str = ""
    approved_by: str = ""
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """What somebody wants to do: `assignee` for ASSIGN, `disposition` for DECIDE, `case_number` for OPEN."""

    action: ReviewAction
    actor: str
    rationale: str = ""
    assignee: str = ""
    disposition: Disposition | None = None
    case_number: str = ""


def act(archive: Archive, name: str, doing: Doing, *, four_eyes: bool) -> Review:
    """Do a step. With `four_eyes` nobody approves what they decided themselves.

    Raises RecordNotFound, InvalidInput without a rationale, Blocked where the table, the assignment or the second pair
    of eyes does not allow it, LogUnavailable.
    """
    if not doing.rationale and doing.action not in UNEXPLAINED:
        raise InvalidInput.of("rationale", "required: it is kept, sealed, with who did this")
    with archive.acting() as acting:
        connection = acting.connection
        record_id = archive.find(connection, name)
        review = read_review(archive, connection, record_id)
        state = TRANSITIONS.get((review.state, doing.action))
        if state is None:
            now = review.state.value if review.state else "not open"
            raise Blocked("state", f"the review is {now}: {_possible(review.state)}")
        _check_who(review, doing, four_eyes=four_eyes)
        details = {
            "action": doing.action.value,
            "assignee": doing.assignee or None,
            "disposition": doing.disposition.value if doing.disposition else None,
            "case_number": doing.case_number or None,
        }
        acting.log(
            archive.event(
                connection,
                EventKind.REVIEW,
                doing.actor,
                record_id=record_id,
                code=state.value,
                details=details,
                note=doing.rationale,
            )
        )
    with archive.reading() as connection:
        return read_review(archive, connection, record_id)


def find_review(archive: Archive, name: str) -> Review:
    """Read the review of a record; raises RecordNotFound where there is none."""
    with archive.reading() as connection:
        review = read_review(archive, connection, archive.find(connection, name))
    if review.state is None:
        message = "nobody has opened a review of this record"
        raise RecordNotFound(message)
    return review


def list_reviews(archive: Archive, state: ReviewState | None) -> list[Review]:
    """Reviews, those of the newest records first, in one state or in any."""
    reached = review_state()
    with archive.reading() as connection:
        rows = connection.execute(
            select(RECORD.c.record_id)
            .join(LEAF, LEAF.c.record_id == RECORD.c.record_id)
            .where(reached.is_not(None) if state is None else reached == state.value)
            .order_by(LEAF.c.leaf_index.desc())
            .limit(MOST_REVIEWS)
        ).all()
        return [read_review(archive, connection, str(record_id)) for (record_id,) in rows]


def read_review(archive: Archive, connection: Connection, record_id: str) -> Review:
    """Put a review together from its events."""
    rows = connection.execute(
        select(EVENT.c.leaf_index, EVENT.c.event_id, EVENT.c.body, NOTE)
        .outerjoin(NOTE, NOTE.c.event_id == EVENT.c.event_id)
        .where(EVENT.c.record_id == record_id, EVENT.c.type == EventKind.REVIEW.value)
        .order_by(EVENT.c.leaf_index)
    ).mappings()
    return _folded(archive, connection, record_id, rows)


def _folded(archive: Archive, connection: Connection, record_id: str, rows: Iterable[Any]) -> Review:
    review = Review(record_id=record_id)
    for row in rows:
        body = json.loads(row[EVENT.c.body])
        details, action = body["details"], ReviewAction(body["details"]["action"])
        state = ReviewState(body["code"])
        step = Step(
            log_index=row[EVENT.c.leaf_index],
            created_at=body["created_at"],
            actor=body["actor"],
            action=action,
            state=state,
            rationale=_rationale(archive, connection, record_id, body, row),
        )
        review = replace(review, state=state, steps=(*review.steps, step))
        match action:
            case ReviewAction.OPEN:
                review = replace(review, case_number=details["case_number"] or "")
            case ReviewAction.ASSIGN:
                review = replace(review, assignee=details["assignee"])
            case ReviewAction.DECIDE:
                decided = Disposition(details["disposition"])
                review = replace(review, disposition=decided, decided_by=body["actor"])
            case ReviewAction.APPROVE:
                review = replace(review, approved_by=body["actor"])
            case ReviewAction.RETURN | ReviewAction.REOPEN:
                review = replace(review, disposition=None, decided_by="", approved_by="")
            case ReviewAction.COMMENT:
                pass
    return review


def _rationale(
    archive: Archive,
    connection: Connection,
    record_id: str,
    body: dict[str, Any],
    row: Any,  # noqa: ANN401 - a row
) -> str | None:
    if body["note"] is None:
        return ""
    if row[NOTE.c.wrapped] is None:
        return None
    note = Note(
        key_id=row[NOTE.c.key_id],
        wrapped=bytes(row[NOTE.c.wrapped]),
        sealed=Sealed(kind="note", nonce=bytes(row[NOTE.c.nonce]), ciphertext=bytes(row[NOTE.c.ciphertext])),
    )
    operator = archive.operator
    key = operator if note.key_id == operator.id else archive.key_of(connection, record_id)
    try:
        return open_note(body["event_id"], note, key)
    except SealError:
        return None


def _check_who(review: Review, doing: Doing, *, four_eyes: bool) -> None:
    if doing.action is ReviewAction.DECIDE and doing.actor != review.assignee:
        raise Blocked("assignee", f"the review is assigned to {review.assignee}, who decides it")
    if doing.action is ReviewAction.APPROVE and four_eyes and doing.actor == review.decided_by:
        message = "who has decided a review cannot approve it: it takes a second pair of eyes"
        raise Blocked("four_eyes", message)


def _possible(state: ReviewState | None) -> str:
    actions = [action.value for (before, action) in TRANSITIONS if before is state]
    return f"what can be done is to {' or '.join(actions)} it"
