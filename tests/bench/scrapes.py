"""What scrapes cost those who ask: `python -m tests.bench.scrapes`.

A server with ten models, so that a scrape is about as long as it may be, answers explanations (and a few predictions)
at a low rate. In turns of some seconds nobody scrapes, and somebody does every second, which is as often as the server
renders; turns are short and many, so that whatever else the machine does meets both alike. Prometheus scrapes fifteen
times less often.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rollcall import demo
from rollcall.demo.server import ServerProcess, server_process
from rollcall_client import AsyncClient, Client
from tests.bench.markdown import milliseconds, ratio, table
from tests.bench.openloop import Answer, Kind, Verdicts, make_texts, timetable
from tests.bench.results import Origin, add_options, files, log, origin
from tests.bench.traffic import Caller, compute_threads, drive

NAME = "scrapes"
MODELS = 10
RATE = 2.0
"""Requests per second: far from what a processor can do."""
SHARE = 0.7
"""Of them, explanations."""
TURN_SECONDS = 5.0
QUIET, SCRAPED = "no scrapes", "a scrape every second"
QUANTILES = (0.5, 0.9, 0.99)


@dataclass(slots=True, kw_only=True)
class Turns:
    """Answers by what was going on when they were due, and what the scrapes took."""

    answers: dict[str, list[Answer]] = field(default_factory=lambda: {QUIET: [], SCRAPED: []})
    scrapes: list[float] = field(default_factory=list)
    lines: int = 0

    def latencies(self, turn: str, kind: Kind) -> list[float]:
        """Seconds from when a request was due to its answer, of those that were answered."""
        return [each.done - each.due.at for each in self.answers[turn] if each.due.kind is kind and each.code == "OK"]


async def measure(server: ServerProcess, turns: int) -> Turns:
    """Take turns."""
    found, texts, verdicts = Turns(), make_texts(), Verdicts()
    async with AsyncClient(server.target, retries=0) as client:
        call = Caller(client=client, deadline=30.0, verdicts=verdicts)
        for number in range(turns):
            turn = (QUIET, SCRAPED)[number % 2]
            plan = timetable(share=SHARE, rate=RATE, seconds=TURN_SECONDS, texts=texts, seed=number)
            scraping = asyncio.create_task(scrape(server, found)) if turn is SCRAPED else None
            found.answers[turn] += await drive(plan, call)
            if scraping is not None:
                scraping.cancel()
                await asyncio.wait({scraping})
    return found


async def scrape(server: ServerProcess, found: Turns) -> None:
    """Scrape every second."""
    while True:
        began = time.monotonic()
        exposition = await asyncio.to_thread(server.metrics)
        found.scrapes.append(time.monotonic() - began)
        found.lines = len(exposition.splitlines())
        await asyncio.sleep(1.0)


def warm(server: ServerProcess) -> None:
    """Have every model answer, so that all of them are in a scrape."""
    with Client(server.target, timeout=60) as client:
        for model in client.models():
            for text in ("A wonderful film.", "The plot is thin."):
                client.explain(text, model=model.ref.name)
                client.predict(text, model=model.ref.name)


def page(found: Turns, where: Origin) -> str:
    """The table."""
    rows = []
    for kind in Kind:
        quiet, scraped = (np.array(found.latencies(turn, kind)) for turn in (QUIET, SCRAPED))
        for share in QUANTILES:
            before, after = float(np.quantile(quiet, share)), float(np.quantile(scraped, share))
            name = f"{kind.value}, p{share * 100:g}"
            cells = (f"{milliseconds(before)} of {len(quiet)}", f"{milliseconds(after)} of {len(scraped)}")
            rows.append((name, *cells, ratio(after / before)))
    scrapes = np.array(found.scrapes)
    usual, most = (milliseconds(float(each)) for each in (np.median(scrapes), scrapes.max()))
    told = (
        f"{MODELS} models, {found.lines} lines; {len(scrapes)} scrapes took {usual} (p50), {most} (most). Requests at "
        f"{RATE:g}/s, {SHARE:.0%} of them explanations, open loop, in turns of {TURN_SECONDS:g} s."
    )
    return (
        "\n\n".join([*where.head("What scrapes cost"), told, table(("latency", QUIET, SCRAPED, "ratio"), rows)]) + "\n"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.bench.{NAME}", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--turns", type=int, default=60, help="turns of five seconds, every other one with scrapes (60)"
    )
    add_options(parser, NAME)
    given = parser.parse_args(arguments)
    models = [part for number in range(MODELS - 1) for part in ("--model", f"model-{number}={demo.model_directory()}")]
    with server_process("--demo", *models, environment={"ROLLCALL_DEFAULT_MODEL": "demo"}) as server:
        where = origin(f"tests.bench.{NAME}", arguments, threads=compute_threads(server), note=given.note)
        warm(server)
        log(f"{given.turns} turns of {TURN_SECONDS:g} s ...")
        found = asyncio.run(measure(server, given.turns))
    told = page(found, where)
    numbers = {
        "scrapes": found.scrapes,
        "lines": found.lines,
        "latencies": {turn: {kind.value: found.latencies(turn, kind) for kind in Kind} for turn in found.answers},
    }
    written = files(NAME, where.date, page=given.out, numbers=given.json)
    written.write(told, where, numbers)
    print(told)
    written.tell()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
