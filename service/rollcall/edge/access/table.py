"""Which roles each call needs: one table. A call without a row is denied to everybody.

An identity may make a call if it has one of the roles of its row. A new method gets a row here, and a column's entry in
the README, which a test compares with what the real server does.
"""

from __future__ import annotations

from typing import Final

from rollcall.domain.errors import NotPermitted
from rollcall.domain.identity import Identity, Role

OPEN: Final = None
"""Needs no credentials."""
ANY_ROLE: Final = frozenset(Role)
CALLERS: Final = frozenset({Role.CALLER})
ADMINS: Final = frozenset({Role.ADMIN})
AUDITORS: Final = frozenset({Role.AUDITOR})
REVIEWERS: Final = frozenset({Role.REVIEWER})
APPROVERS: Final = frozenset({Role.APPROVER})
OFFICERS: Final = frozenset({Role.OFFICER})
OPENERS: Final = AUDITORS | REVIEWERS
"""Who may have sealed parts of a record opened. Approvers read what they agree with, and not what it is about."""
LATER: Final = AUDITORS | REVIEWERS | APPROVERS | OFFICERS
"""Whoever comes later and asks what was recorded."""

TABLE: dict[str, frozenset[Role] | None] = {
    "grpc.health.v1.Health/Check": OPEN,
    "grpc.health.v1.Health/List": OPEN,
    "grpc.health.v1.Health/Watch": OPEN,
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": ANY_ROLE,
    "inference.GRPCInferenceService/ServerLive": OPEN,
    "inference.GRPCInferenceService/ServerReady": OPEN,
    "inference.GRPCInferenceService/ModelReady": ANY_ROLE,
    "inference.GRPCInferenceService/ServerMetadata": ANY_ROLE,
    "inference.GRPCInferenceService/ModelMetadata": ANY_ROLE,
    "inference.GRPCInferenceService/ModelConfig": ANY_ROLE,
    "inference.GRPCInferenceService/ModelStatistics": ANY_ROLE,
    "inference.GRPCInferenceService/RepositoryIndex": ANY_ROLE,
    "inference.GRPCInferenceService/ModelInfer": CALLERS,
    "inference.GRPCInferenceService/RepositoryModelLoad": ADMINS,
    "inference.GRPCInferenceService/RepositoryModelUnload": ADMINS,
    "rollcall.v1.AuditService/GetCaller": ANY_ROLE,
    "rollcall.v1.AuditService/GetRecord": OPENERS | APPROVERS,
    "rollcall.v1.AuditService/SearchRecords": LATER,
    "rollcall.v1.AuditService/ListEvents": LATER,
    "rollcall.v1.AuditService/GetProof": LATER,
    "rollcall.v1.AuditService/GetCheckpoint": LATER,
    "rollcall.v1.AuditService/VerifyLog": AUDITORS,
    "rollcall.v1.AuditService/ReplayRecord": AUDITORS,
    "rollcall.v1.AuditService/ExplainRecord": AUDITORS | REVIEWERS,
    "rollcall.v1.AuditService/ExportRecords": AUDITORS,
    "rollcall.v1.AuditService/StreamRecords": AUDITORS,
    "rollcall.v1.AuditService/OpenReview": AUDITORS | REVIEWERS,
    "rollcall.v1.AuditService/AssignReview": REVIEWERS,
    "rollcall.v1.AuditService/CommentReview": REVIEWERS | APPROVERS,
    "rollcall.v1.AuditService/DecideReview": REVIEWERS,
    "rollcall.v1.AuditService/SecondReview": REVIEWERS,
    "rollcall.v1.AuditService/ApproveReview": APPROVERS,
    "rollcall.v1.AuditService/ReturnReview": APPROVERS,
    "rollcall.v1.AuditService/ReopenReview": APPROVERS,
    "rollcall.v1.AuditService/GetReview": LATER,
    "rollcall.v1.AuditService/ListReviews": LATER,
    "rollcall.v1.AuditService/GetReviewStatistics": LATER,
    "rollcall.v1.AuditService/GetTrends": LATER,
    "rollcall.v1.AuditService/EraseRecord": OFFICERS,
    "rollcall.v1.AuditService/EraseSubject": OFFICERS,
    "rollcall.v1.AuditService/PlaceHold": OFFICERS,
    "rollcall.v1.AuditService/ReleaseHold": OFFICERS,
    "rollcall.v1.AuditService/ApplyRetention": OFFICERS,
    "rollcall.v1.ExplanationService/Predict": CALLERS,
    "rollcall.v1.ExplanationService/Explain": CALLERS,
    "rollcall.v1.ExplanationService/ExplainStream": CALLERS,
    "rollcall.v1.ExplanationService/ExplainMany": CALLERS,
    "rollcall.v1.ExplanationService/ListModels": ANY_ROLE,
    "rollcall.v1.ExplanationService/GetModel": ANY_ROLE,
}


def is_open(call: str) -> bool:
    """Whether a call, written "package.Service/Method", needs no credentials."""
    return call in TABLE and TABLE[call] is OPEN


def check(identity: Identity, call: str) -> None:
    """Let an identity make a call; raises NotPermitted."""
    needed = TABLE.get(call) or frozenset()
    if not needed & identity.roles:
        roles = " or ".join(sorted(role.value for role in needed)) or "one that nobody has"
        unasked = (
            "" if identity.name else ", and this server asks nobody who they are (auth.callers, auth.jwt_keys_url)"
        )
        message = f"this call needs the role {roles}{unasked}"
        raise NotPermitted(message)


def check_opens(identity: Identity) -> None:
    """Let an identity have sealed parts of a record opened; raises NotPermitted."""
    if not OPENERS & identity.roles:
        roles = " or ".join(sorted(role.value for role in OPENERS))
        message = f"opening sealed parts needs the role {roles}"
        raise NotPermitted(message)
