"""The log of records, where there is one, and who looks after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial

from rollcall.audit.journal import Journal
from rollcall.audit.replaying import Replayer
from rollcall.audit.sampling import HOUR_SECONDS, SampledReplays
from rollcall.audit.steward import Chore, Steward, keeping_to_retention, looking_for_late_reviews, scrubbing
from rollcall.edge.server import GrpcServer
from rollcall.loader import Loader
from rollcall.monitor.ownership import owning
from rollcall.settings import AuditSettings, Settings
from rollcall.telemetry.metrics import Metrics
from rollcall.telemetry.versions import versions
from rollcall.workers import Worker

SOFTWARE = (
    "torch",
    "transformers",
    "onnxruntime",
    "onnxruntime-gpu",
    "tokenizers",
    "numpy",
    "scipy",
    "rfc8785",
    "cryptography",
)
"""What a record says that it was made with, beside Rollcall and Python."""


def take_hold(
    settings: Settings,
    worker: Worker | None,
    metrics: Metrics,
    loader: Loader,
    grpc: GrpcServer,
    closing: AsyncExitStack,
) -> Steward:
    """Own what outlives the process, where there is such: the state's directory, and the log of records.

    Returns who looks after the records.
    """
    if settings.state.directory is not None:
        closing.enter_context(owning(settings.state.directory))
    if settings.audit.directory is None:
        return Steward(chores=())
    pipeline = loader.pipeline
    journal = Journal(
        directory=settings.audit.directory,
        settings=settings.audit,
        worker=worker.index if worker else 0,
        software=versions(SOFTWARE),
        telemetry=metrics,
    )
    pipeline.records = journal.open()
    loader.serves = journal.serves
    closing.push_async_callback(asyncio.to_thread, journal.close)
    assert journal.archive is not None, "the log is open"
    replayer = Replayer(
        archive=journal.archive,
        models=pipeline.models,
        predict=pipeline.predict,
        work_out=partial(pipeline.explain, recorded=False),
        explain=pipeline.explain,
        policies={policy.id: policy.digest for policy in pipeline.policies.values()},
        software=versions(SOFTWARE),
        told=metrics.audit_replayed,
    )
    if settings.serves_records:
        grpc.serve_records(replayer)
    return Steward(chores=tuple(_chores(settings.audit, replayer, metrics, lambda: pipeline.gate.in_flight > 0)))


def _chores(settings: AuditSettings, replayer: Replayer, metrics: Metrics, busy: Callable[[], bool]) -> Iterator[Chore]:
    """What the settings want done with the records now and then."""
    yield looking_for_late_reviews(replayer.archive, metrics.audit_reviews_overdue)
    yield scrubbing(replayer.archive)
    if settings.retention_hours is not None:
        yield keeping_to_retention(replayer.archive, settings.retention_hours * HOUR_SECONDS)
    if settings.replays_per_hour is not None:
        yield SampledReplays(replayer=replayer, busy=busy).chore(settings.replays_per_hour)
