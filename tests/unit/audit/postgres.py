"""A PostgreSQL server of our own: Debian's program on a free port, in a directory that is thrown away."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg
import pytest

ACCOUNT = "postgres"
"""Who runs the server where we are root, which it refuses to be."""


@dataclass(kw_only=True)
class PostgresServer:
    """A server that can be stopped and started; databases of it by URL."""

    programs: Path
    directory: Path
    port: int
    _numbers: count[int] = field(default_factory=count)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.directory}"
        self._run("pg_ctl", "start", "-w", "-l", str(self.directory / "log"), "-o", f"{options} -c fsync=off")

    def stop(self) -> None:
        """Stop it as a power cut would."""
        self._run("pg_ctl", "stop", "-m", "immediate")

    def url(self, name: str = ACCOUNT) -> str:
        """Where a database is."""
        return f"postgresql://{ACCOUNT}@127.0.0.1:{self.port}/{name}"

    def make(self, template: str = "template1") -> str:
        """Make a database, empty or as another one is that nobody has open; return its URL."""
        name = f"log_{next(self._numbers)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        return self.url(name)

    def initialize(self) -> None:
        """Make its files."""
        self._run("initdb", "--auth=trust", "--username", ACCOUNT, "--encoding=UTF8", "--no-sync")

    def _run(self, program: str, *arguments: str) -> None:
        user = ACCOUNT if os.geteuid() == 0 else None
        command = [str(self.programs / program), "-D", str(self.directory / "data"), *arguments]
        subprocess.run(command, check=True, user=user, cwd=self.directory, stdout=subprocess.DEVNULL, timeout=120)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server; skips loudly where there is none to run, but not in continuous integration."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found and os.environ.get("CI") != "true":
        pytest.skip("NOT TESTED: PostgreSQL is not installed (apt-get install postgresql)")
    assert found, "PostgreSQL must be installed in continuous integration"
    directory = Path(tempfile.mkdtemp(prefix=f"rollcall-postgres-{uuid.uuid4().hex[:8]}"))
    if os.geteuid() == 0:
        os.chown(directory, pwd.getpwnam(ACCOUNT).pw_uid, -1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = PostgresServer(programs=found[-1].parent, directory=directory, port=port)
    server.initialize()
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)
