"""What a soak is judged by, what it found, and the same in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.growth import Growth, Slope, floor_rise
from tests.bench.markdown import pairs, table
from tests.bench.openloop import MIXES
from tests.bench.process import Sample
from tests.bench.results import Origin
from tests.bench.visits import SERVER_CODES, Outcome

MEMORY_BOUND = 64.0
"""MiB per hour, of the peaks of resident memory in BLOCKS stretches of time after the warm-up.

Where it comes from: peaks of 20 s of the demo model scatter by some 4 MiB around a line, and resemble their neighbours,
so a fit over the last eight of ten minutes is sure to about 20 MiB per hour. The bound is three times that: a server
that leaks nothing is FLAT, and a leak of 2 KiB per request at 25 requests per second, 180 MiB per hour, GROWS.
"""
BLOCKS = 24
WARM_UP_SHARE = 0.2
"""Of the time; memory is not judged before."""
LOAD = 0.8
"""Of the capacity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a soak is judged by. `warm` are the samples after the warm-up, `left` the gauges that are not at 0."""

    warm: list[Sample]
    growth: Growth
    left: dict[str, float]
    started: float
    ended: Counter[str]
    outcomes: list[Outcome]

    def problems(self, *, memory_counts: bool) -> list[str]:
        """List what is wrong; nothing if the soak has passed."""
        found = []
        if memory_counts and self.growth is not Growth.FLAT:
            found.append(f"memory: {self.growth.value}, bound {MEMORY_BOUND:g} MiB per hour")
        for name, values in (
            ("threads", [sample.threads for sample in self.warm]),
            ("file descriptors", [sample.descriptors for sample in self.warm]),
        ):
            if floor_rise(values) > 0:
                found.append(f"{name}: at least {floor_rise(values):g} more at the end")
        bad = Counter(f"{each.manner.value} client: {each.code}" for each in self.outcomes if not each.fine)
        found.extend(f"{count} times {what}" for what, count in sorted(bad.items()))
        strange = {code: count for code, count in self.ended.items() if code not in SERVER_CODES}
        found.extend(f"the server counts {count} times {code}" for code, count in sorted(strange.items()))
        if self.started != self.ended.total():
            found.append(f"{self.started:g} calls started, {self.ended.total()} ended")
        found.extend(f"{name} stays at {value:g}" for name, value in self.left.items())
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that was found."""

    origin: Origin
    model: str
    seconds: float
    capacity_per_second: float
    offered_per_second: float
    outcomes: dict[str, dict[str, int]]
    server_codes: dict[str, int]
    explanations: int
    texts: int
    samples: list[Sample]
    slope: Slope
    growth: Growth
    maxima: dict[str, float]
    problems: list[str]


def markdown(report: Report) -> str:
    """Write the report."""
    warm = [sample for sample in report.samples if sample.at >= WARM_UP_SHARE * report.seconds]
    process = [
        ["resident memory, MiB", *_extremes([sample.memory_mib for sample in report.samples], warm, "memory_mib")],
        ["threads", *_extremes([sample.threads for sample in report.samples], warm, "threads")],
        ["file descriptors", *_extremes([sample.descriptors for sample in report.samples], warm, "descriptors")],
    ]
    slope = report.slope
    setting = (
        f"{report.seconds:g} s of model {report.model}: requests at"
        f" {report.offered_per_second:.1f}/s, {LOAD} times a capacity of {report.capacity_per_second:.1f}/s,"
        f" {MIXES['mixed']:.0%} of them explanations."
    )
    memory = (
        f"Peaks of memory after a warm-up of {WARM_UP_SHARE:.0%}: {slope.per_hour:+.1f} MiB per hour, standard error"
        f" {slope.error:.1f}, scatter {slope.scatter:.1f} MiB; bound {MEMORY_BOUND:g} MiB per hour:"
        f" **{report.growth.value}**."
    )
    counted = (
        f"As the server counts them: {pairs(report.server_codes)}. Most at once: {pairs(report.maxima)}."
        f" {report.explanations} explanations of {report.texts} texts."
    )
    return "\n".join(
        [
            *(line for block in report.origin.head("Soak") for line in (block, "")),
            setting,
            "",
            table(["the server's process", "first", "least after warm-up", "most after warm-up", "last"], process),
            "",
            memory,
            "",
            table(
                ["clients", "how their requests ended"],
                [[manner, pairs(codes)] for manner, codes in report.outcomes.items()],
            ),
            "",
            counted,
            "",
            f"Problems: {'; '.join(report.problems) or 'none'}.",
            "",
        ]
    )


def _extremes(values: Sequence[float], warm: Sequence[Sample], name: str) -> list[str]:
    after = [getattr(sample, name) for sample in warm] or list(values)
    return [f"{value:.0f}" for value in (values[0], min(after), max(after), values[-1])]
