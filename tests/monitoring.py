"""A real Prometheus and a real Alertmanager (Debian's packages) beside a server of ours, on free loopback ports."""

from __future__ import annotations

import json
import os
import queue
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import urlopen

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
RULES = ROOT / "helm" / "rollcall" / "rules"
PROGRAMS = ("prometheus", "prometheus-alertmanager")
START_SECONDS = 30.0
INTERVAL = "1s"
"""Of scrapes and rules: a minute's load must do for what takes hours in production."""

needs_prometheus = pytest.mark.skipif(
    not all(map(shutil.which, PROGRAMS)) and os.environ.get("CI") != "true",
    reason="PROMETHEUS IS MISSING, nothing scrapes: apt-get install prometheus prometheus-alertmanager",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitoring:
    """What watches a server, and what hears its alerts."""

    url: str
    alerts: queue.Queue[dict[str, Any]] = field(repr=False)
    """Alerts as they were delivered."""

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Ask for a vector (or a scalar); raises AssertionError where Prometheus does not accept the question."""
        result: list[dict[str, Any]] = self._ask(f"query?{urlencode({'query': expr})}")["result"]
        return result

    def rules(self) -> dict[tuple[str, str, str], str]:
        """Health of each rule, by its group, name and labels."""
        return {
            (group["name"], rule["name"], str(rule.get("labels"))): rule["health"]
            for group in self._ask("rules")["groups"]
            for rule in group["rules"]
        }

    def exemplars(self, expr: str) -> list[dict[str, str]]:
        """Labels of the exemplars of the last hour behind an expression."""
        now = time.time()
        asked = urlencode({"query": expr, "start": now - 3600, "end": now + 60})
        return [each["labels"] for series in self._ask(f"query_exemplars?{asked}") for each in series["exemplars"]]

    def _ask(self, question: str) -> Any:  # noqa: ANN401 - JSON
        with urlopen(f"{self.url}/api/v1/{question}", timeout=20) as reply:
            answer = json.load(reply)
        assert answer["status"] == "success", answer
        return answer["data"]

    def delivered(self, name: str, patience_seconds: float) -> dict[str, Any]:
        """Wait until an alert of this name is delivered; raises queue.Empty."""
        until = time.monotonic() + patience_seconds
        while True:
            alert = self.alerts.get(timeout=max(until - time.monotonic(), 0.001))
            if alert["labels"]["alertname"] == name:
                return alert


@contextmanager
def monitoring(admin: str, scratch: Path) -> Iterator[Monitoring]:
    """Scrape the server at `admin` with the rules that ship, and deliver its alerts."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    assert not missing, f"{missing} must be on PATH in CI (Debian: apt-get install {' '.join(PROGRAMS)})"
    with ExitStack() as closing:
        heard: queue.Queue[dict[str, Any]] = queue.Queue()
        sink = closing.enter_context(_sink(heard))
        alertmanager, prometheus = free_port(), free_port()
        _write(scratch / "alertmanager.yaml", _alertmanager_settings(sink))
        _write(scratch / "prometheus.yaml", _prometheus_settings(urlsplit(admin).netloc, alertmanager))
        closing.enter_context(
            _process(
                "prometheus-alertmanager",
                f"--config.file={scratch / 'alertmanager.yaml'}",
                f"--storage.path={scratch / 'alertmanager'}",
                f"--web.listen-address=127.0.0.1:{alertmanager}",
                "--cluster.listen-address=",
                ready=f"http://127.0.0.1:{alertmanager}/-/ready",
                log=scratch / "alertmanager.log",
            )
        )
        closing.enter_context(
            _process(
                "prometheus",
                f"--config.file={scratch / 'prometheus.yaml'}",
                f"--storage.tsdb.path={scratch / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{prometheus}",
                "--enable-feature=exemplar-storage",
                ready=f"http://127.0.0.1:{prometheus}/-/ready",
                log=scratch / "prometheus.log",
            )
        )
        yield Monitoring(url=f"http://127.0.0.1:{prometheus}", alerts=heard)


def _prometheus_settings(target: str, alertmanager: int) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL},
        "rule_files": [str(RULES / "*.yaml")],
        "scrape_configs": [
            {
                "job_name": "rollcall",
                "static_configs": [{"targets": [target], "labels": {"namespace": "test"}}],
            }
        ],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}]},
    }


def _alertmanager_settings(sink: str) -> dict[str, Any]:
    return {
        "route": {"receiver": "sink", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "1s"},
        "receivers": [{"name": "sink", "webhook_configs": [{"url": sink}]}],
    }


def _write(path: Path, settings: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(settings))


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def _sink(heard: queue.Queue[dict[str, Any]]) -> Iterator[str]:
    """Take alerts by HTTP, as somebody's pager would; yield where."""

    class Sink(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            for alert in json.loads(self.rfile.read(int(self.headers["Content-Length"])))["alerts"]:
                heard.put(alert)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def _process(program: str, *arguments: str, ready: str, log: Path) -> Iterator[None]:
    """Run a program until the block ends. Raises RuntimeError with the end of its log where it does not come up."""
    with log.open("wb") as stream, subprocess.Popen([program, *arguments], stdout=stream, stderr=stream) as process:
        try:
            until = time.monotonic() + START_SECONDS
            while not _answers(ready):
                if process.poll() is not None or time.monotonic() > until:
                    message = f"{program} did not come up:\n{log.read_text()[-2000:]}"
                    raise RuntimeError(message)
                time.sleep(0.1)
            yield
        finally:
            process.terminate()


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2):
            return True
    except (URLError, OSError):
        return False
