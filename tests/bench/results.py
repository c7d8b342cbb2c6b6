"""The one writer of results: a page and its numbers under one name, headed by what was measured, where and how.

Files are named DATE-NAME.md and DATE-NAME.json, in `tests/bench/results` unless a command is told otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from rollcall.telemetry.versions import versions
from tests.bench.markdown import pairs

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parents[2]
LIBRARIES = ("torch", "transformers", "numpy")
PLACES = frozenset({"--out", "--json", "--work", "--model", "--note", "--resume"})
"""Options that say where things are kept or what else to say: they change nothing that is measured."""
HASH_DIGITS = 12


def log(line: str) -> None:
    """Tell how far we are, beside the tables."""
    print(line, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where numbers come from: the day, the command, the code and the machine, and what a reader should know."""

    date: str
    command: str
    code: dict[str, str]
    machine: dict[str, str]
    note: str = ""

    def head(self, title: str) -> list[str]:
        """Open a page, in blocks."""
        return [
            f"# {title}, {self.date}",
            f"`{self.command}`",
            f"Measured with {pairs(self.machine)}; code: {pairs(self.code)}.",
            *([self.note] if self.note else []),
        ]

    @property
    def comparable(self) -> tuple[object, ...]:
        """What must be equal for numbers of two runs to stand in one table."""
        return self.date, self.code, self.machine


def origin(
    module: str, arguments: Sequence[str] | None, *, threads: int, note: str, also: Iterable[str] = ()
) -> Origin:
    """Describe a run that begins now: `also` names further libraries whose versions count."""
    given = sys.argv[1:] if arguments is None else arguments
    return Origin(
        date=datetime.now(tz=UTC).date().isoformat(),
        command=shlex.join(["python", "-m", module, *shown(given)]),
        code=code(),
        machine=machine(threads, also),
        note=note,
    )


def shown(arguments: Sequence[str]) -> list[str]:
    """Return the options that change what is measured, with their values: not those that say where things are kept."""
    kept: list[str] = []
    hidden = False
    for argument in arguments:
        if argument.startswith("--"):
            hidden = argument.partition("=")[0] in PLACES
        if not hidden:
            kept.append(argument)
    return kept


def code() -> dict[str, str]:
    """Name the commit, and the tree of the service in it, which stays the same when commits are put on another base.

    Says so where files differ from the commit, results apart; empty where there is no history to look at.
    """
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {}
    tree = _git("rev-parse", "HEAD:service") or ""
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!tests/bench/results")
    return {
        "commit": commit[:HASH_DIGITS] + (" with changes" if changed else ""),
        "service tree": tree[:HASH_DIGITS],
    }


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def machine(threads: int, also: Iterable[str] = ()) -> dict[str, str]:
    """Say what is measured on: hardware, and the versions that count."""
    known = versions((*LIBRARIES, *also))
    return {
        "processor": _processor(),
        "cores": f"{len(os.sched_getaffinity(0))}, {threads} of them computing",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
        **known,
        "vector instructions": torch.backends.cpu.get_cpu_capability(),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where a page and its numbers go; None means nowhere."""

    page: Path | None
    numbers: Path | None

    def write(self, page: str, origin: Origin, numbers: Mapping[str, Any]) -> None:
        """Write both, whole or not at all, so that a run that is cut leaves what was written before."""
        whole = {"origin": asdict(origin), **numbers}
        for file, text in ((self.page, page), (self.numbers, json.dumps(whole, indent=1) + "\n")):
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                part = file.with_name(f"{file.name}.part")
                part.write_text(text)
                part.replace(file)

    def tell(self) -> None:
        """Say where they are."""
        for file in (self.page, self.numbers):
            if file is not None:
                log(f"wrote {file}")


def add_options(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options that all benchmarks share."""
    default = f"default: {RESULTS.relative_to(ROOT)}/DATE-{name}"
    parser.add_argument("--out", type=Path, metavar="FILE.md", help=f"write the page there ({default}.md)")
    parser.add_argument("--json", type=Path, metavar="FILE", help=f"write all numbers there ({default}.json)")
    parser.add_argument("--note", default="", metavar="TEXT", help="a sentence for the page: what else the machine did")


def files(name: str, date: str, *, page: Path | None, numbers: Path | None, keep: bool = True) -> Files:
    """Where results go: as told, else by date and name; with `keep` off only where told.

    Where only one of both is told, the other one lies beside it.
    """
    if not keep:
        return Files(page=page, numbers=numbers)
    page = page or (numbers.with_suffix(".md") if numbers else RESULTS / f"{date}-{name}.md")
    return Files(page=page, numbers=numbers or page.with_suffix(".json"))
