"""Settings become objects, objects become a server. The only file that knows every room.

Start: doors open first (not ready), then the models are loaded one after the other. Stop: from the outside in.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial

from prometheus_client import CollectorRegistry

from rollcall.admission.backlog import Backlog
from rollcall.admission.gate import Gate
from rollcall.admission.quota import Quotas
from rollcall.app.parts import batch_limits, policy_of, served_names, server_defaults, spans_of
from rollcall.app.records import take_hold
from rollcall.app.service import Service
from rollcall.edge.access.authenticate import Authenticator
from rollcall.edge.access.quotas import quota_of
from rollcall.edge.health import Health
from rollcall.edge.http import AdminServer
from rollcall.edge.server import GrpcServer
from rollcall.edge.tls import server_credentials
from rollcall.engine.dispatch import Dispatcher
from rollcall.engine.engine import Engine
from rollcall.engine.memory import Allowance
from rollcall.loader import Loader
from rollcall.models.loading import LoadedModel
from rollcall.monitor.sampling import Sampler
from rollcall.monitor.store import Store
from rollcall.pipeline.catalog import Catalog
from rollcall.pipeline.explain import Pipeline
from rollcall.pipeline.rechecking import Rechecker
from rollcall.pipeline.watching import Watch
from rollcall.scheduling.queue import RowQueue
from rollcall.settings import RepositoryMode, Settings, load_settings
from rollcall.telemetry.metrics import Metrics
from rollcall.telemetry.traces import OFF
from rollcall.verdict.policies import POLICIES, THOROUGH
from rollcall.workers import Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A service whose doors are open."""

    service: Service
    metrics: Metrics
    grpc_port: int
    admin_port: int
    loaded: asyncio.Task[None]
    """Done when every model is loaded, and a worker's port open; fails with ModelRejected or OSError."""
    lost: asyncio.Event
    """Set when the device is lost."""


@asynccontextmanager
async def running(whole: Settings, worker: Worker | None = None) -> AsyncIterator[Running]:
    """Open the doors and load the models; on the way out drain, and close from the outside in. Raises OSError.

    A `worker` opens its gRPC port when its models are loaded: until then the others have its connections.
    """
    settings = worker.settings(whole) if worker else whole
    names = served_names(settings)
    spans = spans_of(settings, worker)
    metrics = Metrics(CollectorRegistry(), models=names, default_model=settings.default_model, trace_id=spans.trace_id)
    metrics.config_reloaded(time.time())
    models: dict[str, LoadedModel] = {}
    texts = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rollcall-texts")
    health = Health(names)
    loop = asyncio.get_running_loop()

    lost = asyncio.Event()

    def on_lost() -> None:
        asyncio.run_coroutine_threadsafe(loader.lost(), loop)
        loop.call_soon_threadsafe(lost.set)

    compute = Dispatcher.on(
        Engine(models=models),
        RowQueue(limits=batch_limits(settings)),
        texts,
        metrics,
        on_lost=on_lost,
        allowance=Allowance(
            share=settings.limits.memory_share,
            bytes=settings.limits.max_batch_bytes,
            sharers=worker.sharers if worker else 1,
        ),
        spans=spans,
    )
    device = compute.device
    metrics.watch_queue(
        rows=lambda: device.read(lambda queue: queue.rows),
        tokens=lambda: device.read(lambda queue: queue.tokens),
        oldest=lambda: device.read(lambda queue: queue.oldest(time.monotonic())),
    )
    backlog = Backlog(max_seconds=settings.limits.max_queue_seconds, seconds=compute.expected_seconds)
    metrics.watch_backlog(backlog.total)
    policies = {name: policy_of(policy, settings) for name, policy in POLICIES.items()}
    gate = Gate(max_in_flight=settings.limits.max_in_flight, share=settings.live.share)
    watch = Watch(
        sampler=Sampler(share=settings.live.recheck_share, secret=secrets.token_bytes(32)),
        policy=policies[settings.explain.policy].digest,
        telemetry=metrics,
    )
    pipeline = Pipeline(
        catalog=Catalog(entries={}, default=settings.default_model, loading=frozenset(names)),
        compute=compute,
        gate=gate,
        backlog=backlog,
        policies=policies,
        thorough=THOROUGH,
        defaults=server_defaults(settings),
        telemetry=metrics,
        watch=watch,
        quotas=Quotas(of=quota_of(settings.quota), burst_seconds=settings.quota.burst_seconds),
        spans=spans,
    )
    rechecker = _rechecker(compute, pipeline, watch, metrics)
    loader = Loader(
        settings=settings,
        compute=compute,
        pipeline=pipeline,
        health=health,
        metrics=metrics,
        device=worker.device if worker else None,
    )
    service = Service(
        settings=settings, read=partial(_read, whole, worker), pipeline=pipeline, watch=watch, loader=loader
    )
    admin = AdminServer(
        settings=lambda: service.settings,
        port=service,
        health=health,
        metrics=metrics,
        alive=lambda: device.alive,
        batches=lambda: {name: asdict(compute.bounds(name)) for name in models},
        worker=worker.describe() if worker else None,
        exemplars=spans is not OFF,
    )
    grpc = GrpcServer(
        settings=settings.grpc,
        authenticator=Authenticator(settings.auth),
        credentials=server_credentials(settings.tls, metrics.watch_certificate),
        port=service,
        health=health,
        metrics=metrics,
        spans=spans,
        shared=worker is not None,
    )
    async with AsyncExitStack() as closing:
        steward = take_hold(settings, worker, metrics, loader, grpc, closing)
        closing.push_async_callback(asyncio.to_thread, spans.close)
        closing.callback(texts.shutdown)
        closing.callback(compute.beside.shutdown)
        device.start()
        closing.push_async_callback(asyncio.to_thread, device.close)
        admin_port = await admin.start()
        closing.push_async_callback(admin.stop)
        if settings.state.directory is not None:
            store = Store(directory=settings.state.directory, records=lambda: watch.records)
            watch.records = store.read()
            closing.callback(lambda: store.write(watch.records))
            closing.callback(asyncio.create_task(store.keep()).cancel)
        steward.start()
        closing.push_async_callback(steward.stop)
        grpc_port = worker.grpc_port if worker else await grpc.start()
        closing.push_async_callback(grpc.drain, pipeline.gate.close)
        closing.callback(asyncio.create_task(rechecker.run()).cancel)
        closing.callback(rechecker.stop)
        loaded = _load(loader, _then(loader.start(), grpc.start) if worker else loader.start(), closing)
        yield Running(
            service=service, metrics=metrics, grpc_port=grpc_port, admin_port=admin_port, loaded=loaded, lost=lost
        )


def _rechecker(compute: Dispatcher, pipeline: Pipeline, watch: Watch, metrics: Metrics) -> Rechecker:
    """Who checks some answers again while nobody waits for any, and tells the watch."""
    rechecker = Rechecker(
        compute=compute,
        busy=lambda: pipeline.gate.in_flight > 0,
        found=watch.rechecked,
        ended=watch.ended,
        serves=pipeline.serves,
        leases=pipeline.leases,
    )
    watch.offer = rechecker.offer
    metrics.watch_rechecks(lambda: len(rechecker.pending))
    return rechecker


def _load(loader: Loader, start: Coroutine[None, None, None], closing: AsyncExitStack) -> asyncio.Task[None]:
    """Load what is there at the start, and then follow the repository, if it is to be followed."""
    loaded = asyncio.create_task(start)
    closing.callback(loaded.cancel)
    if loader.settings.repository.mode is RepositoryMode.POLL:
        closing.callback(asyncio.create_task(_then(asyncio.shield(loaded), loader.follow)).cancel)
    return loaded


def _read(whole: Settings, worker: Worker | None) -> Settings:
    """Read settings again; raises SettingsError."""
    fresh = load_settings(whole.sources)
    return worker.settings(fresh) if worker else fresh


async def _then(first: Awaitable[None], second: Callable[[], Awaitable[object]]) -> None:
    await first
    await second()
