"""The composition root: settings become objects, objects become a server. The only file that knows every room.

Start: doors open first (not ready), then the models are loaded one after the other. Stop: from the outside in.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from types import FrameType

from prometheus_client import CollectorRegistry

from rollcall.admission.backlog import Backlog
from rollcall.admission.gate import Gate
from rollcall.admission.plan import ServerDefaults
from rollcall.admission.quota import Quotas
from rollcall.audit.journal import Journal
from rollcall.audit.replaying import Replayer
from rollcall.audit.sampling import HOUR_SECONDS, SampledReplays
from rollcall.audit.steward import Chore, Steward, keeping_to_retention, looking_for_late_reviews
from rollcall.domain.errors import DeviceLost, FileRejected, ModelRejected, Unsupported
from rollcall.domain.explanation import ExplainRequest, Explanation, Predicted, PredictRequest
from rollcall.domain.model import ModelCard, Unserved
from rollcall.domain.policy import Policy
from rollcall.edge.access.authenticate import Authenticator
from rollcall.edge.access.quotas import quota_of
from rollcall.edge.health import Health
from rollcall.edge.http import AdminServer
from rollcall.edge.port import Limits
from rollcall.edge.server import GrpcServer
from rollcall.edge.tls import server_credentials
from rollcall.engine.dispatch import Dispatcher
from rollcall.engine.engine import Engine
from rollcall.engine.memory import Allowance
from rollcall.engine.threads import configure_threads, spare_pauses
from rollcall.loader import Loader
from rollcall.models.loading import LoadedModel
from rollcall.models.repository import read_repository
from rollcall.monitor.ownership import owning
from rollcall.monitor.record import ModelRecord
from rollcall.monitor.sampling import Sampler
from rollcall.monitor.store import Store
from rollcall.pipeline.catalog import Catalog
from rollcall.pipeline.explain import Pipeline
from rollcall.pipeline.progress import Tell
from rollcall.pipeline.rechecking import Rechecker
from rollcall.pipeline.watching import Watch
from rollcall.scheduling.queue import Limits as BatchLimits
from rollcall.scheduling.queue import RowQueue
from rollcall.settings import AuditSettings, RepositoryMode, Settings, load_settings, reread
from rollcall.telemetry import logs
from rollcall.telemetry.metrics import Metrics
from rollcall.telemetry.traces import OFF, Attribute, Spans
from rollcall.telemetry.versions import versions
from rollcall.verdict.policies import POLICIES, THOROUGH
from rollcall.workers import Worker

_log = logging.getLogger(__name__)

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


@dataclass(slots=True, kw_only=True)
class Service:
    """What the edge serves: the pipeline under the settings in force. Implements `rollcall.edge.port.ServicePort`."""

    settings: Settings
    read: Callable[[], Settings]
    """Reads them again; raises SettingsError."""
    pipeline: Pipeline
    watch: Watch
    loader: Loader

    @property
    def default_model(self) -> str | None:
        """Name of the model for requests without one."""
        return self.pipeline.default_model

    async def predict(self, request: PredictRequest) -> Predicted:
        """Classify."""
        return await self.pipeline.predict(request)

    async def explain(self, request: ExplainRequest, tell: Tell | None = None) -> Explanation:
        """Classify, map, check and decide; `tell` hears how far it is."""
        return await self.pipeline.explain(request, tell)

    def models(self) -> tuple[ModelCard, ...]:
        """List the models that are loaded."""
        return self.pipeline.models()

    def model(self, name: str) -> ModelCard:
        """Find one model."""
        return self.pipeline.model(name)

    async def load_model(self, name: str, revision: str) -> None:
        """Serve a model of the repository, where admins may."""
        self._check_explicit()
        try:
            await self.loader.load_named(name, revision)
        except ModelRejected as error:
            raise Unsupported("model", str(error)) from error

    async def unload_model(self, name: str) -> None:
        """Take no further requests for a model of the repository, where admins may."""
        self._check_explicit()
        await self.loader.unload(name)

    async def unserved(self) -> tuple[Unserved, ...]:
        """List what the repository holds and nobody is served from."""
        return await self.loader.unserved()

    def _check_explicit(self) -> None:
        if self.settings.repository.mode is not RepositoryMode.EXPLICIT:
            message = "models are loaded as the settings say: repository.mode is not explicit"
            raise Unsupported("repository", message)

    def record(self, name: str) -> ModelRecord | None:
        """Tell what a model's answers came to so far."""
        return self.watch.record(name)

    def limits(self) -> Limits:
        """Tell what is in force now."""
        limits = self.settings.limits
        return Limits(
            max_characters=limits.max_characters,
            max_rows=limits.max_rows,
            max_attention_bytes=limits.max_attention_bytes,
            max_attention_streams=limits.max_attention_streams,
        )

    def reload(self) -> bool:
        """Read the settings again and take over what may change; nothing, and False, if they are wrong."""
        reloaded = reread(self.settings, self.read)
        for mistake in reloaded.mistakes:
            logs.event(_log, logging.ERROR, "settings_rejected", place=mistake.place, problem=mistake.problem)
        if reloaded.mistakes:
            return False
        self.settings = reloaded.settings
        self.pipeline.defaults = server_defaults(self.settings)
        self.pipeline.gate.share = self.settings.live.share
        self.watch.sampler.share = self.settings.live.recheck_share
        logs.event(
            _log,
            logging.INFO,
            "settings_read_again",
            changed=list(reloaded.changed),
            needs_restart=list(reloaded.needs_restart),
        )
        return True


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


def _nobody(_: int) -> None:
    """Wait for no worker."""


def serve(settings: Settings, worker: Worker | None = None, ready: Callable[[int], None] = _nobody) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code. SIGHUP reads the settings again.

    As a `worker` of a supervisor it calls `ready` with its admin port when it takes requests, and also ends when its
    supervisor or its device is gone.
    """
    logs.configure(sys.stderr, level=settings.log.level.value, layout=settings.log.format.value)
    threads = configure_threads(processes=len(worker.devices) if worker else 1)
    spare_pauses()
    logs.event(_log, logging.INFO, "starting", compute_threads=threads, worker=worker.index if worker else None)
    try:
        asyncio.run(_serve(settings, worker, ready))
    except (FileRejected, ModelRejected, OSError, DeviceLost) as error:
        logs.event(_log, logging.ERROR, "cannot_serve", problem=str(error))
        return 1
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # the interpreter is ending: being asked again must not kill it
    return 0


async def _serve(settings: Settings, worker: Worker | None, ready: Callable[[int], None]) -> None:
    stop = asyncio.Event()
    _on_signals(stop.set, signal.SIGTERM, signal.SIGINT)
    if worker is not None:
        _on_orphaned(stop.set)
    async with running(settings, worker) as server:
        _on_signals(partial(_reload, server), signal.SIGHUP)
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({stopping, server.loaded}, return_when=asyncio.FIRST_COMPLETED)
        if server.loaded.done():
            server.loaded.result()
            if worker is None:  # of several, the supervisor says it
                logs.event(_log, logging.INFO, "ready", grpc_port=server.grpc_port, admin_port=server.admin_port)
            ready(server.admin_port)
        if worker is None:  # probes tell of a lost device; of several, the supervisor replaces who ends
            await stopping
        else:
            lost = asyncio.create_task(server.lost.wait())
            await asyncio.wait({stopping, lost}, return_when=asyncio.FIRST_COMPLETED)
            if lost.done():
                raise DeviceLost
            lost.cancel()
        logs.event(_log, logging.INFO, "draining")
    logs.event(_log, logging.INFO, "stopped")


def _on_orphaned(act: Callable[[], None]) -> None:
    """Call `act` once in the event loop when the process that started this one is gone."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    loop = asyncio.get_running_loop()

    def gone() -> None:
        loop.remove_reader(parent.sentinel)
        act()

    loop.add_reader(parent.sentinel, gone)


def _on_signals(act: Callable[[], None], *numbers: signal.Signals) -> None:
    """Call `act` in the event loop on each signal.

    Unlike the loop's own handlers these stay until the process ends, so that a signal that is sent again while the last
    things are being closed does not kill it.
    """
    loop = asyncio.get_running_loop()

    def handle(_number: int, _frame: FrameType | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: the process is ending anyway
            loop.call_soon_threadsafe(act)

    for number in numbers:
        signal.signal(number, handle)


def _reload(server: Running) -> None:
    if server.service.reload():
        server.metrics.config_reloaded(time.time())


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
    policies = {name: _policy(policy, settings) for name, policy in POLICIES.items()}
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
        steward = _take_hold(settings, worker, metrics, loader, grpc, closing)
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


def _take_hold(
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
    if settings.retention_hours is not None:
        yield keeping_to_retention(replayer.archive, settings.retention_hours * HOUR_SECONDS)
    if settings.replays_per_hour is not None:
        yield SampledReplays(replayer=replayer, busy=busy).chore(settings.replays_per_hour)


def _read(whole: Settings, worker: Worker | None) -> Settings:
    """Read settings again; raises SettingsError."""
    fresh = load_settings(whole.sources)
    return worker.settings(fresh) if worker else fresh


async def _then(first: Awaitable[None], second: Callable[[], Awaitable[object]]) -> None:
    await first
    await second()


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


def _policy(policy: Policy, settings: Settings) -> Policy:
    return replace(policy, require_calibration=True) if settings.explain.require_calibration else policy
