"""Build the wheels of service and client and try each in an empty environment: `python -m tests.contract.wheels`.

The client's environment holds nothing but the client's own dependencies; the service's gets both wheels, torch first.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
PROTOBUFS = ("6.33.5", "7.36.2")
"""Oldest and newest protobuf that the stubs must load on."""
STUBS = "import rollcall_client._v1.explanation_service_pb2 as s; print(s.DESCRIPTOR.services_by_name.keys())"


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    """Run a command from a neutral directory; raises CalledProcessError."""
    print("+", *(Path(part).name if isinstance(part, Path) else part for part in command), flush=True)
    with tempfile.TemporaryDirectory() as neutral:
        done = subprocess.run(
            [str(part) for part in command],
            check=True,
            cwd=neutral,
            env={**os.environ, "PIP_CONSTRAINT": str(CONSTRAINTS), "PIP_DISABLE_PIP_VERSION_CHECK": "1", **(env or {})},
            stdout=subprocess.PIPE,
            text=True,
        )
    return done.stdout


def build(project: Path, out: Path) -> Path:
    """Build one wheel."""
    before = set(out.glob("*.whl"))
    run(sys.executable, "-m", "build", "--wheel", "--outdir", out, project)
    (wheel,) = set(out.glob("*.whl")) - before
    return wheel


def environment(directory: Path) -> Path:
    """Make an empty environment and return its Python."""
    venv.create(directory, with_pip=True)
    return directory / "bin" / "python"


def main() -> int:
    """Build, install, try."""
    torch = next(line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("torch=="))
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        client, service = build(ROOT / "clients" / "python", work), build(ROOT, work)
        alone = environment(work / "client")
        run(alone, "-m", "pip", "install", "--quiet", client)
        print(run(alone, "-c", "import rollcall_client; print(rollcall_client.Client, rollcall_client.Flag.FAITHFUL)"))
        for version in PROTOBUFS:
            run(alone, "-m", "pip", "install", "--quiet", f"protobuf=={version}", env={"PIP_CONSTRAINT": ""})
            print(version, run(alone, "-W", "error", "-c", STUBS))
        both = environment(work / "service")
        run(both, "-m", "pip", "install", "--quiet", torch)
        run(both, "-m", "pip", "install", "--quiet", client, service)
        print(run(both.parent / "rollcall", "--version"))
        print(run(both.parent / "rollcall", "demo", "--out", work / "demo")[-600:])
    print("both wheels install into empty environments and work")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
