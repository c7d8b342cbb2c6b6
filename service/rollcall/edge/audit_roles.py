"""Who may ask what of the records: one table, a row for each method of AuditService.

Roles: an auditor reads, verifies and replays; a reviewer looks into records; an approver is the second pair of eyes; an
officer (data protection) holds, erases and keeps to retention. Nobody's role includes another's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rollcall.domain.errors import NotPermitted


class AuditRole(Enum):
    """What somebody is here for."""

    AUDITOR = "auditor"
    REVIEWER = "reviewer"
    APPROVER = "approver"
    OFFICER = "officer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Somebody who asks: the name that the log keeps, and what they may do."""

    name: str
    roles: frozenset[AuditRole]


LOCAL = Actor(name="local", roles=frozenset(AuditRole))
"""Whoever reaches a server on the loopback, where nobody has to say who they are."""

_READERS = frozenset(AuditRole)
_AUDITORS = frozenset({AuditRole.AUDITOR})
_REVIEWERS = frozenset({AuditRole.REVIEWER})
_APPROVERS = frozenset({AuditRole.APPROVER})
_OFFICERS = frozenset({AuditRole.OFFICER})
ROLES: dict[str, frozenset[AuditRole]] = {
    "GetRecord": frozenset({AuditRole.AUDITOR, AuditRole.REVIEWER}),
    "SearchRecords": _READERS,
    "ListEvents": _READERS,
    "GetProof": _READERS,
    "GetCheckpoint": _READERS,
    "VerifyLog": _AUDITORS,
    "ReplayRecord": _AUDITORS,
    "ExplainRecord": frozenset({AuditRole.AUDITOR, AuditRole.REVIEWER}),
    "OpenReview": frozenset({AuditRole.AUDITOR, AuditRole.REVIEWER}),
    "AssignReview": _REVIEWERS,
    "CommentReview": frozenset({AuditRole.REVIEWER, AuditRole.APPROVER}),
    "DecideReview": _REVIEWERS,
    "ApproveReview": _APPROVERS,
    "ReturnReview": _APPROVERS,
    "ReopenReview": _APPROVERS,
    "GetReview": _READERS,
    "ListReviews": _READERS,
    "EraseRecord": _OFFICERS,
    "EraseSubject": _OFFICERS,
    "PlaceHold": _OFFICERS,
    "ReleaseHold": _OFFICERS,
    "ApplyRetention": _OFFICERS,
}


def check_role(actor: Actor, method: str) -> None:
    """Let somebody ask; raises NotPermitted, also for a method without a row."""
    needed = ROLES.get(method, frozenset())
    if not needed & actor.roles:
        roles = " or ".join(sorted(role.value for role in needed)) or "one that nobody has"
        message = f"this call needs the role {roles}"
        raise NotPermitted(message)
