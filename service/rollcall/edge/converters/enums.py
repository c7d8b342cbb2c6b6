"""Enum members by name: the wire's number for each of ours. A member without a number fails at import, not in use."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from rollcall.audit.comparing import Outcome
from rollcall.audit.erasing import Ground
from rollcall.audit.events import EventKind
from rollcall.audit.record import DECISION, EXPLANATION
from rollcall.audit.reviews import Disposition, ReviewAction, ReviewState
from rollcall.audit.trends import Period
from rollcall.domain.decision import Task
from rollcall.domain.inputs import Modality
from rollcall.domain.maps import HeadReduction, MapKind, TensorType
from rollcall.domain.recording import AuditChoice, RecordMode, RecordState
from rollcall.domain.rows import RemovalOperator
from rollcall.domain.verdicts import CheckKind, CheckLevel, CheckOutcome, Flag, Reason, Scope
from rollcall.v1 import audit_service_pb2, common_pb2, explanation_pb2, model_pb2

if TYPE_CHECKING:
    from enum import Enum

    from google.protobuf.internal.enum_type_wrapper import _EnumTypeWrapper

    E = TypeVar("E", bound=Enum)
V = TypeVar("V", bound=int)


def _numbers(wire: _EnumTypeWrapper[V], members: type[E], prefix: str, unset: E | None = None) -> dict[E, V]:
    names = {member: "UNSPECIFIED" if member is unset else member.name for member in members}
    return {member: wire.Value(prefix + name) for member, name in names.items()}


MODALITIES = _numbers(model_pb2.Modality, Modality, "MODALITY_")
TASKS = _numbers(model_pb2.Task, Task, "TASK_")
TENSOR_TYPES = _numbers(common_pb2.DataType, TensorType, "DATA_TYPE_")
MAP_KINDS = _numbers(explanation_pb2.MapKind, MapKind, "MAP_KIND_")
FLAGS = _numbers(explanation_pb2.Flag, Flag, "FLAG_")
REASONS = _numbers(explanation_pb2.Reason, Reason, "REASON_", unset=Reason.NONE)
CHECK_LEVELS = _numbers(explanation_pb2.CheckLevel, CheckLevel, "CHECK_LEVEL_")
CHECK_KINDS = _numbers(explanation_pb2.CheckKind, CheckKind, "CHECK_KIND_")
CHECK_OUTCOMES = _numbers(explanation_pb2.CheckOutcome, CheckOutcome, "CHECK_OUTCOME_")
OPERATORS = _numbers(explanation_pb2.RemovalOperator, RemovalOperator, "REMOVAL_OPERATOR_")
SCOPES = _numbers(explanation_pb2.Scope, Scope, "SCOPE_")
AUDIT_CHOICES = _numbers(explanation_pb2.AuditChoice, AuditChoice, "AUDIT_CHOICE_")
RECORD_STATES = _numbers(explanation_pb2.RecordState, RecordState, "RECORD_STATE_")
RECORD_MODES = _numbers(explanation_pb2.RecordMode, RecordMode, "RECORD_MODE_", unset=RecordMode.OFF)
ERASURE_GROUNDS = _numbers(audit_service_pb2.ErasureGround, Ground, "ERASURE_GROUND_")
REPLAY_OUTCOMES = _numbers(audit_service_pb2.ReplayOutcome, Outcome, "REPLAY_OUTCOME_")
REVIEW_STATES = _numbers(audit_service_pb2.ReviewState, ReviewState, "REVIEW_STATE_")
REVIEW_ACTIONS = _numbers(audit_service_pb2.ReviewAction, ReviewAction, "REVIEW_ACTION_")
DISPOSITIONS = _numbers(audit_service_pb2.Disposition, Disposition, "DISPOSITION_")
TREND_PERIODS = _numbers(audit_service_pb2.TrendPeriod, Period, "TREND_PERIOD_")
EVENT_TYPES = _numbers(audit_service_pb2.EventType, EventKind, "EVENT_TYPE_")
RECORD_TYPES = {
    EXPLANATION: audit_service_pb2.RECORD_TYPE_EXPLANATION,
    DECISION: audit_service_pb2.RECORD_TYPE_DECISION,
}
HEAD_REDUCTIONS = _numbers(explanation_pb2.HeadReduction, HeadReduction, "HEAD_REDUCTION_")
