"""A real server process with the demo model and two tiny ones, and the real client."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rollcall.demo.server import ServerProcess, server_process
from rollcall_client import Client
from tests.pictures import make_digits_model
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


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """A server with one model, "photos", which has learnt handwritten digits, and how good it is at unseen ones."""

    process: ServerProcess
    directory: Path
    accuracy: float


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    """Train a small ViT on scikit-learn's digits, and serve it with records."""
    directory, accuracy = make_digits_model(tmp_path_factory.mktemp("photos"))
    records = {"ROLLCALL_AUDIT_DIRECTORY": str(tmp_path_factory.mktemp("records")), "ROLLCALL_AUDIT_MODE": "full"}
    records |= {"ROLLCALL_AUTH_DANGEROUSLY_TRUST_ANYONE": "true"}
    with server_process("--model", f"photos={directory}", environment=records) as process:
        yield Gallery(process=process, directory=directory, accuracy=accuracy)


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    """Talk to the server."""
    with Client(server.target, timeout=CALL_SECONDS) as opened:
        yield opened
