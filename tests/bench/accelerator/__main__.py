"""Measure explanations on an accelerator: `python -m tests.bench.accelerator --device cuda:0`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

import torch
import transformers

from rollcall.backends.replays import Replays
from rollcall.backends.tensors import DTYPES
from rollcall.engine.threads import configure_threads
from tests.bench.accelerator.measure import QUICK, QUICK_TOKENS, Found, Plan, measure, numbers
from tests.bench.accelerator.models import SIZES, made
from tests.bench.accelerator.report import page
from tests.bench.results import add_options, files, log, origin

NAME = "accelerator"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the page, and keep it; what was found is written after every model."""
    options = _options(arguments)
    configure_threads()
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call] # not annotated
    where = origin("tests.bench.accelerator", arguments, threads=torch.get_num_threads(), note=options.note)
    results = files(NAME, where.date, page=options.out, numbers=options.json, keep=not options.quick)
    plan = (
        QUICK
        if options.quick
        else replace(
            Plan(),
            seconds=options.seconds,
            latency=options.latency,
            processes=tuple(options.processes),
        )
    )
    tokens = QUICK_TOKENS if options.quick else options.tokens
    found: list[Found] = []
    for name in options.models:
        log(f"{name}: making and proving the model on {options.device} in {options.dtype} ...")
        with made(name, device=options.device, dtype=options.dtype, tokens=tokens) as pair:
            if options.anew:
                pair.backend.replays = Replays(device=options.device)
            found.append(measure(pair, plan))
        results.write(page(where, found), where, {"found": [numbers(each) for each in found]})
    print(page(where, found))
    results.tell()
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.accelerator",
        description="Measure latency, throughput and the share of the device's limit of explanations on one device.",
    )
    parser.add_argument("--device", default="cuda:0", help='"cuda:N", or "cpu" to see it work (default: cuda:0)')
    parser.add_argument("--dtype", choices=list(DTYPES), default="bfloat16", help="precision (default: bfloat16)")
    parser.add_argument(
        "--models",
        nargs="+",
        choices=list(SIZES),
        default=["bert-base-demo", "bert-base", "roberta-large", "vit-base"],
        help="sizes: the demo model grown to BERT-base, and random ones",
    )
    parser.add_argument("--tokens", type=int, default=128, metavar="N", help="tokens of the texts (default: 128)")
    parser.add_argument(
        "--processes", type=int, nargs="*", default=[4, 12], metavar="N", help="also so many at once (default: 4 12)"
    )
    parser.add_argument("--latency", type=int, default=200, metavar="N", help="explanations one by one (default: 200)")
    parser.add_argument("--seconds", type=float, default=6.0, metavar="S", help="of each saturated run (default: 6)")
    parser.add_argument("--anew", action="store_true", help="launch everything anew: without recorded graphs")
    parser.add_argument("--quick", action="store_true", help="seconds a model, kept only where told: to see it work")
    add_options(parser, NAME)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
