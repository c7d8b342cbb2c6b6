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
        for part in measure(report, size, QUICK if options.quick else PLANS[size]):
            report = report.plus(part)
            results.write(report.as_markdown(), report.origin, report.as_json())
    print(report.as_markdown())
    results.tell()
    return 0


def measure(report: Report, size: str, plan: Plan) -> Iterator[Report]:
    """Measure one size of the run that `report` is of; yields what was found part by part."""
    log(f"{size}: making and proving the model ...")
    part = Report(origin=report.origin)
    with tempfile.TemporaryDirectory() as directory:
        tiny = make(size, Path(directory))
        assert not tiny.loaded.failed
        with serving(tiny.loaded) as harness:
            bench = Bench(tiny=tiny, harness=harness)
            # 1. Memory first: nothing else has been run yet that could hold some.
            lengths = [tokens for tokens in plan.sweep if tokens <= tiny.backend.shape.max_tokens]
            texts = {tokens: text(tiny, tokens, 0) for tokens in lengths}
            log(f"{size}: memory at {', '.join(map(str, lengths))} tokens ...")
            held = peaks(lambda tokens: bench.explain(texts[tokens]), lengths)
            # 2. An explanation against its rows.
            for tokens in plan.lengths:
                found = whole.measure(bench, size, tokens, texts=plan.texts, repeats=plan.repeats)
                yield replace(part, whole=(found,))
            # 3. How its cost grows.
            repeats, tokens = plan.sweep_repeats, plan.sweep_tokens
            yield replace(part, batches=tuple(sweeps.over_batch(bench, size, tokens, plan.batches, repeats)))
            if plan.units:
                yield replace(part, units=tuple(sweeps.over_units(bench, size, tokens, plan.units, repeats)))
            if plan.max_rows:
                yield replace(part, rows=tuple(sweeps.over_rows(bench, size, tokens, plan.max_rows, repeats)))
            yield replace(part, lengths=tuple(sweeps.over_length(bench, size, lengths, held, repeats)))


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
