"""Environments of foreign clients, each in a folder of its own that is kept between runs: they share nothing with ours.

The Open Inference Protocol's names are registered once per process, so no such client can be imported here.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORK = ROOT / "out" / "conformance"
INSTALL_SECONDS = 1200
STAMP = "built.json"


def python_with(name: str, *packages: str) -> Path:
    """Return the Python of a virtual environment that holds these packages, building it where needed."""
    directory = WORK / name
    if not _is_built(directory, packages):
        shutil.rmtree(directory, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(directory)])
        pip = [str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, *packages])
        _stamp(directory, packages)
    return directory / "bin" / "python"


def node_with(*packages: str) -> Path:
    """Return a folder whose node_modules holds these packages, filling it where needed."""
    directory = WORK / "node"
    if not _is_built(directory, packages):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        _run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(directory), *packages])
        _stamp(directory, packages)
    return directory


def _digest(packages: tuple[str, ...]) -> str:
    return hashlib.sha256(json.dumps([sys.version, *packages]).encode()).hexdigest()


def _is_built(directory: Path, packages: tuple[str, ...]) -> bool:
    stamp = directory / STAMP
    return stamp.is_file() and stamp.read_text() == _digest(packages)


def _stamp(directory: Path, packages: tuple[str, ...]) -> None:
    (directory / STAMP).write_text(_digest(packages))


def _run(command: list[str]) -> None:
    """Run an installer; what it says last is in the error."""
    environment = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "PIP_CONSTRAINT"}}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    if done.returncode != 0:
        raise RuntimeError((done.stdout + done.stderr)[-2000:])
