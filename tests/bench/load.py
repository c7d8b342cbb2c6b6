"""Open-loop load against a real server on loopback: `python -m tests.bench.load`.

1. Capacity: the goodput of a closed loop with enough clients to saturate the server.
2. Each mix of requests at each multiple of its capacity, open loop: goodput, latencies, codes, and what the server
   held. The capacity is measured right before and right after; ratios are to the mean of both.
3. Predictions at a low rate, alone and beside more explanations than the server can do, in turn.

Goodput is answers per second that served somebody: an explanation whose looks were cut (reason BUDGET) does not count.
Times on a shared machine mean little, ratios within one run more, so no time decides the exit code. It is 1 if a code
came that may not come, a refusal did not say when to come back, a text got two verdicts, or the server did not become
idle after a run or did not stop cleanly. Settings reach the server as ROLLCALL_* variables.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rollcall.demo.server import ServerProcess, server_process
from rollcall_client import AsyncClient
from tests.bench.load_report import Capacity, Pair, Point, Report, Sweep, markdown
from tests.bench.openloop import (
    MIXES,
    Answer,
    Due,
    Kind,
    Verdicts,
    Window,
    make_texts,
    punctuality,
    summarise,
    timetable,
    unexpected,
)
from tests.bench.results import Origin, add_options, files, log, origin
from tests.bench.traffic import (
    SERVED,
    Caller,
    busy_gauges,
    compute_threads,
    drive,
    few_pauses,
    saturate,
    served,
    watching,
)

NAME = "load"
WARM_UP_SHARE = 0.2
"""Of the seconds that count; comes before them."""
FILLING_DEADLINES = 2.0
"""Deadlines that the warm-up of an overload lasts: at twice the capacity a queue without bound begins to serve only
requests that have given up when so many have passed, and not before."""
PREDICT_SHARE = 0.2
"""Of the capacity: the low rate of predictions beside explanations."""
EXPLAIN_SHARE = 1.2
"""Of the capacity: the explanations beside them."""
CAPACITY_ROUNDS = 3
"""Good answers per client that a capacity should rest on: what all clients ask at once may all come at once."""
CAPACITY_ATTEMPTS = 4
"""Each takes twice as long as the one before; the first is enough unless explanations take as long as a run."""
KINDS = {"predict": [Kind.PREDICT], "explain": [Kind.EXPLAIN], "mixed": [Kind.PREDICT, Kind.EXPLAIN]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command's options."""

    model: Path | None
    seconds: float
    rates: list[float]
    mixes: list[str]
    deadline: float
    clients: int
    pairs: int
    rest: float
    quick: bool
    note: str
    json: Path | None
    out: Path | None


QUICK: dict[str, object] = {"seconds": 1.0, "rates": [0.5, 2.0], "deadline": 1.0, "clients": 4, "pairs": 1, "rest": 0.0}


@dataclass(slots=True, kw_only=True)
class Bench:
    """A running server, and what is collected about it from run to run."""

    server: ServerProcess
    options: Options
    texts: list[str] = field(default_factory=make_texts)
    verdicts: Verdicts = field(default_factory=Verdicts)
    problems: list[str] = field(default_factory=list)
    runs: int = 0

    def window(self, *, times_capacity: float = 0.0, stretch: float = 1.0) -> Window:
        """What counts of a run at a multiple of the capacity."""
        seconds = stretch * self.options.seconds
        warm_up = WARM_UP_SHARE * seconds
        if times_capacity > 1.0:
            warm_up = max(warm_up, FILLING_DEADLINES * self.options.deadline)
        return Window(start=warm_up, end=warm_up + seconds)

    async def capacity(self, mix: str) -> Capacity:
        """Saturate the server with a mix; longer, if only few were served or some kind of request never."""
        for attempt in range(CAPACITY_ATTEMPTS):
            window = self.window(stretch=2.0**attempt)
            answers = await saturate(
                self.server.target,
                share=MIXES[mix],
                clients=self.options.clients,
                seconds=window.end,
                texts=self.texts,
                verdicts=self.verdicts,
            )
            await self._settle(f"capacity of {mix}", answers)
            parts = [summarise(answers, kind, window) for kind in KINDS[mix]]
            found = Capacity(by_kind={part.kind: part.good_per_second for part in parts})
            if found.total * window.seconds >= CAPACITY_ROUNDS * self.options.clients and all(found.by_kind.values()):
                break
        log(f"capacity of {mix}: {found.total:.1f}/s in {window.seconds:g} s")
        if not all(found.by_kind.values()):
            message = f"{mix}: some kind of request got no good answer in {window.seconds:g} s"
            raise SystemExit(message)
        return found

    async def point(self, mix: str, rate: float, times_capacity: float) -> Point:
        """Offer a mix at a rate, which is so many times its capacity."""
        window = self.window(times_capacity=times_capacity)
        plan = self._plan(MIXES[mix], rate, window)
        answers, maxima = await self._offer(f"{mix} at {times_capacity:g} x capacity", plan)
        return Point(
            times_capacity=times_capacity,
            parts=[summarise(answers, kind, window) for kind in KINDS[mix]],
            generator=punctuality(answers),
            maxima=maxima,
        )

    async def pair(self, pure: dict[str, float]) -> Pair:
        """Predict alone, then the same beside explanations."""
        window = self.window(times_capacity=EXPLAIN_SHARE)
        predictions = self._plan(MIXES["predict"], PREDICT_SHARE * pure["predict"], window)
        explanations = self._plan(MIXES["explain"], EXPLAIN_SHARE * pure["explain"], window)
        alone, _ = await self._offer("predict alone", predictions)
        both = sorted([*predictions, *explanations], key=lambda due: due.at)
        beside, _ = await self._offer("predict beside explain", both)
        return Pair(
            alone=summarise(alone, Kind.PREDICT, window),
            beside=summarise(beside, Kind.PREDICT, window),
            explanations=summarise(beside, Kind.EXPLAIN, window),
        )

    def _plan(self, share: float, rate: float, window: Window) -> list[Due]:
        self.runs += 1
        return timetable(share=share, rate=rate, seconds=window.end, texts=self.texts, seed=self.runs)

    async def _offer(self, name: str, plan: list[Due]) -> tuple[list[Answer], dict[str, float]]:
        async with AsyncClient(self.server.target, retries=0) as client, watching(self.server) as watch:
            call = Caller(client=client, deadline=self.options.deadline, verdicts=self.verdicts)
            answers = await drive(plan, call)
        if watch.failed_scrapes:
            self.problems.append(f"{name}: {watch.failed_scrapes} scrapes of /metrics failed")
        log(f"{name}: {dict(Counter(answer.code for answer in answers))}")
        await self._settle(name, answers)
        return answers, watch.maxima

    async def _settle(self, name: str, answers: list[Answer]) -> None:
        """Keep what was wrong, wait until the server is idle, and give it time to forget."""
        wrong = unexpected(answers)
        self.problems.extend(f"{name}: {count} times {code}" for code, count in sorted(wrong.items()))
        left = await busy_gauges(self.server)
        self.problems.extend(f"{name}: {gauge} stays at {value:g}" for gauge, value in left.items())
        await asyncio.sleep(self.options.rest)


async def measure(server: ServerProcess, options: Options, where: Origin) -> Report:
    """Run everything, in order."""
    bench = Bench(server=server, options=options)
    # 1. What predictions and explanations cost by themselves: the rates of step 3, and weights.
    pure = {kind.value: (await bench.capacity(kind.value)).total for kind in Kind}
    # 2. Each mix, between two measurements of its capacity.
    sweeps = []
    for mix in options.mixes:
        before = await bench.capacity(mix)
        points = [await bench.point(mix, before.total * times, times) for times in options.rates]
        sweeps.append(Sweep(mix=mix, before=before, after=await bench.capacity(mix), points=points))
    # 3. Predictions beside explanations.
    pairs = [await bench.pair(pure) for _ in range(options.pairs)]
    # 4. The same text, the same verdict.
    contradictory = bench.verdicts.contradictory()
    if contradictory:
        bench.problems.append(f"{contradictory} texts got more than one verdict")
    return Report(
        origin=where,
        options=_told(options),
        pure=pure,
        sweeps=sweeps,
        pairs=pairs,
        texts=len(bench.verdicts.by_text),
        explanations=bench.verdicts.explanations,
        contradictory_texts=contradictory,
        alignment_spread=bench.verdicts.spread(),
        problems=bench.problems,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the report, and say by the exit code whether anything was wrong."""
    options = _options(arguments)
    with few_pauses(), server_process(*served(options.model)) as server:
        threads = compute_threads(server)
        where = origin("tests.bench.load", arguments, threads=threads, note=options.note, also=SERVED)
        report = asyncio.run(measure(server, options, where))
        code = server.stop()
    if code:
        report.problems.append(f"the server stopped with exit code {code}")
    text = markdown(report)
    print(text)
    results = files(NAME, where.date, page=options.out, numbers=options.json, keep=not options.quick)
    results.write(text, where, {name: value for name, value in asdict(report).items() if name != "origin"})
    results.tell()
    return 1 if report.problems else 0


def _told(options: Options) -> dict[str, object]:
    """Return the options that the report names: a model by its directory's name, the reader has no use for the rest."""
    numbers = {name: getattr(options, name) for name in ("seconds", "deadline", "clients", "pairs", "rest")}
    return {"model": "demo" if options.model is None else options.model.name} | numbers


def _options(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.load",
        description="Open-loop load against a real server. Prints Markdown, progress to stderr.",
    )
    parser.add_argument("--model", type=Path, metavar="DIR", help="serve this model (default: the demo model)")
    parser.add_argument("--seconds", type=float, default=20.0, help="that count, per point (default %(default)s)")
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[0.5, 0.8, 1.0, 1.5, 2.0], help="multiples of capacity"
    )
    parser.add_argument("--mixes", nargs="+", choices=list(MIXES), default=list(MIXES), help="of requests")
    parser.add_argument("--deadline", type=float, default=5.0, help="seconds of each request (default %(default)s)")
    parser.add_argument("--clients", type=int, default=16, help="clients of the closed loops (default %(default)s)")
    parser.add_argument("--pairs", type=int, default=5, help="of predictions alone and beside (default %(default)s)")
    parser.add_argument(
        "--rest", type=float, default=5.0, help="seconds of idleness after each run (default %(default)s)"
    )
    add_options(parser, NAME)
    parser.add_argument("--quick", action="store_true", help="other defaults: seconds per run, to see that it works")
    if parser.parse_known_args(arguments)[0].quick:
        parser.set_defaults(**QUICK)
    return Options(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    raise SystemExit(main())
