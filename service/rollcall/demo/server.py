"""A real server process on free loopback ports, for the demonstration, the load test and whoever tries things out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

START_SECONDS = 120.0
STOP_SECONDS = 60.0
POLL_SECONDS = 0.05
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProcess:
    """A `rollcall serve` that is ready: its process, gRPC target, admin address and log file."""

    process: subprocess.Popen[bytes]
    target: str
    admin: str
    log: Path

    def metrics(self) -> str:
        """Return the text of /metrics."""
        with urlopen(f"{self.admin}/metrics", timeout=10) as reply:  # noqa: S310 - our own process on loopback
            return str(reply.read().decode())

    def stop(self) -> int:
        """Ask it to stop as an orchestrator would, with SIGTERM; return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


@contextmanager
def server_process(*arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[ServerProcess]:
    """Start `rollcall serve` with `arguments`, wait until it is ready, stop it afterwards. Raises RuntimeError."""
    command = [sys.executable, "-m", "rollcall", "serve", "--grpc-port", "0", "--admin-port", "0", *arguments]
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "server.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(  # noqa: S603 - our own command line
                command, stderr=stream, env={**os.environ, "ROLLCALL_LOG_FORMAT": "json", **(environment or {})}
            )
        try:
            ready = _wait_until_ready(process, log)
            server = ServerProcess(
                process=process,
                target=f"{HOST}:{ready['grpc_port']}",
                admin=f"http://{HOST}:{ready['admin_port']}",
                log=log,
            )
            yield server
            server.stop()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> dict[str, object]:
    """Return the fields of the event "ready"."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines():
            if line.startswith("{") and line.endswith("}"):
                event: dict[str, object] = json.loads(line)
                if event["event"] == "ready":
                    return event
        time.sleep(POLL_SECONDS)
    tail = "\n".join(log.read_text().splitlines()[-10:])
    message = f"the server did not become ready; the end of its log:\n{tail}"
    raise RuntimeError(message)
