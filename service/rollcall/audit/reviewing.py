"""Reviews: somebody looks into a record, decides, and somebody else agrees. Every step is an entry of the log.

There is no table of reviews: a review is what its events say (`reviews`). Where a second opinion is asked for, the
first one is sealed in its note until the second is there, so that nobody who gives it has read the first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, exists, select

from rollcall.audit.archive import Archive
from rollcall.audit.canonical import timestamp
from rollcall.audit.events import Event, EventKind, Note, Once, open_note
from rollcall.audit.reviews import (
    TRANSITIONS,
    UNEXPLAINED,
    Disposition,
    Opinion,
    Review,
    ReviewAction,
    ReviewState,
    Step,
    after,
    possible,
)
from rollcall.audit.schema import EVENT, LEAF, NOTE, RECORD
from rollcall.audit.sealing import Sealed, SealError
from rollcall.audit.searching import review_state, reviewed
from rollcall.domain.errors import Blocked, InvalidInput, RecordNotFound

MOST_REVIEWS = 200
"""Of one list."""
SECOND = ReviewAction.SECOND.value
"""What the events of second opinions are about, so that they are found."""
_DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """What somebody wants to do: `assignee` for ASSIGN, `disposition` to decide, `case_number` for OPEN."""

    action: ReviewAction
    actor: str
    rationale: str = ""
    assignee: str = ""
    disposition: Disposition | None = None
    case_number: str = ""


def act(archive: Archive, name: str, doing: Doing, *, four_eyes: bool, once: Once | None = None) -> Review:
    """Do a step. With `four_eyes` nobody approves what they decided themselves.

    Raises RecordNotFound, InvalidInput without a rationale, Blocked where the table, the assignment or the second pair
    of eyes does not allow it, LogUnavailable.
    """
    if not doing.rationale and doing.action not in UNEXPLAINED:
        raise InvalidInput.of("rationale", "required: it is kept, sealed, with who did this")
    with archive.acting(once) as acting:
        record_id = archive.find(acting.connection, name)
        if acting.before is None:
            review = read_review(archive, acting.connection, record_id)
            acting.log(_step(archive, acting.connection, review, doing, four_eyes=four_eyes))
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


def list_reviews(
    archive: Archive, state: ReviewState | None, *, late: bool = False, assignee: str = ""
) -> list[Review]:
    """Reviews, those of the newest records first, in one state or in any, at most MOST_REVIEWS.

    `late`: those that are overdue only; `assignee`: those of this person only.
    """
    reached = review_state()
    with archive.reading() as connection:
        rows = connection.execute(
            select(RECORD.c.record_id)
            .join(LEAF, LEAF.c.record_id == RECORD.c.record_id)
            .where(
                archive.seen(),
                reviewed(),
                *([] if state is None else [reached == state.value]),
                *([overdue(archive)] if late else []),
            )
            .order_by(LEAF.c.leaf_index.desc())
            .limit(None if assignee else MOST_REVIEWS)
        ).all()
        ids = [str(record_id) for (record_id,) in rows]
        if assignee:
            assigned = _assigned(connection)
            ids = [record_id for record_id in ids if assigned.get(record_id) == assignee][:MOST_REVIEWS]
        return [read_review(archive, connection, record_id) for record_id in ids]


def _assigned(connection: Connection) -> dict[str, str]:
    """Whom each review is assigned to, by the record's id; without those that nobody has."""
    rows = connection.execute(
        select(EVENT.c.record_id, EVENT.c.body)
        .where(EVENT.c.type == EventKind.REVIEW.value)
        .order_by(EVENT.c.leaf_index)
    )
    told = ((str(record_id), json.loads(body)["details"]) for record_id, body in rows)
    return {
        record_id: details["assignee"] for record_id, details in told if details["action"] == ReviewAction.ASSIGN.value
    }


def overdue(archive: Archive) -> ColumnElement[bool]:
    """Whether a record's review was opened longer ago than reviews may take, and is not closed."""
    opened, closed = EVENT.alias(), EVENT.alias()
    later = select(closed.c.leaf_index).where(
        closed.c.record_id == opened.c.record_id,
        closed.c.type == EventKind.REVIEW.value,
        closed.c.code == ReviewState.CLOSED.value,
        closed.c.leaf_index >= opened.c.leaf_index,
    )
    return exists(
        select(opened.c.leaf_index)
        .where(
            opened.c.record_id == RECORD.c.record_id,
            opened.c.type == EventKind.REVIEW.value,
            opened.c.created_at < timestamp(archive.now() - archive.review_days * _DAY_SECONDS),
            ~exists(later.correlate(opened)),
        )
        .correlate(RECORD)
    )


def read_review(archive: Archive, connection: Connection, record_id: str) -> Review:
    """Put a review together from its events; what must not be read before a second opinion is there is left out."""
    rows = list(_rows(connection, record_id))
    seconded = any(json.loads(row.body)["details"]["action"] == SECOND for row in rows)
    review = Review(record_id=record_id)
    for row in rows:
        body = json.loads(row.body)
        details, why = body["details"], _note(archive, connection, row, body)
        if details.get("blind"):
            why = Opinion.parse(why).rationale if why and seconded else None
        step = Step(
            log_index=row.leaf_index,
            created_at=body["created_at"],
            actor=body["actor"],
            action=ReviewAction(details["action"]),
            state=ReviewState(body["code"]),
            rationale=why,
        )
        review = after(review, step, details)
    return review


def _step(archive: Archive, connection: Connection, review: Review, doing: Doing, *, four_eyes: bool) -> Event:
    """Make the event of a step; raises Blocked where it may not be done."""
    state = TRANSITIONS.get((review.state, doing.action))
    if state is None:
        now = review.state.value if review.state else "not open"
        raise Blocked("state", f"the review is {now}: {possible(review.state)}")
    _check_who(review, doing, four_eyes=four_eyes)
    details, note = _told(archive, connection, review, doing)
    return archive.event(
        connection,
        EventKind.REVIEW,
        doing.actor,
        record_id=review.record_id,
        about=SECOND if doing.action is ReviewAction.SECOND else "",
        code=state.value,
        details=details,
        note=note,
    )


def _told(archive: Archive, connection: Connection, review: Review, doing: Doing) -> tuple[dict[str, Any], str]:
    """What the event of a step says in the clear, and what its note does."""
    details: dict[str, Any] = {
        "action": doing.action.value,
        "assignee": doing.assignee or None,
        "disposition": doing.disposition.value if doing.disposition else None,
        "case_number": doing.case_number or None,
    }
    match doing.action:
        case ReviewAction.OPEN:
            return details | {"second": archive.rules.second(review.record_id)}, doing.rationale
        case ReviewAction.DECIDE if review.second_wanted and not review.second_by and doing.disposition:
            opinion = Opinion(disposition=doing.disposition, rationale=doing.rationale)
            return details | {"disposition": None, "blind": True}, opinion.text()
        case ReviewAction.SECOND:
            return details | {"first": _first(archive, connection, review.record_id)}, doing.rationale
        case _:
            return details, doing.rationale


def _first(archive: Archive, connection: Connection, record_id: str) -> str | None:
    """Disposition of the first opinion, out of its note; None where that is erased."""
    *_, last = (
        (row, body)
        for row in _rows(connection, record_id)
        if (body := json.loads(row.body))["details"]["action"] == ReviewAction.DECIDE.value
    )
    note = _note(archive, connection, *last)
    return Opinion.parse(note).disposition.value if note else None


def _rows(connection: Connection, record_id: str) -> Iterator[Any]:
    """Events of a review with their notes, oldest first."""
    yield from connection.execute(
        select(EVENT.c.leaf_index, EVENT.c.body, NOTE.c.key_id, NOTE.c.wrapped, NOTE.c.nonce, NOTE.c.ciphertext)
        .outerjoin(NOTE, NOTE.c.event_id == EVENT.c.event_id)
        .where(EVENT.c.record_id == record_id, EVENT.c.type == EventKind.REVIEW.value)
        .order_by(EVENT.c.leaf_index)
    )


def _note(
    archive: Archive,
    connection: Connection,
    row: Any,  # noqa: ANN401 - a row
    body: Mapping[str, Any],
) -> str | None:
    """Open the note of a step: "" where it has none, None where it is erased."""
    if body["note"] is None:
        return ""
    if row.wrapped is None:
        return None
    sealed = Sealed(kind="note", nonce=bytes(row.nonce), ciphertext=bytes(row.ciphertext))
    note = Note(key_id=row.key_id, wrapped=bytes(row.wrapped), sealed=sealed)
    operator = archive.operator
    key = operator if note.key_id == operator.id else archive.key_of(connection, body["record_id"])
    try:
        return open_note(body["event_id"], note, key)
    except SealError:
        return None


def _check_who(review: Review, doing: Doing, *, four_eyes: bool) -> None:
    action = doing.action
    if action is ReviewAction.DECIDE and doing.actor != review.assignee:
        raise Blocked("assignee", f"the review is assigned to {review.assignee}, who decides it")
    if action is ReviewAction.SECOND and not review.second_due:
        raise Blocked("second", "no second opinion is asked for, or it is there already")
    if action is ReviewAction.SECOND and doing.actor == review.decided_by:
        raise Blocked("second", "who has decided a review cannot give the second opinion on it")
    if action in {ReviewAction.APPROVE, ReviewAction.RETURN} and review.second_due:
        raise Blocked("second", "a second opinion is asked for, of somebody else than who has decided")
    if action is ReviewAction.APPROVE and four_eyes and doing.actor == review.decided_by:
        message = "who has decided a review cannot approve it: it takes a second pair of eyes"
        raise Blocked("four_eyes", message)
