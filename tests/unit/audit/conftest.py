"""Logs are kept in two kinds of database, and what holds of one must hold of the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rollcall.audit.database import FILE, Database
from tests.unit.audit.postgres import PostgresServer, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Run a PostgreSQL server for all tests."""
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """Name an empty database, of one kind and of the other."""
    if request.param == "sqlite":
        return tmp_path / FILE
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.make()
