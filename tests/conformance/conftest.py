"""A real server with the demo model, and whether foreign clients are to be fetched at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollcall.demo.server import ServerProcess, server_process

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, loudly, where nobody asked for downloads."""
    if os.environ.get("CONFORMANCE") == "1":
        return
    reason = "FOREIGN CLIENTS ARE NOT TRIED: they are downloaded by `make conformance`"
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """Serve the demo model."""
    with server_process("--demo") as process:
        yield process
