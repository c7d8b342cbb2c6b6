"""What the settings say to single parts."""

from __future__ import annotations

from dataclasses import replace

from rollcall.admission.plan import ServerDefaults
from rollcall.domain.policy import Policy
from rollcall.models.repository import read_repository
from rollcall.scheduling.queue import Limits as BatchLimits
from rollcall.settings import Settings
from rollcall.telemetry.traces import OFF, Attribute, Spans
from rollcall.telemetry.versions import versions
from rollcall.workers import Worker


def served_names(settings: Settings) -> list[str]:
    """The models that there are at the start. Raises OSError."""
    directory = settings.repository.directory
    found = read_repository(directory).revisions if directory is not None else {}
    return sorted({*found, *(spec.name for spec in settings.models)})


def server_defaults(settings: Settings) -> ServerDefaults:
    """What holds where a request says nothing."""
    return ServerDefaults(
        check_level=settings.live.check_level,
        policy=settings.explain.policy,
        max_rows=settings.live.max_rows,
        thorough_rows=settings.explain.thorough_rows,
        most_rows=settings.limits.max_rows,
    )


def batch_limits(settings: Settings) -> BatchLimits:
    """Bounds of a batch."""
    limits = settings.limits
    return BatchLimits(
        max_tokens=limits.max_batch_tokens, max_seconds=limits.max_batch_seconds, predict_share=limits.predict_share
    )


def spans_of(settings: Settings, worker: Worker | None) -> Spans:
    """Traces by the settings."""
    traces = settings.traces
    if not traces.endpoint:
        return OFF
    from rollcall.telemetry.otlp import OpenSpans  # noqa: PLC0415 - OpenTelemetry is an extra

    version = versions()["rollcall"]
    resource: dict[str, Attribute] = {"service.name": traces.service, "service.version": version}
    if worker is not None:
        resource["rollcall.worker"] = worker.index
    return OpenSpans.to(traces.endpoint, share=traces.share, resource=resource)


def policy_of(policy: Policy, settings: Settings) -> Policy:
    """A policy as these settings want it."""
    return replace(policy, require_calibration=True) if settings.explain.require_calibration else policy
