"""The admin port tells operators what goes on, in the forms that probes and Prometheus expect."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from rollcall.edge.health import Health
from rollcall.edge.http import AdminServer
from rollcall.settings import (
    AdminSettings,
    AuditSettings,
    AuthSettings,
    ExplainSettings,
    GrpcSettings,
    LimitSettings,
    LogSettings,
    QuotaSettings,
    RepositorySettings,
    Settings,
    Sources,
    StateSettings,
    TlsSettings,
    TraceSettings,
)
from rollcall.telemetry.metrics import Metrics
from tests.unit.edge import samples
from tests.unit.edge.fakes import FakeHouse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SETTINGS = Settings(
    grpc=GrpcSettings(),
    tls=TlsSettings(),
    auth=AuthSettings(),
    admin=AdminSettings(port=0),
    explain=ExplainSettings(),
    limits=LimitSettings(),
    quota=QuotaSettings(),
    log=LogSettings(),
    traces=TraceSettings(),
    state=StateSettings(),
    audit=AuditSettings(),
    repository=RepositorySettings(),
    models=(),
    default_model=samples.MODEL,
    sources=Sources(environ={"ROLLCALL_ADMIN_PORT": "0"}),
)


class Admin:
    """An open admin port and what stands behind it."""

    def __init__(self, *, exemplars: bool) -> None:
        self.metrics = Metrics(CollectorRegistry(), models=[samples.MODEL], default_model=samples.MODEL)
        self.health = Health([samples.MODEL])
        self.alive = True
        self.server = AdminServer(
            settings=lambda: SETTINGS,
            port=FakeHouse(),
            health=self.health,
            metrics=self.metrics,
            alive=lambda: self.alive,
            exemplars=exemplars,
        )
        self.port = 0

    async def get(self, path: str, accept: str = "*/*") -> tuple[int, str, str]:
        """Fetch a path; return status, content type and body."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.port}{path}", headers={"Accept": accept}) as response,
        ):
            return response.status, response.headers["Content-Type"], await response.text()


@asynccontextmanager
async def open_admin(*, exemplars: bool = False) -> AsyncIterator[Admin]:
    """Serve on a free port for the length of a `with` block."""
    admin = Admin(exemplars=exemplars)
    admin.port = await admin.server.start()
    yield admin
    await admin.server.stop()


async def test_metrics_are_exposed() -> None:
    """Prometheus gets the text format under its content type."""
    async with open_admin() as admin:
        status, content_type, body = await admin.get("/metrics")
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "# TYPE rollcall_requests_total counter" in body


async def test_exemplars_come_where_there_are_some_and_they_are_asked_for() -> None:
    """Who asks for OpenMetrics gets it from a server that traces; without either it is the text format."""
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    async with open_admin() as admin:
        assert (await admin.get("/metrics", accept))[1].startswith("text/plain")
    async with open_admin(exemplars=True) as admin:
        assert (await admin.get("/metrics"))[1].startswith("text/plain")
        status, content_type, body = await admin.get("/metrics", accept)
    assert (status, content_type) == (200, "application/openmetrics-text; version=1.0.0; charset=utf-8")
    assert body.endswith("# EOF\n")
    families = {family.name for family in text_string_to_metric_families(body)}  # type: ignore[no-untyped-call] # theirs
    assert "rollcall_requests" in families


async def test_frequent_scrapes_share_a_rendering() -> None:
    """Scrapers cannot keep the process busy: within a second they get the same rendering."""
    async with open_admin() as admin:
        bodies = {body for _, _, body in await asyncio.gather(*(admin.get("/metrics") for _ in range(5)))}
        admin.metrics.rpc_started("Explain")
        bodies.add((await admin.get("/metrics"))[2])
    assert len(bodies) == 1


async def test_readiness_names_each_model() -> None:
    """An operator sees which model is not ready; a probe sees 503 until all are, and again while draining."""
    async with open_admin() as admin:
        status, _, body = await admin.get("/readyz")
        assert (status, json.loads(body)) == (
            503,
            {"ready": False, "draining": False, "models": {samples.MODEL: False}},
        )
        await admin.health.mark(samples.MODEL, ready=True)
        status, _, body = await admin.get("/readyz")
        assert (status, json.loads(body)["models"]) == (200, {samples.MODEL: True})
        await admin.health.drain()
        status, _, body = await admin.get("/readyz")
        assert (status, json.loads(body)["draining"]) == (503, True)


async def test_liveness_follows_the_worker() -> None:
    """A process whose compute thread is gone asks to be restarted."""
    async with open_admin() as admin:
        assert (await admin.get("/livez"))[0] == 200
        admin.alive = False
        assert (await admin.get("/livez"))[0] == 503


async def test_status_page_tells_what_runs() -> None:
    """The status page names versions, weights, self-tests, settings and load."""
    async with open_admin() as admin:
        admin.metrics.rpc_started("Explain")
        admin.metrics.watch_queue(rows=lambda: 3, tokens=lambda: 0, oldest=lambda: 0.0)
        status, _, body = await admin.get("/statusz")
    page = json.loads(body)
    assert status == 200
    assert {"python", "grpcio", "rollcall"} <= set(page["versions"])
    assert page["uptime_seconds"] >= 0
    assert (page["in_flight"], page["queued"]) == (1, 3)
    model = page["models"][samples.MODEL]
    assert model["digest"] == "sha256:" + "ab" * 32
    assert model["self_tests"][0]["passed"]
    assert page["settings"]["admin"] == {"host": "127.0.0.1", "port": 0}
    assert "sources" not in page["settings"]


async def test_other_paths_and_methods_are_refused() -> None:
    """Nothing can be changed here, and nothing else is shown."""
    async with open_admin() as admin:
        assert (await admin.get("/"))[0] == 404
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://127.0.0.1:{admin.port}/statusz") as response,
        ):
            assert response.status == 405


async def test_a_taken_port_is_reported() -> None:
    """The operator learns that the admin port cannot be had."""
    async with open_admin() as first:
        second = Admin(exemplars=False)
        taken = SETTINGS.admin.__class__(port=first.port)
        second.server = AdminServer(
            settings=lambda: Settings(
                grpc=SETTINGS.grpc,
                tls=SETTINGS.tls,
                auth=SETTINGS.auth,
                admin=taken,
                explain=SETTINGS.explain,
                limits=SETTINGS.limits,
                quota=SETTINGS.quota,
                log=SETTINGS.log,
                traces=SETTINGS.traces,
                state=SETTINGS.state,
                audit=SETTINGS.audit,
                repository=SETTINGS.repository,
                models=(),
                default_model=None,
                sources=SETTINGS.sources,
            ),
            port=FakeHouse(),
            health=second.health,
            metrics=second.metrics,
            alive=lambda: True,
        )
        with pytest.raises(OSError, match=str(first.port)):
            await second.server.start()
        await second.server.stop()
