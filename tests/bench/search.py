"""How long a search of a large log takes, on SQLite: `python -m tests.bench.search --records 100000`.

A log is filled with records of five models over a hundred days, with reviews, holds and erasures among them. Then every
saved filter of the console, and harder ones, are asked for a page: of a real server through the client, and as a page
of the console. Wall-clock, one question at a time; beside it the processor time of the same question without a server,
which says what an idle machine would take. Payloads are copies of a few: searches do not touch them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from starlette.testclient import TestClient

from rollcall.audit.accepted import Accepted, accept
from rollcall.audit.archive import Archive
from rollcall.audit.canonical import new_id, timestamp
from rollcall.audit.database import FILE
from rollcall.audit.erasing import Ground, erase_record
from rollcall.audit.holding import place
from rollcall.audit.keys import encryption_key, signing_key
from rollcall.audit.references import references
from rollcall.audit.reviewing import Doing, act
from rollcall.audit.reviews import ReviewAction
from rollcall.audit.sealing import KeyEncryptionKey, index_key
from rollcall.audit.searching import search
from rollcall.audit.store import Store
from rollcall.audit.subjects import SubjectKeys
from rollcall.console.app import console
from rollcall.console.commands import connecting
from rollcall.console.options import ConsoleOptions
from rollcall.console.pages.finding import SAVED
from rollcall.demo.server import server_process
from rollcall.domain.recording import RecordMode
from rollcall.domain.verdicts import Flag, Reason
from rollcall_client import AuditClient
from tests.bench.markdown import milliseconds, table
from tests.bench.results import RESULTS, Origin, log, origin
from tests.console import BASE, Somebody
from tests.unit.audit import samples
from tests.unit.edge import samples as answers

NAME, ORIGIN = "search", "bench"
BATCH, PAGE = 500, 50
START, SPAN_SECONDS = 1_780_000_000.0, 100 * 86_400.0
MODELS = ("fraud", "reviews", "claims", "credit", "hiring")
FLAGS = ((Flag.FAITHFUL, Reason.NONE), (Flag.UNFAITHFUL, Reason.NONE), (Flag.INCONCLUSIVE, Reason.LOW_POWER))
EVERY_REVIEWED, EVERY_HELD, EVERY_ERASED = 200, 1_000, 500
REPEATS, REPEATS_OF_PAGES = 20, 5
GOAL_SECONDS = 0.3
HARDER = {
    "one model, one month": 'model = "fraud" AND time >= 2026-06-01 AND time < 2026-07-01',
    "a name": 'decision = "application 770"',
    "nothing fits": 'model = "fraud" AND flag = inconclusive AND reason = flat_map',
    "nobody looked, or held": "(flag = unfaithful AND NOT review = open) OR held = true",
}
"""Beside the saved ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One question: median and 95th percentile of the wall-clock, and the processor time alone; seconds."""

    name: str
    filter: str
    found: int
    median: float
    p95: float
    page_p95: float
    processor: float


def records(count: int, operator: KeyEncryptionKey) -> Iterator[Accepted]:
    """Make records: a few whole ones, and copies of them with ids, times and names of their own."""
    whole = [
        _whole(model, flag, reason, operator, mode)
        for model in MODELS
        for flag, reason in FLAGS
        for mode in (RecordMode.FULL, RecordMode.SCORES_ONLY)
    ]
    for number in range(count):
        at = START + SPAN_SECONDS * number / count
        template = whole[number * 7919 % len(whole)]
        record_id = new_id(at, number.to_bytes(10, "big"))
        envelope = (
            template.envelope.replace(template.record_id.encode(), record_id.encode())
            .replace(timestamp(START).encode(), timestamp(at).encode())
            .replace(b"e-00000000", f"e-{number:08}".encode())
        )
        asked = replace(samples.explained().request, decision_ref=f"application {number}")
        (named,) = references(index_key(operator), asked)
        (of_template,) = template.references
        envelope = envelope.replace(of_template.commitment.encode(), named.commitment.encode())
        yield replace(template, record_id=record_id, envelope=envelope, references=(named,))


def _whole(model: str, flag: Flag, reason: Reason, operator: KeyEncryptionKey, mode: RecordMode) -> Accepted:
    told = samples.explained(decision_ref=samples.DECISION)
    attributions = tuple(replace(each, verdict=answers.verdict(flag, reason)) for each in told.explanation.attributions)
    answer = replace(told.explanation, explanation_id="e-00000000", attributions=attributions, recommended_map=None)
    where = replace(samples.WHERE, record_id=new_id(START, bytes(10)), created_at=START, mode=mode)
    made = replace(told, card=answers.card(model), explanation=answer)
    return accept(
        made,
        where,
        salt=samples.SALT,
        data_key=samples.DATA_KEY,
        operator=operator,
        references=references(index_key(operator), told.request),
    )


def fill(directory: Path, count: int) -> float:
    """Fill a log that a server can open; return the seconds that it took."""
    began = time.perf_counter()
    signer, operator = signing_key(directory, None, ORIGIN), encryption_key(directory, None)
    store = Store(database=directory / FILE, signer=signer)
    store.open(START)
    archive = archive_of(store, operator)
    ids, batch = list[str](), list[Accepted]()
    for record in records(count, operator):
        batch.append(record)
        ids.append(record.record_id)
        if len(batch) == BATCH or len(ids) == count:
            store.append(batch)
            batch = []
    for name in ids[::EVERY_REVIEWED]:
        act(archive, name, Doing(action=ReviewAction.OPEN, actor="ada", rationale="a sample"), four_eyes=True)
    place(archive, "case 1", ids[::EVERY_HELD], "", "a dispute", "otto")
    for name in ids[1::EVERY_ERASED]:
        erase_record(archive, name, Ground.MISTAKE, "a letter", "otto")
    store.checkpoint()
    store.close()
    return time.perf_counter() - began


def archive_of(store: Store, operator: KeyEncryptionKey) -> Archive:
    """Put an open log together as a server does."""
    keys = SubjectKeys(operator=operator, find=store.subject_key)
    return Archive(store=store, subjects=keys, verifier=store.signer.verifier, now=time.time)


def measure(directory: Path, operator: KeyEncryptionKey, filters: Mapping[str, str]) -> list[Measured]:
    """Ask every question of a server, of the console, and of the log itself."""
    settings = {"ROLLCALL_AUDIT_DIRECTORY": str(directory), "ROLLCALL_AUDIT_ORIGIN": ORIGIN}
    settings |= {"ROLLCALL_AUTH_DANGEROUSLY_TRUST_ANYONE": "true"}
    store = Store(database=directory / FILE, signer=signing_key(directory, None, ORIGIN))
    store.open(START)
    archive, told = archive_of(store, operator), []
    with server_process("--demo", environment=settings) as server, AuditClient(server.target, timeout=600) as client:
        browser: TestClient = Somebody(
            console(ConsoleOptions(target=server.target), connecting(server.target)), ""
        ).http
        for name, asked in filters.items():
            seconds = timed(lambda: client.search(asked, page_size=PAGE), REPEATS)  # noqa: B023 - called at once
            pages = timed(lambda: browser.get(f"{BASE}/records", params={"q": asked}), REPEATS_OF_PAGES)  # noqa: B023
            found = client.search(asked, page_size=PAGE)
            before = time.thread_time()
            search(archive, asked, PAGE, "")
            told.append(
                Measured(
                    name=name,
                    filter=asked,
                    found=len(found.records),
                    median=float(np.quantile(seconds, 0.5)),
                    p95=float(np.quantile(seconds, 0.95)),
                    page_p95=float(np.quantile(pages, 0.95)),
                    processor=time.thread_time() - before,
                )
            )
            log(f"{name}: p95 {told[-1].p95:.3f} s, processor {told[-1].processor:.3f} s")
    store.close()
    return told


def timed(ask: Callable[[], object], repeats: int) -> list[float]:
    """Ask over and over, once to warm up; return the seconds that each took."""
    ask()
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        ask()
        found.append(time.perf_counter() - began)
    return found


def markdown(told: Sequence[Measured], count: int, where: Origin) -> str:
    """Write the page."""
    rows = [
        [each.name, str(each.found), *map(milliseconds, (each.median, each.p95, each.page_p95, each.processor))]
        for each in told
    ]
    worst = max(told, key=lambda each: each.p95)
    summary = (
        f"{count:,} records on SQLite; pages of {PAGE}. Slowest p95: "
        f"{milliseconds(worst.p95)} ({worst.name}); the aim is {milliseconds(GOAL_SECONDS)}."
    )
    head = ["question", "found", "p50", "p95", "console page p95", "processor"]
    return "\n\n".join(
        [
            *where.head("Searching a log"),
            summary,
            table(head, rows),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code tells whether every p95 is within the aim."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.search", description=__doc__)
    parser.add_argument("--records", type=int, default=100_000, metavar="N", help="how many (default %(default)s)")
    parser.add_argument("--note", default="", help="what readers of the page should know")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIRECTORY", help="where the page goes")
    parser.add_argument("--work", type=Path, metavar="DIRECTORY", help="where the log is, or stays for the next run")
    options = parser.parse_args(arguments)
    where = origin("tests.bench.search", arguments, threads=1, note=options.note)
    with tempfile.TemporaryDirectory() as scratch:
        directory = options.work or Path(scratch)
        if not (directory / FILE).exists():
            log(f"filled in {fill(directory, options.records):.0f} s")
        operator = encryption_key(directory, None)
        told = measure(directory, operator, dict(SAVED) | HARDER)
    page = markdown(told, options.records, where)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{where.date}-{NAME}.md").write_text(page + "\n")
    (options.out / f"{where.date}-{NAME}.json").write_text(
        json.dumps({"records": options.records, "measured": [asdict(each) for each in told]}, indent=1) + "\n"
    )
    print(page)
    return 0 if all(each.p95 < GOAL_SECONDS for each in told) else 1


if __name__ == "__main__":
    raise SystemExit(main())
