"""What was found, in Markdown and in JSON: medians, quartiles, agreement, and where a peer is faster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tests.bench.markdown import DASH, pairs, table
from tests.bench.peers.measure import Finding, Timed
from tests.bench.results import Origin
from tests.bench.spread import Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """A peer that was not compared, and why."""

    peer: str
    reason: str
    crashed: bool
    """Whether it could be built and then failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run of the benchmark, which may have been cut and gone on: `finished` are the peers that are done with."""

    origin: Origin
    settings: dict[str, Any]
    versions: dict[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    absent: tuple[Absent, ...] = ()
    finished: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether scores disagreed somewhere, a peer crashed, or nothing was compared at all."""
        return (
            any(not finding.agrees for finding in self.findings)
            or any(absent.crashed for absent in self.absent)
            or not self.findings
        )

    def as_json(self) -> dict[str, Any]:
        """All numbers, the origin apart."""
        return {
            "settings": self.settings,
            "versions": self.versions,
            "findings": [{**asdict(finding), "agrees": finding.agrees} for finding in self.findings],
            "absent": [asdict(absent) for absent in self.absent],
            "finished": list(self.finished),
        }

    def resumed(self, numbers: Mapping[str, Any]) -> Report:
        """Take over what an earlier run, of the same code on the same machine and day, has finished; else nothing.

        What it found of a peer that it did not finish is measured again.
        """
        if Origin(**numbers["origin"]).comparable != self.origin.comparable or numbers["settings"] != self.settings:
            return self
        finished = tuple(numbers["finished"])
        return replace(
            self,
            versions=dict(numbers["versions"]),
            findings=tuple(Finding.of(each) for each in numbers["findings"] if each["comparison"] in finished),
            absent=tuple(Absent(**each) for each in numbers["absent"] if each["peer"] in finished),
            finished=finished,
        )

    def as_markdown(self) -> str:
        """A page for the folder of results."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        for block in self.origin.head("Rollcall beside its peers"):
            yield block
            yield ""
        yield f"Peers: {pairs(self.versions)}."
        yield ""
        yield "A random BERT of MiniLM's size (6 layers, 384 wide, 12 heads) in float32, one compute thread on every"
        yield "side. Scores are compared first: what disagrees is not timed. All sides are measured in turn; numbers"
        yield "are medians over texts and repeats (n of them), of ratios with [quartiles]. A ratio above 1 means that"
        yield "Rollcall is faster. Tuned is the fastest of the peer's settings that were tried."
        yield ""
        yield "Processor time (of the server's processes where there is one):"
        yield ""
        yield _table(self.findings, "cpu")
        yield ""
        yield "Wall time of the same measurements:"
        yield ""
        yield _table(self.findings, "wall")
        yield from self._slower()
        yield from _notes(self.findings)
        if self.absent:
            yield ""
            yield "Not compared, or not to the end:"
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


HEADS = (
    "peer",
    "work",
    "tokens",
    "n",
    "rows",
    "ours",
    "peer, defaults",
    "peer, tuned",
    "defaults / ours",
    "tuned / ours",
    "largest difference",
)


def _table(findings: Sequence[Finding], clock: str) -> str:
    return table(HEADS, [_cells(finding, clock) for finding in findings])


def _cells(finding: Finding, clock: str) -> list[str]:
    named = [finding.peer, finding.work, str(finding.tokens)]
    agreement = "not compared: cost only" if finding.difference is None else f"{finding.difference:.1e}"
    if finding.ours is None or finding.default is None or finding.tuned is None:
        return [*named, *[DASH] * (len(HEADS) - len(named) - 1), f"**MISMATCH** {agreement}"]
    timed = (finding.ours, finding.default, finding.tuned)
    rows = [f"{each.rows:.0f}" for each in timed]
    return [
        *named,
        str(finding.times),
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
    return f"{spread.text()}{'' if per == 'work' else f' per {per}'}"


def _notes(findings: Sequence[Finding]) -> Iterator[str]:
    yield ""
    yield "What is identical, and what is not:"
    yield ""
    told: set[str] = set()
    for finding in findings:
        if finding.note not in told:
            told.add(finding.note)
            yield f"- {finding.peer}, {finding.work}: {finding.note}"
