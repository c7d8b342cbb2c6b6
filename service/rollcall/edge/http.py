"""The admin door: metrics, probes and a status page over plain HTTP, for operators on a trusted network.

/livez   200 while the process can do work, else 503: a reason to restart it
/readyz  200 while requests should be sent here, else 503, with each model's readiness
/metrics what Prometheus scrapes, rendered off the event loop and at most once a second
/statusz versions, models with digests and self-tests, settings, and what is going on; never an input
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from aiohttp import web

from rollcall.telemetry.metrics import CONTENT_TYPE, CONTENT_TYPE_EXEMPLARS
from rollcall.telemetry.versions import versions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rollcall.domain.model import ModelCard
    from rollcall.edge.health import Health
    from rollcall.edge.port import ServicePort
    from rollcall.settings import Settings
    from rollcall.telemetry.metrics import Metrics

RENDER_INTERVAL_SECONDS = 1.0
OPEN_METRICS = "application/openmetrics-text"


class AdminServer:
    """The HTTP port. `alive` tells whether the compute thread works; `settings` returns those in force.

    `batches` tells by model, ready for JSON, what bounds its batches; `worker` which of several this is. With
    `exemplars` whoever asks for metrics in OpenMetrics' format gets it, which has room for them.
    """

    def __init__(
        self,
        *,
        settings: Callable[[], Settings],
        port: ServicePort,
        health: Health,
        metrics: Metrics,
        alive: Callable[[], bool],
        batches: Callable[[], Mapping[str, object]] = dict,
        worker: Mapping[str, str | int] | None = None,
        exemplars: bool = False,
    ) -> None:
        self._settings = settings
        self._port = port
        self._health = health
        self._metrics = metrics
        self._alive = alive
        self._batches = batches
        self._worker = worker
        self._exemplars = exemplars
        self._started = time.monotonic()
        self._rendering = asyncio.Lock()
        self._rendered: dict[bool, tuple[float, bytes]] = {}
        application = web.Application()
        application.add_routes(
            [
                web.get("/metrics", self._get_metrics),
                web.get("/livez", self._get_livez),
                web.get("/readyz", self._get_readyz),
                web.get("/statusz", self._get_statusz),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False)

    async def start(self) -> int:
        """Open the door; return the port. Raises OSError where the address cannot be had."""
        admin = self._settings().admin
        await self._runner.setup()
        await web.TCPSite(self._runner, admin.host, admin.port).start()
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """Close the door. The last to close, so that probes and scrapes see the others close."""
        await self._runner.cleanup()

    async def _get_metrics(self, request: web.Request) -> web.Response:
        exemplars = self._exemplars and OPEN_METRICS in request.headers.get("Accept", "")
        async with self._rendering:
            known = self._rendered.get(exemplars)
            if known is None or time.monotonic() - known[0] >= RENDER_INTERVAL_SECONDS:
                body = await asyncio.to_thread(self._metrics.exposition, exemplars=exemplars)
                known = self._rendered[exemplars] = (time.monotonic(), body)
        headers = {"Content-Type": CONTENT_TYPE_EXEMPLARS if exemplars else CONTENT_TYPE}
        return web.Response(body=known[1], headers=headers)

    async def _get_livez(self, request: web.Request) -> web.Response:
        del request
        alive = self._alive()
        return web.json_response({"alive": alive}, status=200 if alive else 503)

    async def _get_readyz(self, request: web.Request) -> web.Response:
        del request
        health = self._health
        content = {"ready": health.ready, "draining": health.draining, "models": dict(health.models)}
        return web.json_response(content, status=200 if health.ready else 503)

    async def _get_statusz(self, request: web.Request) -> web.Response:
        del request
        return web.json_response(
            {
                "versions": versions(),
                "uptime_seconds": round(time.monotonic() - self._started, 3),
                "ready": self._health.ready,
                "draining": self._health.draining,
                **asdict(self._metrics.load()),
                "default_model": self._port.default_model,
                "models": {card.ref.name: _describe(card) for card in self._port.models()},
                **({"worker": self._worker} if self._worker else {}),
                "batches": self._batches(),
                "settings": self._settings().public(),
            }
        )


def _describe(card: ModelCard) -> dict[str, object]:
    return {
        **asdict(card.ref),
        "family": card.family,
        "explainable": card.explainable,
        "calibration": card.calibration.id,
        "self_tests": [asdict(test) for test in card.self_tests],
    }
