"""The life of a process that serves: it starts, takes signals, and ends with a code."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FrameType

from rollcall.app.composing import Running, running
from rollcall.domain.errors import DeviceLost, FileRejected, ModelRejected
from rollcall.engine.threads import configure_threads, spare_pauses
from rollcall.settings import Settings
from rollcall.telemetry import logs
from rollcall.workers import Worker

_log = logging.getLogger(__name__)


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
