"""Write the image's requirements anew, by version and hash: `make locks`.

From pyproject.toml and constraints.txt, resolved by uv for the image's Python and platform. requirements.txt is what
both targets share; -gpu and -cpu hold the runtimes, torch and ONNX Runtime, and what comes with them; -build what only
the build stage needs. Needs the registries; nothing else here does.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
OF_THE_DEVICE = re.compile(r"torch|triton|nvidia-.*|cuda-.*|onnxruntime.*")
EXTRAS = ("images", "onnx", "otel", "postgresql")
BUILD = ("hatchling", "cyclonedx-bom")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""Where torch without CUDA is; it is no part of PyPI."""
NOTE = "# Made by `make locks`.\n"


def resolve(requirements: Iterable[str], *options: str) -> dict[str, str]:
    """Resolve requirements into one block of text, version and hashes, by package. Raises CalledProcessError."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "-", "--generate-hashes", "--no-header", "--no-annotate"]
    command += [
        "--no-emit-index-url",
        "--no-emit-find-links",
        "--quiet",
        "--constraints",
        str(ROOT / "constraints.txt"),
    ]
    command += ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28", *options]
    done = subprocess.run(  # noqa: S603 - our own command line
        command, input="\n".join(requirements), stdout=subprocess.PIPE, text=True, check=True
    )
    blocks = re.findall(r"^\S.*(?:\n .*)*", done.stdout, flags=re.MULTILINE)
    return {re.split(r"[=\[]", block)[0]: block for block in blocks}


def write(name: str, blocks: Iterable[str]) -> None:
    """Write one file."""
    (HERE / name).write_text(NOTE + "\n".join(blocks) + "\n")


def main() -> None:
    """Write all four."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = project["dependencies"] + [r for extra in EXTRAS for r in project["optional-dependencies"][extra]]
    ours = [requirement for requirement in declared if not requirement.startswith("rollcall-client")]
    every = resolve(ours)
    write("requirements.txt", (block for name, block in every.items() if not OF_THE_DEVICE.fullmatch(name)))
    write("requirements-gpu.txt", (block for name, block in every.items() if OF_THE_DEVICE.fullmatch(name)))
    tested = (ROOT / "constraints.txt").read_text()
    (torch,) = re.findall(r"^torch==(\S+)", tested, flags=re.MULTILINE)
    (onnx,) = re.findall(r"^onnxruntime-gpu==(\S+)", tested, flags=re.MULTILINE)
    cpu = resolve(
        [f"torch=={torch}+cpu", f"onnxruntime=={onnx}"], "--no-deps", *(sys.argv[1:] or ("--index", CPU_INDEX))
    )
    write("requirements-cpu.txt", cpu.values())
    write("requirements-build.txt", resolve(BUILD).values())


if __name__ == "__main__":
    main()
