"""What a review is: its states, what may follow what, and how its steps add up to what it has come to. Pure.

What may follow what is TRANSITIONS, and nothing else is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any


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
    SECOND = "second"
    """Somebody else says what it comes to, and does not know yet what the first has said."""


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
    (_STATE.DECIDED, _DO.SECOND): _STATE.DECIDED,
    (_STATE.DECIDED, _DO.APPROVE): _STATE.CLOSED,
    (_STATE.DECIDED, _DO.RETURN): _STATE.ASSIGNED,
    (_STATE.CLOSED, _DO.REOPEN): _STATE.OPEN,
}
UNEXPLAINED = frozenset({_DO.ASSIGN, _DO.APPROVE})
"""Steps that need no words; all others do."""

_UNDECIDED = {"disposition": None, "decided_by": "", "approved_by": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What somebody decided, and why."""

    disposition: Disposition
    rationale: str

    def text(self) -> str:
        """Write it as a note, for what must not be read before a second opinion is there."""
        return json.dumps({"disposition": self.disposition.value, "rationale": self.rationale}, ensure_ascii=False)

    @classmethod
    def parse(cls, text: str) -> Opinion:
        """Read such a note."""
        told = json.loads(text)
        return cls(disposition=Disposition(told["disposition"]), rationale=told["rationale"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: who did what when, where the review was afterwards, and why, None where that is erased or withheld."""

    log_index: int
    created_at: str
    actor: str
    action: ReviewAction
    state: ReviewState
    rationale: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A review as its steps left it. `decided_by` and `disposition` are of the decision that stands, if any.

    `rules`: those that have opened it. `second_wanted`: a second opinion is asked for, of somebody who does not know
    the first; while it is `second_due`, the first disposition and its rationale are withheld. `opened_at`: RFC 3339.
    """

    record_id: str
    state: ReviewState | None = None
    opened_at: str = ""
    rules: tuple[str, ...] = ()
    case_number: str = ""
    assignee: str = ""
    disposition: Disposition | None = None
    decided_by: str = ""
    approved_by: str = ""
    second_wanted: bool = False
    second_by: str = ""
    second_disposition: Disposition | None = None
    steps: tuple[Step, ...] = ()

    @property
    def second_due(self) -> bool:
        """Whether it is decided, and waits for a second opinion."""
        return self.state is ReviewState.DECIDED and self.second_wanted and not self.second_by


def after(review: Review, step: Step, details: Mapping[str, Any]) -> Review:
    """Give the review after a step, whose event has these details."""
    changed: dict[str, Any] = {}
    match step.action:
        case ReviewAction.OPEN:
            changed = {
                "opened_at": step.created_at,
                "case_number": details["case_number"] or "",
                "rules": tuple(details.get("rules", ())),
                "second_wanted": details.get("second", False),
            }
        case ReviewAction.ASSIGN:
            changed = {"assignee": details["assignee"]}
        case ReviewAction.DECIDE:
            changed = {"disposition": _disposition(details["disposition"]), "decided_by": step.actor}
        case ReviewAction.SECOND:
            changed = {
                "disposition": _disposition(details["first"]),
                "second_by": step.actor,
                "second_disposition": _disposition(details["disposition"]),
            }
        case ReviewAction.APPROVE:
            changed = {"approved_by": step.actor}
        case ReviewAction.RETURN:
            changed = _UNDECIDED
        case ReviewAction.REOPEN:
            changed = _UNDECIDED | {"opened_at": step.created_at}
        case ReviewAction.COMMENT:
            pass
    return replace(review, state=step.state, steps=(*review.steps, step), **changed)


def possible(state: ReviewState | None) -> str:
    """Say what can be done to a review in a state."""
    actions = [action.value for (before, action) in TRANSITIONS if before is state]
    return f"what can be done is to {' or '.join(actions)} it"


def _disposition(value: str | None) -> Disposition | None:
    return None if value is None else Disposition(value)
