"""The composition root: settings become objects, objects become a server. The only file that knows every room.

Start: doors open first (not ready), then the models are loaded one after the other. Stop: from the outside in.
"""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType

from prometheus_client import CollectorRegistry

from rollcall.admission.backlog import Backlog
from rollcall.admission.gate import Gate
from rollcall.admission.plan import ServerDefaults
from rollcall.audit.journal import Journal
from rollcall.audit.replaying import Replayer
from rollcall.domain.errors import DeviceLost, ModelRejected
from rollcall.domain.explanation import ExplainRequest, Explanation, Predicted, PredictRequest
from rollcall.domain.model import ModelCard
from rollcall.domain.policy import Policy
from rollcall.edge.health import Health
from rollcall.edge.http import AdminServer
from rollcall.edge.port import Limits
from rollcall.edge.server import GrpcServer
from rollcall.engine.dispatch import Dispatcher
from rollcall.engine.engine import Engine
from rollcall.engine.memory import Allowance
from rollcall.engine.threads import configure_threads
from rollcall.models.loading import LoadedModel, load_model
from rollcall.monitor.ownership import owning
from rollcall.monitor.record import ModelRecord
from rollcall.monitor.sampling import Sampler
from rollcall.monitor.store import Store
from rollcall.pipeline.catalog import Catalog, Entry
from rollcall.pipeline.explain import Pipeline
from rollcall.pipeline.progress import Tell
from rollcall.pipeline.rechecking import Rechecker
from rollcall.pipeline.watching import Watch
from rollcall.scheduling.queue import Limits as BatchLimits
from rollcall.scheduling.queue import RowQueue
from rollcall.settings import ModelSpec, Settings, reread
from rollcall.telemetry import logs
from rollcall.telemetry.metrics import Metrics
from rollcall.telemetry.versions import versions
from rollcall.verdict.calibration import UNCALIBRATED, Calibration, calibration_path, parse_calibration
from rollcall.verdict.policies import POLICIES, STANDARD, THOROUGH
from rollcall.workers import Worker

_log = logging.getLogger(__name__)

SOFTWARE = ("torch", "transformers", "tokenizers", "numpy", "scipy", "rfc8785", "cryptography")
"""What a record says that it was made with, beside Rollcall and Python."""


@dataclass(slots=True, kw_only=True)
class Service:
    """What the edge serves: the pipeline under the settings in force. Implements `rollcall.edge.port.ServicePort`."""

    settings: Settings
    read: Callable[[], Settings]
    """Reads them again; raises SettingsError."""
    pipeline: Pipeline
    watch: Watch

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

    def record(self, name: str) -> ModelRecord | None:
        """Tell what a model's answers came to so far."""
        return self.watch.record(name)

    def limits(self) -> Limits:
        """Tell what is in force now."""
        return Limits(max_characters=self.settings.limits.max_characters, max_rows=self.settings.limits.max_rows)

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
    logs.event(_log, logging.INFO, "starting", compute_threads=threads, worker=worker.index if worker else None)
    try:
        asyncio.run(_serve(settings, worker, ready))
    except (ModelRejected, OSError, DeviceLost) as error:
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
    names = [spec.name for spec in settings.models]
    metrics = Metrics(CollectorRegistry(), models=names, default_model=settings.default_model)
    metrics.config_reloaded(time.time())
    models: dict[str, LoadedModel] = {}
    texts = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rollcall-texts")
    health = Health(names)
    loop = asyncio.get_running_loop()

    lost = asyncio.Event()

    def on_lost() -> None:
        asyncio.run_coroutine_threadsafe(_not_ready(names, health, metrics), loop)
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
    rechecker = Rechecker(compute=compute, busy=lambda: gate.in_flight > 0, found=watch.rechecked, ended=watch.ended)
    watch.offer = rechecker.offer
    metrics.watch_rechecks(lambda: len(rechecker.pending))
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
    )
    service = Service(settings=settings, read=partial(_read, whole, worker), pipeline=pipeline, watch=watch)
    admin = AdminServer(
        settings=lambda: service.settings,
        port=service,
        health=health,
        metrics=metrics,
        alive=lambda: device.alive,
        batches=lambda: {name: asdict(compute.bounds(name)) for name in models},
        worker=worker.describe() if worker else None,
    )
    grpc = GrpcServer(settings=settings.grpc, port=service, health=health, metrics=metrics, shared=worker is not None)
    async with AsyncExitStack() as closing:
        _take_hold(settings, worker, metrics, pipeline, grpc, closing)
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
        grpc_port = worker.grpc_port if worker else await grpc.start()
        closing.push_async_callback(grpc.drain, pipeline.gate.close)
        closing.callback(asyncio.create_task(rechecker.run()).cancel)
        closing.callback(rechecker.stop)
        loading = _load_all(settings, compute, pipeline, health, metrics)
        loaded = asyncio.create_task(_then(loading, grpc.start) if worker else loading)
        closing.callback(loaded.cancel)
        yield Running(
            service=service, metrics=metrics, grpc_port=grpc_port, admin_port=admin_port, loaded=loaded, lost=lost
        )


def _take_hold(
    settings: Settings,
    worker: Worker | None,
    metrics: Metrics,
    pipeline: Pipeline,
    grpc: GrpcServer,
    closing: AsyncExitStack,
) -> None:
    """Own what outlives the process, where there is such: the state's directory, and the log of records."""
    if settings.state.directory is not None:
        closing.enter_context(owning(settings.state.directory))
    if settings.audit.directory is None:
        return
    journal = Journal(
        directory=settings.audit.directory,
        settings=settings.audit,
        models=settings.models,
        worker=worker.index if worker else 0,
        software=versions(SOFTWARE),
        telemetry=metrics,
    )
    pipeline.records = journal.open()
    closing.push_async_callback(asyncio.to_thread, journal.close)
    if settings.serves_records and journal.archive is not None:
        replayer = Replayer(
            archive=journal.archive,
            models=pipeline.models,
            predict=pipeline.predict,
            work_out=partial(pipeline.explain, recorded=False),
            explain=pipeline.explain,
            policies={policy.id: policy.digest for policy in pipeline.policies.values()},
            software=versions(SOFTWARE),
        )
        grpc.serve_records(replayer)


def _read(whole: Settings, worker: Worker | None) -> Settings:
    """Read settings again; raises SettingsError."""
    fresh = whole.sources.load()
    return worker.settings(fresh) if worker else fresh


async def _then(first: Awaitable[None], second: Callable[[], Awaitable[object]]) -> None:
    await first
    await second()


async def _load_all(
    settings: Settings,
    compute: Dispatcher,
    pipeline: Pipeline,
    health: Health,
    metrics: Metrics,
) -> None:
    """Load every model on the device's thread, one after the other; each serves as soon as it is ready."""
    for spec in settings.models:
        started = time.perf_counter()
        load = partial(load_model, spec.path, device=spec.device, dtype=spec.dtype, max_units=settings.limits.max_units)
        model = await compute.load(spec.name, load)
        entry = make_entry(spec, model, settings)
        pipeline.add_model(entry)
        if pipeline.watch is not None:
            pipeline.watch.serve(entry.card)
        metrics.model_loaded(entry.card, time.perf_counter() - started)
        await health.mark(spec.name, ready=True)
        logs.event(
            _log,
            logging.INFO if entry.card.explainable else logging.WARNING,
            "model_loaded",
            model=spec.name,
            digest=model.digest,
            explainable=entry.card.explainable,
            failed_self_tests=list(model.failed),
            calibration=entry.card.calibration.id,
        )
        bounds = compute.bounds(spec.name)
        level = logging.WARNING if bounds.tight else logging.INFO
        logs.event(_log, level, "memory_measured", model=spec.name, tight=bounds.tight, **asdict(bounds))


async def _not_ready(names: Iterable[str], health: Health, metrics: Metrics) -> None:
    """Say that nothing can be served any more: the device is lost."""
    for name in names:
        metrics.model_ready(name, ready=False)
        await health.mark(name, ready=False)


def make_entry(spec: ModelSpec, model: LoadedModel, settings: Settings) -> Entry:
    """Describe a loaded model; raises ModelRejected for a threshold or calibration that does not fit it."""
    if spec.threshold is not None and spec.threshold.label not in model.labels:
        message = f"model {spec.name}: threshold.label {spec.threshold.label!r} is none of {', '.join(model.labels)}"
        raise ModelRejected(message)
    beside = calibration_path(spec.path)
    path = spec.calibration or (beside if beside.is_file() else None)
    calibration = None if path is None else read_calibration(spec.name, path, model.digest, model.backend.dtype)
    card = model.card(
        spec.name,
        revision=spec.revision,
        max_units=settings.limits.max_units,
        max_characters=settings.limits.max_characters,
        calibration=calibration.reference() if calibration else UNCALIBRATED,
        threshold=spec.threshold,
    )
    return Entry(card=card, calibration=calibration)


def read_calibration(name: str, path: Path, digest: str, dtype: str) -> Calibration:
    """Read a model's calibration file; raises ModelRejected."""
    try:
        return parse_calibration(json.loads(path.read_text()), model_digest=digest, dtype=dtype, policy=STANDARD)
    except (OSError, ValueError) as error:
        message = f"model {name}: calibration {path} cannot be used: {error}"
        raise ModelRejected(message) from error


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


def _policy(policy: Policy, settings: Settings) -> Policy:
    return replace(policy, require_calibration=True) if settings.explain.require_calibration else policy
