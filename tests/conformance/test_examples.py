"""The examples in other languages, compiled with Debian's toolchains and run against a real server; and `buf curl`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rollcall.demo.server import ServerProcess

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
NEEDS = {"go": ("go", "protoc", "protoc-gen-go", "protoc-gen-go-grpc"), "java": ("javac", "protoc", "grpc_java_plugin")}
VERDICT = r"(positive|negative): (FAITHFUL|UNFAITHFUL|INCONCLUSIVE) \(\w+\)\n(\S+ +[01]\.\d\d [+-]\d+\.\d\d\n)*"
BUF = Path(sys.executable).parent / "buf"


@pytest.fixture(scope="module", params=["go", "java"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build an example as its recipe says; skipped, loudly, where the toolchain is absent, but not in CI."""
    missing = [each for each in NEEDS[request.param] if shutil.which(each) is None]
    recipe = ROOT / "clients" / request.param / "build.sh"
    if missing and os.environ.get("CI") != "true":
        pytest.skip(f"NO {request.param.upper()}: {missing} are missing; {recipe} names Debian's packages")
    assert not missing, f"{missing} must be on PATH in CI; {recipe} names Debian's packages"
    out = tmp_path_factory.mktemp(request.param)
    done = subprocess.run(["/bin/sh", recipe, out], capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "explain"


def explain(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an example."""
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=120)


def test_the_example_prints_a_verdict(program: Path, server: ServerProcess) -> None:
    """The first thing that a reader runs: a label, a flag, and words where they may be shown."""
    done = explain(program, server.target, "A wonderful, moving film.")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(VERDICT, done.stdout)


def test_the_example_says_what_is_wrong(program: Path, server: ServerProcess) -> None:
    """A mistake of the caller is its code, a sentence and the field, and an exit code."""
    done = explain(program, server.target, "")
    assert done.returncode == 1
    assert re.match(r"INVALID_ARGUMENT: .+\n  text\.text .+", done.stderr)


def test_the_example_tries_again_and_gives_up(program: Path) -> None:
    """Nobody there is UNAVAILABLE in the end."""
    done = explain(program, "127.0.0.1:1", "A film.")
    assert done.returncode == 1
    assert done.stderr.startswith("UNAVAILABLE: ")


@pytest.mark.parametrize("schema", ["", " --schema protos"])
def test_the_readmes_curl_gets_a_verdict(server: ServerProcess, schema: str) -> None:
    """`buf curl` explains as the README shows it, by what the server's reflection tells, or by our protos."""
    (command,) = re.findall(r"^    (buf curl (?:.*\\\n)*.*)$", README, flags=re.MULTILINE)
    done = subprocess.run(
        [
            "/bin/sh",
            "-c",
            command.replace("127.0.0.1:8001", server.target).replace("buf curl", f"{BUF} curl{schema}", 1),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"FLAG_(FAITHFUL|UNFAITHFUL|INCONCLUSIVE)", json.loads(done.stdout)["verdict"]["flag"])
