"""A real Prometheus scrapes a real server under load: every picture has numbers, and an alert is delivered."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rollcall.demo.server import ServerProcess, server_process
from rollcall_client import Client, RollcallError
from tests.contract.test_alerts import ALERTS
from tests.monitoring import ROOT, Monitoring, monitoring, needs_prometheus

pytestmark = needs_prometheus

LOAD_SECONDS = 20.0
PATIENCE_SECONDS = 90.0
TEXTS = (
    "A wonderful, moving film with a great cast.",
    "The plot is thin, but the actors are charming.",
    "Dull, slow and far too long.",
    "What a lovely surprise this little comedy turned out to be.",
)
SETTINGS = {
    "ROLLCALL_EXPLAIN_RECHECK_SHARE": "1",
    "ROLLCALL_LIMITS_MAX_QUEUE_SECONDS": "0.2",
    "ROLLCALL_AUDIT_MAX_SPOOL_BYTES": str(1 << 20),
    "ROLLCALL_AUDIT_MODE": "full",
}
VARIABLES = ("$namespace", "$job", "$instance", "$model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A server with its records, and what watches it."""

    server: ServerProcess
    monitoring: Monitoring
    records: Path


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Serve the demo model, watch it, and let happen to it what a dashboard can show."""
    scratch = tmp_path_factory.mktemp("monitoring")
    records = scratch / "audit"
    settings = {**SETTINGS, "ROLLCALL_AUDIT_DIRECTORY": str(records)}
    with server_process("--demo", environment=settings) as server, monitoring(server.admin, scratch) as watching:
        load(server)
        yield Watched(server=server, monitoring=watching, records=records)


def load(server: ServerProcess) -> None:
    """Ask rightly and wrongly, alone and all at once, and wait until an answer has been checked again."""
    until = time.monotonic() + LOAD_SECONDS
    with Client(server.target, timeout=60, retries=0) as client, ThreadPoolExecutor(8) as callers:
        while time.monotonic() < until:
            for text in TEXTS:
                client.predict(text)
                client.explain(text, reported_label="negative")
                client.explain(text, max_rows=12)
            with suppress(RollcallError):
                client.explain("")
            crowd = [*TEXTS, *TEXTS, *(f"{text} {text}" for text in TEXTS)]
            for answer in [callers.submit(client.explain, text) for text in crowd]:
                with suppress(RollcallError):
                    answer.result()
        while 'rollcall_rechecks_total{outcome="done"} 0' in server.metrics():
            assert time.monotonic() < until + PATIENCE_SECONDS
            time.sleep(0.2)
    time.sleep(3)  # two more scrapes and evaluations


def questions() -> list[Any]:
    """Every query of every dashboard, those of annotations and of variables included."""
    found = []
    for file in sorted((ROOT / "helm" / "rollcall" / "dashboards").glob("*.json")):
        board = json.loads(file.read_text())
        found += [(f"{file.stem}: {item['name']}", item["expr"]) for item in board["annotations"]["list"]]
        for panel in board["panels"]:
            found += [(f"{file.stem}: {panel['title']}", target["expr"]) for target in panel.get("targets", ())]
    return [pytest.param(expr, id=f"{name} {number}") for number, (name, expr) in enumerate(found)]


@pytest.mark.parametrize("expr", questions())
def test_every_picture_has_numbers(watched: Watched, expr: str) -> None:
    """No query is empty, and not all of its numbers are NaN."""
    for variable in VARIABLES:
        expr = expr.replace(variable, ".*")
    found = watched.monitoring.query(expr.replace("$__rate_interval", "2m"))
    assert any(not math.isnan(float(sample["value"][1])) for sample in found), f"nothing comes of {expr}"


def test_the_rules_are_in_force(watched: Watched) -> None:
    """Prometheus evaluates all groups without errors, and this server is what they are about."""
    health = watched.monitoring.rules()
    assert len(health) > len(ALERTS)
    assert set(health.values()) == {"ok"}
    burning = {sample["metric"]["slo"] for sample in watched.monitoring.query("rollcall:slo_burn:rate5m")}
    assert burning == {"availability", "capacity", "predict_latency", "explain_latency", "coverage", "records"}


def test_an_alert_reaches_whoever_listens(watched: Watched) -> None:
    """The log's database is locked, the spool fills up, answers are refused, and somebody is paged."""
    with closing(sqlite3.connect(watched.records / "log.db", isolation_level=None, timeout=60)) as database:
        database.execute("BEGIN EXCLUSIVE")
        with Client(watched.server.target, timeout=60, retries=3) as client:
            refused = refuse(client)
        alert = watched.monitoring.delivered("RollcallRecordsRefused", PATIENCE_SECONDS)
        database.execute("ROLLBACK")
    assert refused == "RESOURCE_EXHAUSTED"
    assert alert["status"] == "firing"
    assert alert["labels"]["severity"] == "page"
    assert alert["labels"]["job"] == "rollcall"
    assert (ROOT / alert["annotations"]["runbook_url"]).is_file()


def refuse(client: Client) -> str:
    """Explain until an answer is refused; return the code."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        for text in TEXTS:
            try:
                client.explain(f"{text} {text} {text}")
            except RollcallError as error:
                if error.code != "UNAVAILABLE":
                    return error.code
    return "none"
