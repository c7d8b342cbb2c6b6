"""Virtual environments of the peers: one each, over one shared base that holds torch and transformers as we pin them.

Built below a folder that is kept between runs; an environment is built again when what it should hold changes.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[3]
SHARED = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "scipy")
"""What every environment has in the version that we are tested with; all else is the peer's own choice."""
PIP_SECONDS = 1200
LAST_LINES = 12
STAMP = "built.json"


class NotBuilt(Exception):
    """An environment could not be built; says what pip said last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What a peer needs: packages, packages that are installed without what they ask for, and empty stand-ins.

    `loose` is for peers whose published pins exclude today's libraries though they run with them; `stubs` are modules
    that such a peer imports and this work never uses.
    """

    name: str
    packages: tuple[str, ...]
    loose: tuple[str, ...] = ()
    stubs: tuple[str, ...] = field(default=())


BASE = Environment(name="base", packages=SHARED)


def default_work() -> Path:
    """Folder of the environments: with all else that is made and never committed."""
    return ROOT / "out" / "peers"


def build(environment: Environment, work: Path) -> Path:
    """Return the environment's Python, building it and the base first where needed; raises NotBuilt."""
    constraints = work / "constraints.txt"
    work.mkdir(parents=True, exist_ok=True)
    constraints.write_text("".join(f"{line}\n" for line in pinned()))
    base = _build(BASE, work, constraints, below=None)
    if environment == BASE:
        return _python(base)
    return _python(_build(environment, work, constraints, below=base))


def pinned() -> list[str]:
    """Lines of our constraints for what all environments share."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line.partition("==")[0] in SHARED]


def _build(environment: Environment, work: Path, constraints: Path, *, below: Path | None) -> Path:
    directory = work / environment.name
    wanted = {**asdict(environment), "pinned": pinned(), "python": platform.python_version(), "below": str(below)}
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
    stamp = directory / STAMP
    if stamp.is_file() and json.loads(stamp.read_text()) == digest:
        return directory
    shutil.rmtree(directory, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(directory)], constraints)
    packages = _packages(directory)
    if below is not None:  # pip sees what the base has, and leaves it there
        (packages / "shared.pth").write_text(f"{_packages(below)}\n")
    # torch by itself and first: no resolver may pick another build of it.
    first = [line for line in pinned() if line.startswith("torch==")] if below is None else []
    for packages_at_once in ([*first], [*environment.packages]):
        if packages_at_once:
            _run(_pip(directory, *packages_at_once), constraints)
    if environment.loose:
        _run(_pip(directory, "--no-deps", *environment.loose), constraints)
    for stub in environment.stubs:
        (packages / f"{stub}.py").write_text('"""Stands in for a package that is imported and not used."""\n')
    stamp.write_text(json.dumps(digest))
    return directory


def _pip(directory: Path, *packages: str) -> list[str]:
    return [str(_python(directory)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]


def _run(command: list[str], constraints: Path) -> None:
    environment = {**os.environ, "PIP_CONSTRAINT": str(constraints)}
    environment.pop("PYTHONPATH", None)
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PIP_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotBuilt(str(error)) from error
    if done.returncode != 0:
        raise NotBuilt("\n".join(done.stdout.splitlines()[-LAST_LINES:]))


def _python(directory: Path) -> Path:
    return directory / "bin" / "python"


def _packages(directory: Path) -> Path:
    return next((directory / "lib").glob("python3*")) / "site-packages"
