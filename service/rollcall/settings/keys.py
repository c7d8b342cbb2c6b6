"""Every key by its path, and what it accepts."""

from __future__ import annotations

from typing import Any, TypeAlias, get_type_hints

from rollcall.domain.decision import Task
from rollcall.domain.recording import Durability, RecordMode
from rollcall.settings.kinds import (
    DAYS,
    DEVICE,
    DEVICES,
    DTYPE,
    LABELS,
    MAX_UNITS,
    NAME,
    PATH,
    PROBABILITY,
    TENSOR,
    TOKENS,
    Kind,
    choice,
    text,
    whole,
)
from rollcall.settings.model import LEAST_TOKENS
from rollcall.settings.sections import (
    AdminSettings,
    AuditSettings,
    AuthSettings,
    ExplainSettings,
    GrpcSettings,
    LimitSettings,
    LogSettings,
    QuotaSettings,
    RepositorySettings,
    StateSettings,
    TlsSettings,
    TraceSettings,
)

Key: TypeAlias = tuple[str, ...]
"""Path of a key, e.g. ("grpc", "port")."""

SECTIONS: dict[str, type[Any]] = {
    "grpc": GrpcSettings,
    "tls": TlsSettings,
    "auth": AuthSettings,
    "admin": AdminSettings,
    "explain": ExplainSettings,
    "limits": LimitSettings,
    "quota": QuotaSettings,
    "log": LogSettings,
    "traces": TraceSettings,
    "state": StateSettings,
    "audit": AuditSettings,
    "repository": RepositorySettings,
}
TOP_KEYS: dict[Key, Kind[Any]] = {("default_model",): NAME, ("devices",): DEVICES}
KEYS: dict[Key, Kind[Any]] = TOP_KEYS | {
    (name, item): annotated.__metadata__[0]
    for name, section in SECTIONS.items()
    for item, annotated in get_type_hints(section, include_extras=True).items()
}
MODEL_KEYS: dict[Key, Kind[Any]] = {
    ("path",): PATH,
    ("revision",): text("a revision"),
    ("threshold", "label"): text("a label of the model"),
    ("threshold", "probability"): PROBABILITY,
    ("calibration",): PATH,
    ("device",): DEVICE,
    ("dtype",): DTYPE,
    ("tokens",): TOKENS,
    ("labels",): LABELS,
    ("task",): choice(Task),
    ("max_tokens",): whole(LEAST_TOKENS, 1_000_000),
    ("max_units",): MAX_UNITS,
    ("family",): text("the model type of an architecture in the table of the README"),
    ("tensors", "input_ids"): TENSOR,
    ("tensors", "attention_mask"): TENSOR,
    ("tensors", "token_type_ids"): TENSOR,
    ("tensors", "output"): TENSOR,
    ("audit_mode",): choice(RecordMode),
    ("audit_durability",): choice(Durability),
    ("audit_days",): DAYS,
}
