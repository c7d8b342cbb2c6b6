"""Several workers behind one gRPC port: started, watched, started again, and stopped together.

The supervisor computes nothing and talks to no client; the kernel spreads connections over the workers that listen
(SO_REUSEPORT). It holds the port and the state's directory, so that no second server shares them by accident. A worker
listens once its models are loaded; one that dies, or loses its device, is replaced, later and later while it keeps
dying. If none lives, the supervisor gives up. If the supervisor dies, the workers stop as on SIGTERM.
"""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from rollcall.monitor.ownership import owning
from rollcall.settings import GrpcSettings, Settings, load_settings, reread
from rollcall.telemetry import logs
from rollcall.workers import Worker

_log = logging.getLogger(__name__)

STEADY_SECONDS = 60.0
"""A worker that has been ready for so long is no longer one that keeps dying."""
BACKOFF_SECONDS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Between a death and the next start, by the deaths in a row before it; the last one for all later ones."""
MOST_DEATHS = 5
"""Deaths in a row of each worker, none of them ready, after which the supervisor gives up."""
KILL_SECONDS = 30.0
"""Beyond the time that draining may take: a worker that has not ended then is killed."""

Work = Callable[[Settings, Worker, Callable[[int], None]], int]
"""What a worker does until it is told to stop; it calls its last argument with its admin port when it is ready, and
returns an exit code. Must be importable: it runs in a process that is started anew."""


@dataclass(slots=True, kw_only=True)
class Restarts:
    """When workers that died are started again. Pure; the clock is passed in."""

    workers: int
    deaths: dict[int, int] = field(default_factory=dict)
    """Of each worker, in a row."""
    ready_since: dict[int, float] = field(default_factory=dict)

    def ready(self, index: int, now: float) -> None:
        """A worker takes requests."""
        self.ready_since[index] = now

    def died(self, index: int, now: float) -> float:
        """A worker is gone; returns when to start it again."""
        since = self.ready_since.pop(index, None)
        before = 0 if since is not None and now - since >= STEADY_SECONDS else self.deaths.get(index, 0)
        self.deaths[index] = before + 1
        return now + BACKOFF_SECONDS[min(before, len(BACKOFF_SECONDS) - 1)]

    @property
    def hopeless(self) -> bool:
        """Whether all die, again and again."""
        return not self.ready_since and all(self.deaths.get(i, 0) >= MOST_DEATHS for i in range(self.workers))


@dataclass(slots=True, kw_only=True)
class Running:
    """A worker's process, and where it says that it is ready; `admin_port` once it has."""

    process: SpawnProcess
    news: Connection
    settings: Settings
    """What it was started with."""
    admin_port: int | None = None


def supervise(settings: Settings, work: Work) -> int:
    """Run a worker for each of `settings.devices` until SIGTERM or SIGINT; return the exit code.

    SIGHUP reads the settings again, here and in every worker. Code 1 if no worker could be made ready, if all of them
    keep dying, or if port or state belong to somebody else.
    """
    logs.configure(sys.stderr, level=settings.log.level.value, layout=settings.log.format.value)
    try:
        with _state_owned(settings), reserved_port(settings.grpc) as port, _signals() as asked:
            return Supervisor(settings=settings, work=work, grpc_port=port).run(asked)
    except OSError as error:
        logs.event(_log, logging.ERROR, "cannot_serve", problem=str(error))
        return 1


@dataclass(slots=True, kw_only=True)
class Supervisor:
    """What is known of the workers, and the loop that acts on it."""

    settings: Settings
    work: Work
    grpc_port: int
    running: dict[int, Running] = field(default_factory=dict)
    due: dict[int, float] = field(default_factory=dict)
    """When workers that are not running are to be started."""
    told: bool = False
    """Whether "ready" was logged: all workers were ready at least once."""
    restarts: Restarts = field(init=False)

    def __post_init__(self) -> None:
        """Let all workers be due."""
        self.restarts = Restarts(workers=len(self.settings.devices))
        self.due = dict.fromkeys(range(len(self.settings.devices)), 0.0)

    def run(self, asked: socket.socket) -> int:
        """Start, watch and replace workers until asked to stop, or until there is no hope; return the exit code."""
        try:
            while True:
                for index in [i for i, at in self.due.items() if at <= time.monotonic()]:
                    self._start(index)
                numbers = self._wait(asked)
                if numbers & {signal.SIGTERM, signal.SIGINT}:
                    logs.event(_log, logging.INFO, "stopping_workers")
                    return 0
                if signal.SIGHUP in numbers:
                    self._reload()
                if self._given_up():
                    return 1
        finally:
            self._stop()
            logs.event(_log, logging.INFO, "workers_stopped")

    # --- one turn ----------------------------------------------------------------------------------------------------

    def _start(self, index: int) -> None:
        del self.due[index]
        worker = Worker(index=index, devices=self.settings.devices, grpc_port=self.grpc_port)
        spawning = multiprocessing.get_context("spawn")
        news, tell = spawning.Pipe(duplex=False)
        process = spawning.Process(
            target=_work, args=(self.work, self.settings, worker, tell), name=f"rollcall-worker-{index}", daemon=True
        )
        process.start()
        tell.close()  # the worker's end alone: when it dies, ours says so
        self.running[index] = Running(process=process, news=news, settings=self.settings)
        logs.event(_log, logging.INFO, "worker_started", worker=index, pid=process.pid, device=worker.device)

    def _wait(self, asked: socket.socket) -> set[int]:
        """Wait for the next thing to happen; note who is ready and who died; return the signals that came."""
        timeout = max(0.0, min(self.due.values()) - time.monotonic()) if self.due else None
        happened = wait([asked, *(each.news for each in self.running.values())], timeout)
        for index, each in list(self.running.items()):
            if each.news in happened:
                self._hear(index, each)
        return set(asked.recv(64)) if asked in happened else set()

    def _hear(self, index: int, each: Running) -> None:
        try:
            each.admin_port = each.news.recv()
        except (EOFError, OSError):
            self._bury(index, each)
            return
        if each.settings is not self.settings:  # read again while it was starting
            self._send(signal.SIGHUP, each)
        self.restarts.ready(index, time.monotonic())
        logs.event(_log, logging.INFO, "worker_ready", worker=index, admin_port=each.admin_port)
        ports = [found.admin_port for found in self.running.values() if found.admin_port is not None]
        if not self.told and len(ports) == self.restarts.workers:
            self.told = True
            logs.event(_log, logging.INFO, "ready", grpc_port=self.grpc_port, admin_port=min(ports), workers=len(ports))

    def _bury(self, index: int, each: Running) -> None:
        each.news.close()
        each.process.join()
        del self.running[index]
        self.due[index] = self.restarts.died(index, time.monotonic())
        logs.event(
            _log,
            logging.ERROR if each.process.exitcode else logging.WARNING,
            "worker_died",
            worker=index,
            code=each.process.exitcode,
            deaths=self.restarts.deaths[index],
            restart_seconds=round(max(0.0, self.due[index] - time.monotonic()), 3),
        )

    def _given_up(self) -> bool:
        """Whether there is no hope: all keep dying, or one could not even be started for the first time."""
        never_ready = not self.told and bool(self.due)
        if not (never_ready or self.restarts.hopeless):
            return False
        problem = "a worker ended before it was ready" if never_ready else "all workers keep dying"
        logs.event(_log, logging.ERROR, "cannot_serve", problem=problem)
        return True

    def _reload(self) -> None:
        """Whoever is started from now on has the settings that the others take over now."""
        self.settings = reread(self.settings, lambda: load_settings(self.settings.sources)).settings
        self._send(signal.SIGHUP, *(each for each in self.running.values() if each.admin_port is not None))

    @staticmethod
    def _send(number: signal.Signals, *workers: Running) -> None:
        for each in workers:
            if each.process.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(each.process.pid, number)

    def _stop(self) -> None:
        """Let all workers drain, and kill those that do not end."""
        grpc = self.settings.grpc
        self._send(signal.SIGTERM, *self.running.values())
        until = time.monotonic() + grpc.propagation_seconds + grpc.drain_seconds + KILL_SECONDS
        for index, each in self.running.items():
            each.process.join(max(0.0, until - time.monotonic()))
            if each.process.is_alive():
                logs.event(_log, logging.ERROR, "worker_killed", worker=index)
                each.process.kill()
                each.process.join()
            each.news.close()
        self.running.clear()


# --- what the loop stands on -----------------------------------------------------------------------------------------


def _work(work: Work, settings: Settings, worker: Worker, tell: Connection) -> None:
    """Be a worker: the first thing that its process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all of us: the supervisor passes it on
    raise SystemExit(work(settings, worker, tell.send))


@contextmanager
def reserved_port(grpc: GrpcSettings) -> Iterator[int]:
    """Hold the gRPC port for those who share it, and nobody else; yields its number. Raises OSError.

    A socket that never listens gets no connections, but keeps out whoever does not mean to share.
    """
    where = f"{grpc.host}:{grpc.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            grpc.host, grpc.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as alone:  # fails beside others who share the port among themselves
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind(address)
        held = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _no_port(where) from error
    with held:
        try:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind(address)
        except OSError as error:
            raise _no_port(where) from error
        yield int(held.getsockname()[1])


def _no_port(where: str) -> OSError:
    return OSError(errno.EADDRNOTAVAIL, f"cannot listen for gRPC on {where}; set another grpc.host or grpc.port")


@contextmanager
def _signals(
    numbers: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP),
) -> Iterator[socket.socket]:
    """Turn signals into bytes that can be waited for; yields where they arrive."""
    arrive, send = socket.socketpair()
    with arrive, send:
        for end in (arrive, send):
            end.settimeout(0)
        before = {number: signal.signal(number, lambda *_: None) for number in numbers}
        wakeup = signal.set_wakeup_fd(send.fileno(), warn_on_full_buffer=False)
        try:
            yield arrive
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _state_owned(settings: Settings) -> Iterator[None]:
    if settings.state.directory is None:
        yield
        return
    with owning(settings.state.directory):
        yield
