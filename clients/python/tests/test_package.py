"""What the package brings along, and what it must not."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from importlib import resources

import pytest

import rollcall_client


def _python(program: str) -> None:
    """Run a program in a fresh interpreter that finds what this one finds, with warnings as errors."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60, env=environment)  # noqa: S603 - our own text


def test_only_grpc_and_protobuf_are_needed() -> None:
    """Importing everything loads neither numpy nor the packages whose protos would clash."""
    _python(
        "import sys, rollcall_client, rollcall_client.html, rollcall_client.terminal\n"
        "assert not {'numpy', 'google.rpc', 'grpc_status', 'googleapis'} & set(sys.modules)"
    )


@pytest.mark.parametrize("order", ["rollcall_client, google.rpc.status_pb2", "google.rpc.status_pb2, rollcall_client"])
def test_lives_beside_the_published_error_details(order: str) -> None:
    """A program may load googleapis-common-protos too, before or after."""
    _python(f"import {order}, google.rpc.error_details_pb2, rollcall_client._status")


def test_everything_public_is_listed() -> None:
    """The list of names is complete, sorted by ruff, and leaves modules out."""
    public = {
        name
        for name, value in vars(rollcall_client).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert set(rollcall_client.__all__) == public


def test_is_marked_as_typed() -> None:
    """Type checkers of callers read the annotations."""
    assert resources.files(rollcall_client).joinpath("py.typed").is_file()
