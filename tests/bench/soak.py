"""A long mixed load with difficult clients against a real server: `python -m tests.bench.soak --seconds 600`.

Most requests are polite; some clients leave in the middle, give hardly any time, ask for nonsense, or hang up during
the handshake of the connection. Meanwhile memory, threads and file descriptors of the server's process are read from
/proc. The exit code is 1 unless all of this holds: memory is FLAT within MEMORY_BOUND, threads and descriptors do not
grow, nothing but expected codes came (for a request that is wrong: its own code), every started call ended, in-flight
and queue gauges are back at 0, no text got two verdicts, and the server stops cleanly. With --quick memory is
measured, but not judged: seconds cannot tell.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rollcall.demo.server import ServerProcess, server_process
from rollcall_client import AsyncClient
from tests.bench.growth import fit, high_water
from tests.bench.openloop import MIXES, Verdicts, Window, make_texts, timetable
from tests.bench.process import sampling
from tests.bench.results import Origin, add_options, files, log, origin
from tests.bench.soak_report import BLOCKS, LOAD, MEMORY_BOUND, WARM_UP_SHARE, Findings, Report, markdown
from tests.bench.traffic import (
    SERVED,
    Caller,
    busy_gauges,
    codes_handled,
    compute_threads,
    drive,
    few_pauses,
    saturate,
    served,
    watching,
)
from tests.bench.visits import Manner, Visitor, visits

NAME = "soak"
CAPACITY_SHARE = 0.05
"""Of the time, spent on finding the capacity before the soak."""
LEAST_CAPACITY_SECONDS = 2.0
CLIENTS = 16
SAMPLE_SECONDS = 1.0
LEAST_SAMPLES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command's options."""

    model: Path | None
    seconds: float
    deadline: float
    quick: bool
    note: str
    json: Path | None
    out: Path | None


async def soak(server: ServerProcess, options: Options, where: Origin) -> Report:
    """Find the capacity, then soak."""
    texts, verdicts = make_texts(), Verdicts()
    # 1. The capacity of polite clients.
    finding = max(LEAST_CAPACITY_SECONDS, CAPACITY_SHARE * options.seconds)
    window = Window(start=WARM_UP_SHARE * finding, end=finding)
    found = await saturate(
        server.target, share=MIXES["mixed"], clients=CLIENTS, seconds=finding, texts=texts, verdicts=verdicts
    )
    capacity = sum(answer.good and window.holds(answer.done) for answer in found) / window.seconds
    log(f"capacity {capacity:.1f}/s; soaking at {LOAD} x for {options.seconds:g} s ...")
    # 2. The soak.
    plan = timetable(share=MIXES["mixed"], rate=LOAD * capacity, seconds=options.seconds, texts=texts, seed=1)
    every = min(SAMPLE_SECONDS, options.seconds / LEAST_SAMPLES)
    async with AsyncClient(server.target, retries=0) as client:
        visitor = Visitor(server=server, call=Caller(client=client, deadline=options.deadline, verdicts=verdicts))
        async with watching(server) as watch, sampling(server.process.pid, every) as samples:
            outcomes = await drive(visits(plan, seed=2), visitor)
    # 3. What is left when everybody has gone.
    left = await busy_gauges(server)
    started, ended = codes_handled(await asyncio.to_thread(server.metrics))
    # 4. What to make of it.
    warm = [sample for sample in samples if sample.at >= WARM_UP_SHARE * options.seconds]
    slope = fit(*high_water([sample.at for sample in warm], [sample.memory_mib for sample in warm], BLOCKS))
    growth = slope.judged(MEMORY_BOUND)
    judged = Findings(warm=warm, growth=growth, left=left, started=started, ended=ended, outcomes=outcomes)
    problems = judged.problems(memory_counts=not options.quick)
    if watch.failed_scrapes:
        problems.append(f"{watch.failed_scrapes} scrapes of /metrics failed")
    if verdicts.contradictory():
        problems.append(f"{verdicts.contradictory()} texts got more than one verdict")
    return Report(
        origin=where,
        model="demo" if options.model is None else options.model.name,
        seconds=options.seconds,
        capacity_per_second=capacity,
        offered_per_second=len(plan) / options.seconds,
        outcomes={
            manner.value: dict(sorted(Counter(each.code for each in outcomes if each.manner is manner).items()))
            for manner in Manner
        },
        server_codes=dict(sorted(ended.items())),
        explanations=verdicts.explanations,
        texts=len(verdicts.by_text),
        samples=samples,
        slope=slope,
        growth=growth,
        maxima=watch.maxima,
        problems=problems,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak, print the report, and say by the exit code whether anything was wrong."""
    options = _options(arguments)
    with few_pauses(), server_process(*served(options.model)) as server:
        threads = compute_threads(server)
        where = origin("tests.bench.soak", arguments, threads=threads, note=options.note, also=SERVED)
        report = asyncio.run(soak(server, options, where))
        code = server.stop()
    if code:
        report.problems.append(f"the server stopped with exit code {code}")
    text = markdown(report)
    print(text)
    results = files(NAME, where.date, page=options.out, numbers=options.json, keep=not options.quick)
    numbers = asdict(report) | {"growth": report.growth.value}
    results.write(text, where, {name: value for name, value in numbers.items() if name != "origin"})
    results.tell()
    return 1 if report.problems else 0


def _options(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.soak",
        description="A long mixed load with difficult clients. Prints Markdown, progress to stderr.",
    )
    parser.add_argument("--model", type=Path, metavar="DIR", help="serve this model (default: the demo model)")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long (default %(default)s)")
    parser.add_argument("--deadline", type=float, default=10.0, help="of polite requests (default %(default)s s)")
    add_options(parser, NAME)
    parser.add_argument("--quick", action="store_true", help="5 seconds by default, memory not judged")
    if parser.parse_known_args(arguments)[0].quick:
        parser.set_defaults(seconds=5.0)
    return Options(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    raise SystemExit(main())
