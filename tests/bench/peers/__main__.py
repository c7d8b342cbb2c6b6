"""Measure Rollcall against its peers: `python -m tests.bench.peers`. Exit code 1 where scores disagree.

Page and numbers are written after every piece of work; a run that was cut goes on with `--resume`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import transformers

from tests.bench.cost.models import MINILM, classifier
from tests.bench.peers import vs_captum, vs_ferret, vs_mlserver, vs_nnsight, vs_shap
from tests.bench.peers.environments import NotBuilt, default_work
from tests.bench.peers.ours import Ours
from tests.bench.peers.process import PeerFailed
from tests.bench.peers.report import Absent, Report
from tests.bench.peers.session import Comparison, OutOfTime, Session
from tests.bench.results import add_options, files, log, origin

COMPARISONS = {
    "captum": vs_captum.COMPARISON,
    "ferret": vs_ferret.COMPARISON,
    "shap": vs_shap.COMPARISON,
    "nnsight": vs_nnsight.COMPARISON,
    "mlserver": vs_mlserver.COMPARISON,
}
NAME = "peers"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare with every peer asked for, and print the page."""
    options = _options(arguments)
    torch.set_num_threads(1)
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call] # not annotated
    where = origin("tests.bench.peers", arguments, threads=1, note=options.note)
    results = files(NAME, where.date, page=options.out, numbers=options.json)
    settings = {name: getattr(options, name) for name in ("repeats", "texts", "lengths", "seconds", "minutes")}
    report = Report(origin=where, settings=settings)
    if options.resume and results.numbers is not None and results.numbers.is_file():
        report = report.resumed(json.loads(results.numbers.read_text()))
        log(f"already finished: {', '.join(report.finished) or 'nothing'}")
    with tempfile.TemporaryDirectory() as directory:
        log("making and proving a random BERT, 6 x 384 ...")
        ours = Ours(directory=classifier(Path(directory), **MINILM))

        def session(name: str) -> Session:
            return Session(
                name=name,
                ours=ours,
                work=options.work.resolve(),
                lengths=tuple(options.lengths),
                texts=options.texts,
                repeats=options.repeats,
                seconds=options.seconds,
                until=time.monotonic() + 60 * options.minutes,
                log=log,
            )

        left = {name: COMPARISONS[name] for name in options.only if name not in report.finished}
        for state in compare(report, left, session):
            report = state
            results.write(report.as_markdown(), report.origin, report.as_json())
    print(report.as_markdown())
    results.tell()
    return 1 if report.failed else 0


def compare(report: Report, comparisons: dict[str, Comparison], session: Callable[[str], Session]) -> Iterator[Report]:
    """Add what each peer gives, piece by piece: every report holds all that was found so far."""
    for name, comparison in comparisons.items():
        running = session(name)
        try:
            for finding in comparison.run(running):
                report = replace(
                    report, findings=(*report.findings, finding), versions=report.versions | running.versions
                )
                yield report
        except (NotBuilt, PeerFailed, OutOfTime) as error:
            log(f"{name}: {error}")
            gone = Absent(peer=name, reason=str(error), crashed=isinstance(error, PeerFailed))
            report = replace(report, absent=(*report.absent, gone))
        report = replace(report, finished=(*report.finished, name))
        yield report


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.peers",
        description="Measure Rollcall against other tools on identical work. Prints a page, progress to stderr.",
    )
    parser.add_argument(
        "--only", nargs="+", choices=COMPARISONS, default=list(COMPARISONS), help="peers (default: all)"
    )
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="measurements of each (default: 3)")
    parser.add_argument("--texts", type=int, default=2, metavar="N", help="texts per length (default: 2)")
    parser.add_argument("--lengths", type=int, nargs="+", default=[32, 128], metavar="TOKENS", help="tokens per text")
    parser.add_argument(
        "--seconds", type=float, default=180.0, help="after which one piece of work is not repeated (default: 180)"
    )
    parser.add_argument(
        "--minutes", type=float, default=30.0, help="after which a peer gets no further work (default: 30)"
    )
    parser.add_argument("--resume", action="store_true", help="keep the peers that today's file of numbers holds")
    parser.add_argument(
        "--work",
        type=Path,
        default=default_work(),
        metavar="DIR",
        help="keep the peers' environments there (default: out/peers)",
    )
    add_options(parser, NAME)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
