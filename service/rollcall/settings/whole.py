"""All settings, consistent with each other."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from rollcall.settings.model import ModelSpec

if TYPE_CHECKING:
    from rollcall.domain.verdicts import CheckLevel
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
    from rollcall.settings.sources import Sources

Plain: TypeAlias = "str | int | float | bool | dict[str, Plain] | None"
"""A value that JSON can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSettings:
    """What SIGHUP may change."""

    check_level: CheckLevel
    max_rows: int
    share: float
    recheck_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, consistent with each other; `models` by name, at least one."""

    grpc: GrpcSettings
    tls: TlsSettings
    auth: AuthSettings
    admin: AdminSettings
    explain: ExplainSettings
    limits: LimitSettings
    quota: QuotaSettings
    log: LogSettings
    traces: TraceSettings
    state: StateSettings
    audit: AuditSettings
    repository: RepositorySettings
    models: tuple[ModelSpec, ...]
    devices: tuple[str, ...] = ()
    """One process for each, all on one gRPC port; without any, one process, and each model on its own device."""
    default_model: str | None
    """Where requests without a name go: as configured, or the only model."""
    sources: Sources = field(repr=False, compare=False)

    @property
    def live(self) -> LiveSettings:
        """The part that SIGHUP may change."""
        return LiveSettings(**{live.name: getattr(self.explain, live.name) for live in fields(LiveSettings)})

    @property
    def serves_records(self) -> bool:
        """Whether AuditService is on the gRPC port: never where somebody unknown could reach it from elsewhere."""
        guarded = self.auth.required or is_loopback(self.grpc.host)
        return guarded if self.audit.serve is None else self.audit.serve

    def public(self) -> dict[str, Plain]:
        """Everything an operator may see, ready for JSON."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self) if item.name != "sources"}


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone; a name other than localhost is not believed."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _plain(value: object) -> Plain:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple) and not all(isinstance(item, ModelSpec) for item in value):
        return ",".join(map(str, value))
    if isinstance(value, tuple):
        return {model.name: _plain(model) for model in value}
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value) if item.name != "name"}
    return value if isinstance(value, (bool, int, float, str)) or value is None else str(value)
