"""A real server process with the demo model and two tiny ones, and the real client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rollcall.demo.server import ServerProcess, server_process
from rollcall_client import Client
from tests.tiny import make_model

CALL_SECONDS = 120.0


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return two tiny random models."""
    root = tmp_path_factory.mktemp("models")
    return {family: make_model(family, root / family) for family in ("roberta", "distilbert")}


@pytest.fixture(scope="session")
def server(tiny_models: dict[str, Path]) -> Iterator[ServerProcess]:
    """Serve the demo model and the tiny ones; the demo model is the default."""
    models = [argument for name, path in tiny_models.items() for argument in ("--model", f"{name}={path}")]
    with server_process("--demo", *models, environment={"ROLLCALL_DEFAULT_MODEL": "demo"}) as process:
        yield process


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    """Talk to the server."""
    with Client(server.target, timeout=CALL_SECONDS) as opened:
        yield opened
