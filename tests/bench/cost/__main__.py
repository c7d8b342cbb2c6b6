"""Measure what an explanation costs: `python -m tests.bench.cost`. What was found is written after every piece."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import transformers

from tests.bench.cost import sweeps, whole
from tests.bench.cost.memory import peaks
from tests.bench.cost.models import PLANS, QUICK, SIZES, Plan, make, text
from tests.bench.cost.report import Report
from tests.bench.cost.subjects import Bench
from tests.bench.results import add_options, files, log, origin
from tests.harness import serving

NAME = "cost"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the page, and keep it."""
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call] # not annotated
    where = origin("tests.bench.cost", arguments, threads=options.threads, note=options.note)
    results = files(NAME, where.date, page=options.out, numbers=options.json, keep=not options.quick)
    report = Report(origin=where)
    for size in options.sizes:
        for state in measure(report, size, QUICK if options.quick else PLANS[size]):
            report = state
            results.write(report.page(), report.origin, report.numbers())
    print(report.page())
    results.tell()
    return 0


def measure(report: Report, size: str, plan: Plan) -> Iterator[Report]:
    """Add what is found of one size, piece by piece."""
    with tempfile.TemporaryDirectory() as directory:
        log(f"{size}: making and proving the model ...")
        tiny = make(size, Path(directory))
        with serving(tiny.loaded) as harness:
            bench = Bench(tiny=tiny, harness=harness)
            most = tiny.backend.shape.max_tokens
            lengths = [tokens for tokens in plan.sweep if tokens <= most]
            # Memory first: later on the process holds more, which would be used again without a trace.
            log(f"{size}: peaks of memory at {', '.join(map(str, lengths))} tokens ...")
            found = peaks(lambda tokens: bench.explain(text(tiny, tokens, 0)), lengths)
            for tokens in plan.lengths:
                at = whole.measure(bench, size, tokens, texts=plan.texts, repeats=plan.repeats)
                report = replace(report, whole=(*report.whole, at))
                yield report
            again, tokens = plan.sweep_repeats, plan.sweep_tokens
            report = replace(report, lengths=(*report.lengths, *sweeps.over_length(bench, size, lengths, found, again)))
            yield report
            if plan.units:
                units = sweeps.over_units(bench, size, tokens, plan.units, again)
                report = replace(report, units=(*report.units, *units))
            if plan.max_rows:
                rows = sweeps.over_rows(bench, size, tokens, plan.max_rows, again)
                report = replace(report, rows=(*report.rows, *rows))
            batches = sweeps.over_batch(bench, size, tokens, plan.batches, again)
            yield replace(report, batches=(*report.batches, *batches))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.cost",
        description="Measure explanations against their rows on the stock model, and how their cost grows.",
    )
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES), help="models (default: all)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads that compute (default: 1)")
    parser.add_argument("--quick", action="store_true", help="seconds a model, kept only where told: to see it work")
    add_options(parser, NAME)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
