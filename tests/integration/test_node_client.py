"""The Node client, built as its readers build it, against a real server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollcall.demo.server import ServerProcess

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "clients" / "node"
NPM = shutil.which("npm")
IGNORED = shutil.ignore_patterns("node_modules", "build")
EXAMPLES = [
    example
    for page in (ROOT / "README.md", CLIENT / "README.md")
    for example in re.findall(r"^```ts\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
]

pytestmark = pytest.mark.skipif(
    NPM is None and os.environ.get("CI") != "true",
    reason="NPM IS MISSING, the Node client is not tested: install Node 20 (Debian: apt-get install nodejs npm)",
)


def run(directory: Path, *command: str, **environment: str) -> str:
    """Run a command in a directory; return what it prints. Fails with all that it said."""
    done = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, "PYTHON": sys.executable, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Copy, install and build the package; protos lie beside it as in the repository."""
    assert NPM is not None, "npm must be on PATH in CI (Debian: apt-get install nodejs npm)"
    root = tmp_path_factory.mktemp("node")
    shutil.copytree(CLIENT, root / "clients" / "node", ignore=IGNORED)
    shutil.copytree(ROOT / "protos", root / "protos")
    directory = root / "clients" / "node"
    run(directory, "npm", "ci", "--no-audit", "--no-fund")
    run(directory, "npm", "run", "build")
    yield directory
    shutil.rmtree(directory / "node_modules")


def test_types_are_what_the_protos_say(package: Path) -> None:
    """Nobody edits what is generated, and a change of the protos reaches this client."""
    run(package, "sh", "generate.sh", "generated")
    made, kept = (
        {f.relative_to(d): f.read_text() for f in d.rglob("*.ts")} for d in (package / "generated", CLIENT / "src/gen")
    )
    assert made == kept


def test_the_client_passes_its_own_tests(package: Path, server: ServerProcess) -> None:
    """Promises, streams, deadlines, cancelling, retries and typed errors, against a real server and one that fails."""
    assert re.search(r"# fail 0\n", run(package, "npm", "test", ROLLCALL_TARGET=server.target))


def test_the_example_prints_a_verdict(package: Path, server: ServerProcess) -> None:
    """The first thing that a reader runs."""
    printed = run(package, "npm", "run", "--silent", "example", "--", server.target, "A wonderful, moving film.")
    assert re.match(r"(positive|negative): (FAITHFUL|UNFAITHFUL|INCONCLUSIVE) \(\w+\)\n", printed)


def test_the_example_says_what_is_wrong(package: Path, server: ServerProcess) -> None:
    """A mistake of the caller is an exit code and a sentence, no stack."""
    command = ["node", "build/examples/explain.js", server.target, ""]
    done = subprocess.run(command, cwd=package, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("INVALID_ARGUMENT: ")


@pytest.mark.parametrize("example", EXAMPLES, ids=["overview", "first", "progress"])
def test_the_readmes_run(package: Path, server: ServerProcess, example: str) -> None:
    """Examples are checked by the compiler and run as they stand, on another port, by the package's own name."""
    (package / "examples" / "readme.ts").write_text(example.replace("127.0.0.1:8001", server.target))
    run(package, "npm", "run", "build")
    assert run(package, "node", "build/examples/readme.js").strip()


def test_the_package_holds_what_it_exports(package: Path) -> None:
    """No tests, no sources; the entry and its types are there."""
    listed = run(package, "npm", "pack", "--dry-run", "--json")
    assert '"build/src/index.js"' in listed
    assert '"build/src/index.d.ts"' in listed
    assert "test/" not in listed.replace("build/src", "")
