"""Measure Rollcall against its peers: `python -m tests.bench.peers`. Exit code 1 where scores disagree."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
import transformers

from tests.bench.bench_explain import _classifier, log
from tests.bench.peers import vs_captum, vs_ferret, vs_mlserver, vs_nnsight, vs_shap
from tests.bench.peers.environments import NotBuilt, default_work
from tests.bench.peers.measure import Finding
from tests.bench.peers.ours import Ours
from tests.bench.peers.process import PeerFailed
from tests.bench.peers.report import Absent, Report
from tests.bench.peers.session import Session

COMPARISONS = {
    "captum": vs_captum.COMPARISON,
    "ferret": vs_ferret.COMPARISON,
    "shap": vs_shap.COMPARISON,
    "nnsight": vs_nnsight.COMPARISON,
    "mlserver": vs_mlserver.COMPARISON,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare with every peer asked for, and print the page."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _options(given)
    torch.set_num_threads(1)
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call] # not annotated
    findings: list[Finding] = []
    absent: list[Absent] = []
    with tempfile.TemporaryDirectory() as directory:
        log("making and proving a random BERT, 6 x 384 ...")
        session = Session(
            ours=Ours(directory=_classifier(Path(directory))),
            work=options.work.resolve(),
            lengths=tuple(options.lengths),
            texts=options.texts,
            repeats=options.repeats,
            log=log,
        )
        for name in options.only:
            try:
                findings.extend(COMPARISONS[name].run(session))  # keeps what was found before a failure
            except (NotBuilt, PeerFailed) as error:
                log(f"{name}: {error}")
                absent.append(Absent(peer=name, reason=str(error), crashed=isinstance(error, PeerFailed)))
    report = Report(
        command=shlex.join(["python", "-m", "tests.bench.peers", *_shown(given)]),
        date=dt.datetime.now(tz=dt.UTC).date().isoformat(),
        versions=session.versions,
        findings=tuple(findings),
        absent=tuple(absent),
    )
    print(report.as_markdown())
    if options.out:
        options.out.write_text(report.as_markdown())
    if options.json:
        options.json.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    return 1 if report.failed else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.peers",
        description="Measure Rollcall against other tools on identical work. Prints a page, progress to stderr.",
    )
    parser.add_argument(
        "--only", nargs="+", choices=COMPARISONS, default=list(COMPARISONS), help="peers (default: all)"
    )
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="measurements of each (default: 5)")
    parser.add_argument("--texts", type=int, default=3, metavar="N", help="texts per length (default: 3)")
    parser.add_argument("--lengths", type=int, nargs="+", default=[32, 128], metavar="TOKENS", help="tokens per text")
    parser.add_argument(
        "--work",
        type=Path,
        default=default_work(),
        metavar="DIR",
        help="keep the peers' environments there (default: below the user's cache)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there as well")
    parser.add_argument("--out", type=Path, metavar="FILE.md", help="write the page there as well")
    return parser.parse_args(arguments)


def _shown(given: Sequence[str]) -> list[str]:
    """The arguments that change what is measured: not where things are kept."""
    shown: list[str] = []
    skip = False
    for argument in given:
        hidden = argument.partition("=")[0] in {"--work", "--json", "--out"}
        if not (hidden or skip):
            shown.append(argument)
        skip = hidden and "=" not in argument
    return shown


if __name__ == "__main__":
    raise SystemExit(main())
