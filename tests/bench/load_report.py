"""What a load run found, as values, and the same in Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean, median

from tests.bench.markdown import DASH, milliseconds, pairs, ratio, table
from tests.bench.openloop import Generator, Part
from tests.bench.results import Origin

GOODPUT_TARGET = 0.9
"""Goodput at twice the capacity or more, as a share of it."""
OVERLOAD = 2.0
RISE_TARGET = 2.0
"""Predictions' p99 beside explanations may be less than so many times their p99 alone."""
QUEUE_DEPTH = "rollcall_queue_depth"
IN_FLIGHT = "rollcall_requests_in_flight"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Goodput of a closed loop, per second, by kind of request."""

    by_kind: dict[str, float]

    @property
    def total(self) -> float:
        """Of all kinds together."""
        return sum(self.by_kind.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One mix at one rate. `maxima` are the largest values of the server's gauges that were seen."""

    times_capacity: float
    parts: list[Part]
    generator: Generator
    maxima: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """One mix: its points, and its capacity before and after them."""

    mix: str
    before: Capacity
    after: Capacity
    points: list[Point]

    def capacity(self, kind: str) -> float:
        """Mean capacity for one kind of request."""
        return mean([self.before.by_kind[kind], self.after.by_kind[kind]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Predictions alone, and the same beside explanations, right after each other."""

    alone: Part
    beside: Part
    explanations: Part

    def rise(self, name: str) -> float | None:
        """How many times as long predictions take beside explanations: "p50_seconds" or "p99_seconds"."""
        before, after = getattr(self.alone, name), getattr(self.beside, name)
        return after / before if before and after else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that was found. `pure` is the goodput per second of predictions and of explanations by themselves."""

    origin: Origin
    options: dict[str, object]
    pure: dict[str, float]
    sweeps: list[Sweep]
    pairs: list[Pair]
    texts: int
    explanations: int
    contradictory_texts: int
    alignment_spread: float
    problems: list[str]


def markdown(report: Report) -> str:
    """Write the whole report."""
    return "\n".join(_blocks(report)) + "\n"


def share_of_capacity(report: Report, sweep: Sweep, point: Point) -> float | None:
    """Goodput as a share of capacity; kinds weigh what they cost, or cheap predictions would hide lost explanations."""
    cost = {kind: 1 / per_second for kind, per_second in report.pure.items()}
    good = sum(part.good_per_second * cost[part.kind] for part in point.parts)
    most = sum(sweep.capacity(part.kind) * cost[part.kind] for part in point.parts)
    return good / most if most else None


def median_rise(report: Report, name: str) -> float | None:
    """Return the median over pairs of how much longer predictions take beside explanations."""
    rises = [rise for pair in report.pairs if (rise := pair.rise(name)) is not None]
    return median(rises) if rises else None


def _blocks(report: Report) -> Iterator[str]:
    for block in report.origin.head("Load"):
        yield f"{block}\n"
    yield f"With {pairs(report.options)}.\n"
    yield "## Targets\n"
    yield table(["measure", "target", "found"], list(_targets(report)))
    yield "\n## Capacity: goodput of a closed loop, before and after the points\n"
    rows = [
        [sweep.mix, kind, f"{sweep.before.by_kind[kind]:.1f}/s", f"{sweep.after.by_kind[kind]:.1f}/s"]
        for sweep in report.sweeps
        for kind in sweep.before.by_kind
    ]
    yield table(["mix", "requests", "before", "after"], rows)
    yield "\n## Open loop: what came back\n"
    heads = ["mix", "offered", "requests", "due", "good", "good / capacity", "p50", "p99", "codes", "cut"]
    yield table([*heads, "refused", "after, p99", "UNAVAILABLE with RetryInfo"], list(_answers(report)))
    yield "\n## Open loop: what the server held, and how late requests left\n"
    heads = ["mix", "offered", "most in flight", "deepest queue", "most open", "late, p99", "late, most"]
    yield table(heads, list(_held(report)))
    if report.pairs:
        yield "\n## Predictions alone and beside explanations\n"
        heads = ["pair", "p50 alone", "beside", "rise", "p99 alone", "beside", "rise", "codes beside"]
        yield table([*heads, "explanations, good of due"], list(_beside(report)))
    yield "\nProblems: " + ("; ".join(report.problems) or "none") + ".\n"
    yield NOTES


NOTES = """\
How to read it:

- Requests are due at Poisson times and leave whether or not earlier ones were answered; nobody asks twice. Latencies
  are of good answers, from when they were due. Where "late" comes near a latency, it is the generator that is slow.
- Good per second counts answers that came in the window, without explanations whose looks were cut (reason BUDGET).
  Latencies, codes and cuts are of the requests due in the window.
- In a mix a kind may get less than its own capacity while the other gets more: predictions go first. The share under
  "Targets" weighs each kind by what it costs alone.
- Refused: UNAVAILABLE, or DEADLINE_EXCEEDED long before the deadline. What is neither good, refused nor cut gave up.
- In flight and queue depth are sampled once a second at the admin port; "most open" is what the generator had open."""


def _targets(report: Report) -> Iterator[list[str]]:
    for sweep in report.sweeps:
        for point in sweep.points:
            if point.times_capacity >= OVERLOAD:
                found = share_of_capacity(report, sweep, point)
                name = f"goodput / capacity, {sweep.mix} at {point.times_capacity:g} x capacity"
                yield [name, f"at least {GOODPUT_TARGET}", _judged(found, met=(found or 0.0) >= GOODPUT_TARGET)]
    if report.pairs:
        rise = median_rise(report, "p99_seconds")
        met = rise is not None and rise < RISE_TARGET
        yield ["Predict's p99 beside explanations / alone, median", f"below {RISE_TARGET:g}", _judged(rise, met=met)]
        yield ["the same of p50", DASH, ratio(median_rise(report, "p50_seconds"))]
    parts = [part for sweep in report.sweeps for point in sweep.points for part in point.parts]
    slowest = max((part.refused_p99_seconds for part in parts if part.refused_p99_seconds is not None), default=None)
    yield ["p99 of refusals, at the load where it is largest", DASH, milliseconds(slowest)]
    found_texts = f"{report.contradictory_texts} of {report.texts} ({report.explanations} explanations)"
    yield ["texts with more than one verdict", "0", found_texts]
    yield ["largest difference of one text's alignments", DASH, f"{report.alignment_spread:.1g}"]


def _judged(value: float | None, *, met: bool) -> str:
    return f"{ratio(value)}, {'met' if met else 'not met'}"


def _answers(report: Report) -> Iterator[list[str]]:
    for sweep in report.sweeps:
        for point in sweep.points:
            for part in point.parts:
                capacity = sweep.capacity(part.kind)
                yield [
                    sweep.mix,
                    f"{point.times_capacity:g} x",
                    part.kind,
                    f"{part.offered_per_second:.1f}/s",
                    f"{part.good_per_second:.1f}/s",
                    ratio(part.good_per_second / capacity if capacity else None),
                    milliseconds(part.p50_seconds),
                    milliseconds(part.p99_seconds),
                    pairs(part.codes),
                    str(part.cut),
                    str(part.refused),
                    milliseconds(part.refused_p99_seconds),
                    f"{part.unavailable_with_retry_info} of {part.codes.get('UNAVAILABLE', 0)}",
                ]


def _held(report: Report) -> Iterator[list[str]]:
    for sweep in report.sweeps:
        for point in sweep.points:
            seen = point.maxima
            yield [
                sweep.mix,
                f"{point.times_capacity:g} x",
                f"{seen[IN_FLIGHT]:.0f}" if IN_FLIGHT in seen else DASH,
                f"{seen[QUEUE_DEPTH]:.0f}" if QUEUE_DEPTH in seen else DASH,
                str(point.generator.most_open),
                milliseconds(point.generator.late_p99_seconds),
                milliseconds(point.generator.late_max_seconds),
            ]


def _beside(report: Report) -> Iterator[list[str]]:
    for number, pair in enumerate(report.pairs, 1):
        yield [
            str(number),
            milliseconds(pair.alone.p50_seconds),
            milliseconds(pair.beside.p50_seconds),
            ratio(pair.rise("p50_seconds")),
            milliseconds(pair.alone.p99_seconds),
            milliseconds(pair.beside.p99_seconds),
            ratio(pair.rise("p99_seconds")),
            pairs(pair.beside.codes),
            f"{pair.explanations.good_per_second:.1f} of {pair.explanations.offered_per_second:.1f}/s",
        ]
