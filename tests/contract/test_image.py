"""The image installs what was tested, by hash, and its Dockerfile is clean."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / "image"
LOCKS = ("requirements.txt", "requirements-cpu.txt", "requirements-gpu.txt", "requirements-build.txt")
HADOLINT = shutil.which("hadolint")
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def canonical(name: str) -> str:
    """A package's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(*files: Path) -> dict[str, str]:
    """Versions by package."""
    lines = [line for file in files for line in re.findall(r"^([\w.-]+)==(\S+)", file.read_text(), flags=re.MULTILINE)]
    return {canonical(name): version for name, version in lines}


TESTED = pinned(ROOT / "constraints.txt")


@pytest.mark.parametrize("name", LOCKS)
def test_versions_are_those_that_were_tested(name: str) -> None:
    """Nothing runs in production in another version than in the tests; torch for processors is the same torch."""
    found = pinned(IMAGE / name)
    assert found
    assert {n: v.partition("+")[0] for n, v in found.items() if n in TESTED} == {
        n: TESTED[n] for n in found if n in TESTED
    }
    untested = {n for n in found if n not in TESTED}
    if name in {"requirements.txt", "requirements-cpu.txt"}:
        assert untested <= {"setuptools", "onnxruntime"}


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_has_a_hash(name: str) -> None:
    """A file that was exchanged on its way is not installed."""
    blocks = re.split(r"\n(?=[\w-]+==)", (IMAGE / name).read_text().partition("\n")[2])
    assert blocks
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", block) for block in blocks)


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_every_dependency_is_installed(target: str) -> None:
    """What pyproject.toml asks for is there, the extras too; our own client is built."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    declared = [*project["dependencies"], *optional["onnx"], *optional["postgresql"]]
    other_device = {"cpu": "onnxruntime-gpu", "gpu": "onnxruntime"}[target]
    wanted = {canonical(re.split(r"[<>=!\[ ]", requirement)[0]) for requirement in declared}
    wanted -= {"rollcall-client", other_device}
    assert wanted <= pinned(IMAGE / "requirements.txt", IMAGE / f"requirements-{target}.txt").keys()


def test_the_image_is_what_the_chart_expects() -> None:
    """Version, user, ports and the writable place agree."""
    chart = ROOT / "helm" / "rollcall"
    values = yaml.safe_load((chart / "values.yaml").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert yaml.safe_load((chart / "Chart.yaml").read_text())["appVersion"] == version
    assert f"ARG VERSION={version}\n" in DOCKERFILE
    assert f"USER {values['user']}:{values['user']}\n" in DOCKERFILE
    assert f"EXPOSE {values['ports']['grpc']} {values['ports']['admin']}\n" in DOCKERFILE
    template = (chart / "templates" / "deployment.yaml").read_text()
    chart_environment = dict(re.findall(r'name: (\w+), value: "?([\w/]+)"?', template))
    image_environment = dict(re.findall(r"^\s+(\w+)=(\S+?)(?: \\)?$", DOCKERFILE, flags=re.MULTILINE))
    shared = chart_environment.keys() & image_environment.keys()
    assert {"HOME", "HF_HOME", "TRITON_CACHE_DIR"} <= shared
    assert {key: chart_environment[key] for key in shared} == {key: image_environment[key] for key in shared}


def test_notices_name_what_is_installed() -> None:
    """Every package with its licence, and the texts that it brings."""
    done = subprocess.run([sys.executable, IMAGE / "notices.py"], capture_output=True, text=True, check=True)
    for name in ("torch", "grpcio", "transformers"):
        assert re.search(rf"^{name} [\d.]+\S*: \S+", done.stdout, flags=re.MULTILINE)
    assert "Apache License" in done.stdout
    assert "Redistribution and use in source and binary forms" in done.stdout


@pytest.mark.skipif(
    HADOLINT is None and os.environ.get("CI") != "true",
    reason="HADOLINT IS MISSING, the Dockerfile is not checked: install hadolint",
)
def test_hadolint_finds_nothing() -> None:
    """No finding of any level, and none is ignored."""
    assert HADOLINT is not None, "hadolint must be on PATH in CI"
    done = subprocess.run(
        [HADOLINT, "--format", "json", ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert json.loads(done.stdout) == []
    assert "hadolint ignore" not in DOCKERFILE
