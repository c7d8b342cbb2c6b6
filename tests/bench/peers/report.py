"""What was found, in Markdown and in JSON: medians, quartiles, agreement, and where a peer is faster."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from tests.bench.peers.measure import Finding, Spread, Timed


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """A peer that was not compared, and why."""

    peer: str
    reason: str
    crashed: bool
    """Whether it could be built and then failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run of the benchmark."""

    command: str
    date: str
    versions: dict[str, str]
    findings: tuple[Finding, ...]
    absent: tuple[Absent, ...]

    @property
    def failed(self) -> bool:
        """Whether scores disagreed somewhere, a peer crashed, or nothing was compared at all."""
        return (
            any(not finding.agrees for finding in self.findings)
            or any(absent.crashed for absent in self.absent)
            or not self.findings
        )

    def as_json(self) -> dict[str, Any]:
        """All numbers."""
        return {
            "command": self.command,
            "date": self.date,
            "machine": machine(),
            "versions": self.versions,
            "findings": [{**asdict(finding), "agrees": finding.agrees} for finding in self.findings],
            "absent": [asdict(absent) for absent in self.absent],
        }

    def as_markdown(self) -> str:
        """A page for the folder of results."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield f"# Rollcall beside its peers, {self.date}"
        yield ""
        yield f"`{self.command}`"
        yield ""
        yield "A random BERT of MiniLM's size (6 layers, 384 wide, 12 heads) in float32, one compute thread on every"
        yield "side. Scores are compared first: what disagrees is not timed. All sides are measured in turn; numbers"
        yield "are medians over texts and repeats, of ratios with [quartiles]. A ratio above 1 means that Rollcall"
        yield "is faster. Tuned is the fastest of the peer's settings that were tried."
        yield ""
        yield "Processor time (of the server's processes where there is one):"
        yield ""
        yield from _table(self.findings, "cpu")
        yield ""
        yield "Wall time of the same measurements:"
        yield ""
        yield from _table(self.findings, "wall")
        yield ""
        facts = ", ".join(f"{name} {value}" for name, value in (machine() | self.versions).items())
        yield f"Measured with {facts}."
        yield from self._slower()
        yield from _notes(self.findings)
        if self.absent:
            yield ""
            yield "Not compared:"
            yield ""
            yield from (f"- {absent.peer}: {' / '.join(absent.reason.splitlines())}" for absent in self.absent)

    def _slower(self) -> Iterator[str]:
        lines = [
            f"- {finding.peer}, {finding.work}, {finding.tokens} tokens, {timed.side}: "
            f"{timed.cpu_ratio.middle:.2f} of our processor time, {timed.wall_ratio.middle:.2f} of our wall time"
            for finding in self.findings
            for timed in (finding.default, finding.tuned)
            if timed is not None and round(min(timed.cpu_ratio.middle, timed.wall_ratio.middle), 2) < 1
        ]
        if lines:
            yield ""
            yield "Where a peer is faster, by one clock or both (the notes below say why):"
            yield ""
            yield from lines


def machine() -> dict[str, str]:
    """What the numbers were measured on."""
    return {
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


HEADS = ("peer", "work", "tokens", "rows", "ours", "peer, defaults", "peer, tuned", "defaults / ours", "tuned / ours")
AGREEMENT = "largest difference"


def _table(findings: Sequence[Finding], clock: str) -> Iterator[str]:
    heads = [*HEADS, AGREEMENT]
    yield f"| {' | '.join(heads)} |"
    yield f"| {' | '.join(['---'] * len(heads))} |"
    for finding in findings:
        yield f"| {' | '.join(_cells(finding, clock))} |"


def _cells(finding: Finding, clock: str) -> list[str]:
    named = [finding.peer, finding.work, str(finding.tokens)]
    agreement = "not compared: cost only" if finding.difference is None else f"{finding.difference:.1e}"
    if finding.ours is None or finding.default is None or finding.tuned is None:
        return [*named, *["-"] * (len(HEADS) - len(named)), f"**MISMATCH** {agreement}"]
    timed = (finding.ours, finding.default, finding.tuned)
    rows = [f"{each.rows:.0f}" for each in timed]
    return [
        *named,
        rows[0] if len(set(rows)) == 1 else " / ".join(rows),
        _time(finding.ours, clock, finding.row),
        _time(finding.default, clock, finding.row),
        f"{_time(finding.tuned, clock, finding.row)}: {finding.tuned.side}",
        _ratio(finding.default, clock, finding.per),
        _ratio(finding.tuned, clock, finding.per),
        agreement,
    ]


def _time(timed: Timed, clock: str, row: str) -> str:
    spread: Spread = getattr(timed, f"{clock}_ms")
    return f"{spread.middle:.0f} ms ({spread.middle / timed.rows:.1f} a {row})"


def _ratio(timed: Timed, clock: str, per: str) -> str:
    spread: Spread = getattr(timed, f"{clock}_ratio")
    return f"{spread.middle:.2f} [{spread.low:.2f}, {spread.high:.2f}]{'' if per == 'work' else f' per {per}'}"


def _notes(findings: Sequence[Finding]) -> Iterator[str]:
    yield ""
    yield "What is identical, and what is not:"
    yield ""
    told: set[str] = set()
    for finding in findings:
        if finding.note not in told:
            told.add(finding.note)
            yield f"- {finding.peer}, {finding.work}: {finding.note}"
