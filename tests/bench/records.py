"""How fast answers are recorded, and what that adds to them: `python -m tests.bench.records`.

A recorder with its spool, sequencer and database, as a server has them, records one explanation of some forty words
again and again. First as fast as callers come, for the rate that reaches the log and stays behind nothing; then at
steady rates, for what recording adds to an answer, beside what flushing as many bytes to the same disk takes another
process meanwhile (`flusher`).
Targets: TARGET_RATE records a second sustained, and less than TARGET_SECONDS beyond the flush at the 99th percentile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rollcall.audit.accepted import Accepted
from rollcall.audit.database import reading
from rollcall.audit.journal import Journal
from rollcall.audit.queries import size
from rollcall.audit.record import Explained
from rollcall.domain.inputs import TextInput, Unit
from rollcall.domain.maps import MapKind, UnitMap
from rollcall.domain.recording import Durability, RecordMode
from rollcall.engine.threads import SWITCH_SECONDS
from rollcall.settings import AuditSettings, ModelSpec
from tests.bench.markdown import milliseconds, table
from tests.bench.results import Origin, add_options, files, log, origin
from tests.bench.traffic import few_pauses
from tests.unit.audit import samples
from tests.unit.audit.test_sequencer import Told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from rollcall.audit.recorder import Recorder

NAME = "records"
TARGET_RATE = 200.0
TARGET_SECONDS = 0.005
CALLERS = 32
"""That record at a time where they come as fast as they can."""
RATES = (10.0, 100.0, 200.0)
"""Records a second, as Explain and Predict of servers of different sizes bring them."""
UNITS = 40
KINDS = (MapKind.RAW_ATTENTION, MapKind.ATTENTION_ROLLOUT, MapKind.NORM_ROLLOUT, MapKind.GRADIENT_ROLLOUT)
FLUSHER = Path(__file__).with_name("flusher.py")

STEADY = """At steady rates, from the answer to its receipt, and what appending and flushing as many bytes to the same
disk took another process meanwhile:"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Seconds at the middle and at the 99th percentile, of so many."""

    count: int
    p50: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """Summarize."""
        p50, p99 = np.percentile(seconds, (50, 99))
        return cls(count=len(seconds), p50=float(p50), p99=float(p99))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sustained:
    """Records a second that were acknowledged and that reached the log meanwhile, and how many waited in the end.

    `processor_seconds` is what one record took of one core, which other work on the machine hardly changes.
    """

    durability: str
    acknowledged: float
    logged: float
    waiting: int
    processor_seconds: float
    each: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Steady:
    """What recording takes at a steady rate, from the answer to its receipt, and what flushing took meanwhile.

    `processor_seconds` is what one record took of one core, the log's work included.
    """

    rate: float
    durability: str
    processor_seconds: float
    each: Spread
    flush: Spread

    @property
    def beyond(self) -> float:
        """Seconds that the 99th percentile lies beyond that of the flush."""
        return self.each.p99 - self.flush.p99


def answer() -> Explained:
    """Explain some forty words by four maps, each with its checks."""
    told = samples.explained(decision_ref=samples.DECISION, subject_ref=samples.SUBJECT)
    words = [f"word{number:02d}" for number in range(UNITS)]
    units = tuple(
        Unit(text=word, token_start=i + 1, token_end=i + 2, char_start=7 * i, char_end=7 * i + 6, segment=0)
        for i, word in enumerate(words)
    )
    (first, *_) = told.explanation.attributions
    scores = np.random.default_rng(0).dirichlet(np.ones(UNITS))
    maps = tuple(replace(first, map=UnitMap(kind=kind, scores=scores, dropped_mass=0.1)) for kind in KINDS)
    explanation = replace(told.explanation, units=units, attributions=maps, attention=None)
    request = replace(told.request, input=TextInput(text=" ".join(words)))
    return replace(told, request=request, explanation=explanation)


@contextmanager
def as_served() -> Iterator[None]:
    """Set the process to what a server's is set to (`engine.threads`), for the length of a block."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        with few_pauses():
            yield
    finally:
        sys.setswitchinterval(interval)


@asynccontextmanager
async def recording(directory: Path, durability: Durability) -> AsyncIterator[Recorder]:
    """Record as a server does, in full."""
    journal = Journal(
        directory=directory,
        settings=AuditSettings(
            directory=directory, mode=RecordMode.FULL, durability=durability, checkpoint_seconds=1.0
        ),
        worker=0,
        software={"rollcall": "bench"},
        telemetry=Told(),
    )
    told = answer()
    journal.serves(ModelSpec(name=told.card.ref.name, path=directory))
    recorder = journal.open()
    try:
        await recorder.record(told)  # makes the subject's key
        yield recorder
    finally:
        await asyncio.to_thread(journal.close)


async def timed(recorder: Recorder, told: Explained, spent: list[float]) -> None:
    """Record once, and say how long that took; each answer has an id of its own."""
    own = replace(told, explanation=replace(told.explanation, explanation_id=os.urandom(16).hex()))
    started = time.perf_counter()
    await recorder.record(own)
    spent.append(time.perf_counter() - started)


async def sustain(directory: Path, durability: Durability, seconds: float) -> Sustained:
    """Let callers come as fast as they are answered."""
    told, spent = answer(), list[float]()
    database = directory / "log.db"
    async with recording(directory, durability) as recorder:
        before, started, worked = _size(database), time.perf_counter(), time.process_time()
        end = started + seconds

        async def call() -> None:
            while time.perf_counter() < end:
                await timed(recorder, told, spent)

        await asyncio.gather(*(call() for _ in range(CALLERS)))
        took, worked = time.perf_counter() - started, time.process_time() - worked
        logged = _size(database) - before
    return Sustained(
        durability=durability.value,
        acknowledged=len(spent) / took,
        logged=logged / took,
        waiting=len(spent) - logged,
        processor_seconds=worked / max(1, logged),
        each=Spread.of(spent),
    )


async def steady(directory: Path, durability: Durability, rate: float, seconds: float) -> Steady:
    """Bring answers at a rate, whether or not those before are recorded."""
    told, spent = answer(), list[float]()
    size = len(samples.recorded(told).encode())
    async with recording(directory, durability) as recorder, flushing(directory / "flushed", size, seconds) as flushed:
        started, worked, running = time.perf_counter(), time.process_time(), set[asyncio.Task[None]]()
        for number in range(max(1, int(rate * seconds))):
            await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
            running.add(asyncio.create_task(timed(recorder, told, spent)))
        await asyncio.gather(*running)
        worked = time.process_time() - worked
    return Steady(
        rate=rate,
        durability=durability.value,
        processor_seconds=worked / len(spent),
        each=Spread.of(spent),
        flush=Spread.of(flushed),
    )


@asynccontextmanager
async def flushing(file: Path, size: int, seconds: float) -> AsyncIterator[list[float]]:
    """Flush so many bytes to a file again and again, for some seconds; the times are there behind the block."""
    flushed: list[float] = []
    command = (sys.executable, str(FLUSHER), str(file), str(size), str(seconds))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    yield flushed
    out, _ = await process.communicate()
    flushed += json.loads(out)


def page(run: Origin, record: Accepted, sustained: Sequence[Sustained], steadies: Sequence[Steady]) -> str:
    """Write the page."""
    durable = next(each for each in sustained if each.durability == Durability.DURABLE.value)
    rate = min(durable.acknowledged, durable.logged)
    beyond = ", ".join(
        f"{milliseconds(max(0.0, each.beyond))} at {each.rate:g} records/s ({_met(each.beyond < TARGET_SECONDS)})"
        for each in steadies
        if each.durability == Durability.DURABLE.value
    )
    verdicts = (
        f"{rate:.0f} records/s sustained with `durable` (target {TARGET_RATE:.0f}: {_met(rate >= TARGET_RATE)}). "
        f"Beyond the flush at p99 with `durable`, target {milliseconds(TARGET_SECONDS)}: {beyond}."
    )
    what = (
        f"A record in mode `full` of {UNITS} words and {len(KINDS)} maps: envelope {len(record.envelope):,} bytes, "
        f"{len(record.encode()):,} in the spool. SQLite."
    )
    rates = table(
        ["durability", "acknowledged/s", "in the log/s", "waiting at the end", "one core for", "p50", "p99"],
        [
            [
                each.durability,
                f"{each.acknowledged:.0f}",
                f"{each.logged:.0f}",
                str(each.waiting),
                milliseconds(each.processor_seconds),
                *_spread(each.each),
            ]
            for each in sustained
        ],
    )
    latencies = table(
        ["durability", "records/s", "one core for", "p50", "p99", "flush p50", "flush p99", "p99 beyond the flush"],
        [
            [
                each.durability,
                f"{each.rate:g}",
                milliseconds(each.processor_seconds),
                *_spread(each.each),
                *_spread(each.flush),
                milliseconds(max(0.0, each.beyond)),
            ]
            for each in steadies
        ],
    )
    blocks = [
        *run.head("Recording answers"),
        verdicts,
        what,
        f"As fast as {CALLERS} callers come:",
        rates,
        STEADY,
        latencies,
    ]
    return "\n\n".join(blocks) + "\n"


def _met(holds: bool) -> str:  # noqa: FBT001 - a word for it
    return "met" if holds else "missed"


def _spread(spread: Spread) -> list[str]:
    return [milliseconds(spread.p50), milliseconds(spread.p99)]


def _size(database: Path) -> int:
    with reading(database) as connection:
        return size(connection)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(prog="tests.bench.records", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement (default %(default)s)")
    parser.add_argument("--work", type=Path, help="where the logs are kept meanwhile; a directory of the system's else")
    add_options(parser, NAME)
    options = parser.parse_args(arguments)
    run = origin("tests.bench.records", arguments, threads=1, note=options.note, also=("cryptography", "sqlalchemy"))
    out = files(NAME, run.date, page=options.out, numbers=options.json)
    with tempfile.TemporaryDirectory(dir=options.work) as work, as_served():
        folder = Path(work)
        record = samples.recorded(answer())
        sustained = [
            asyncio.run(sustain(folder / f"sustained-{durability.value}", durability, options.seconds))
            for durability in (Durability.DURABLE, Durability.STRICT)
        ]
        log(f"sustained: {sustained}")
        steadies = [
            asyncio.run(steady(folder / f"{durability.value}-{rate:g}", durability, rate, options.seconds))
            for durability in (Durability.DURABLE, Durability.BEST_EFFORT)
            for rate in RATES
        ]
        log(f"steady: {steadies}")
    numbers = {
        "sustained": [asdict(each) for each in sustained],
        "steady": [asdict(each) for each in steadies],
    }
    out.write(page(run, record, sustained, steadies), run, numbers)
    out.tell()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
