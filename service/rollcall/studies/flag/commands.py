"""`rollcall study flag`: its options, and what it writes. Heavy packages wait until it runs."""
# ruff: noqa: PLC0415 - imports wait for their command

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rollcall.studies.commands import StudyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rollcall.studies.flag.families.base import Family
    from rollcall.studies.flag.run import Measured, Runner

QUICK_INPUTS, FULL_INPUTS = 24, 120
QUICK_SEEDS, FULL_SEEDS = 1, 2


def flag_options(parser: argparse.ArgumentParser) -> None:
    """Options of `rollcall study flag`."""
    parser.add_argument("--quick", action="store_true", help="generated families only, few inputs: minutes, no data")
    parser.add_argument("--families", metavar="NAMES", help="only these families, with commas")
    parser.add_argument(
        "--instances", type=int, metavar="N", help=f"inputs of each model (default {FULL_INPUTS}, quick {QUICK_INPUTS})"
    )
    parser.add_argument(
        "--seeds", type=int, metavar="N", help=f"models of each family (default {FULL_SEEDS}, quick {QUICK_SEEDS})"
    )
    parser.add_argument("--data", type=Path, metavar="DIRECTORY", help="folder of the data sets, for the full tier")
    parser.add_argument(
        "--out", type=Path, default=Path("out/study-flag"), metavar="DIRECTORY", help="report (default %(default)s)"
    )
    parser.add_argument("--cache", type=Path, metavar="DIRECTORY", help="where models are kept (default OUT/models)")
    parser.add_argument(
        "--finished", action="store_true", help="report on the models measured so far; measure no other"
    )
    parser.add_argument("--check", action="store_true", help="fail where the quick tier is worse than its baseline")
    parser.add_argument("--write-baseline", type=Path, metavar="FILE", help="write what --check compares with")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    parser.add_argument("--list", action="store_true", help="list the families and what is known of them")


def study_flag(options: argparse.Namespace) -> bool:
    """Run the study and write its report; False where --check finds a regression. Raises StudyError, OSError."""
    from rollcall.studies.flag.baseline import baseline_of, read_baseline, regressions
    from rollcall.studies.flag.evaluate import judged, report
    from rollcall.studies.flag.members import FAMILIES
    from rollcall.studies.flag.page import page
    from rollcall.studies.flag.run import Runner
    from rollcall.verdict.policies import STANDARD

    if options.list:
        print("\n".join(f"{one.name:24}{one.layers} layers  {one.truth}" for one in FAMILIES))
        return True
    options.out.mkdir(parents=True, exist_ok=True)
    runner = Runner(
        cache=options.cache or options.out / "models", data=options.data, out=options.out, quiet=options.quiet
    )
    measured = _measured(options, runner, chosen(options, FAMILIES, runner))
    found = report(measured, STANDARD)
    everything = [one for one in judged(measured, STANDARD) if one.offered]
    (options.out / "report.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    try:
        from rollcall.studies.flag.plots import draw

        plots = draw(found, everything, options.out, threshold=STANDARD.alignment_threshold)
    except ImportError:
        plots = []
        print("no pictures: pip install 'rollcall[studies]' for matplotlib", file=sys.stderr)
    text = page(found, plots)
    (options.out / "report.md").write_text(text, encoding="utf-8")
    print(json.dumps(found, indent=1) if options.json else text.split("\n## By family")[0])
    print(f"\nthe whole report: {options.out / 'report.md'}", file=sys.stderr)
    if options.write_baseline is not None:
        options.write_baseline.write_text(json.dumps(baseline_of(found), indent=1) + "\n", encoding="utf-8")
    worse = regressions(found, read_baseline()) if options.check else []
    for line in worse:
        print(f"rollcall: worse than the baseline: {line}", file=sys.stderr)
    return not worse


def chosen(options: argparse.Namespace, families: Sequence[Family], runner: Runner) -> list[Family]:
    """The families that are asked for and whose data are there; says which are left out. Raises StudyError."""
    by_name = {one.name: one for one in families}
    if options.families:
        names = [name.strip() for name in options.families.split(",") if name.strip()]
        unknown = [name for name in names if name not in by_name]
        if unknown:
            message = f"--families: no family {', '.join(unknown)}; there are {', '.join(by_name)}"
            raise StudyError(message)
        some = [by_name[name] for name in names]
    else:
        some = [one for one in families if one.quick or not options.quick]
    able = [one for one in some if not runner.lacks(one)]
    left = [f"{one.name} ({', '.join(runner.lacks(one))})" for one in some if one not in able]
    if left:
        print(f"LEFT OUT, what they need is not there: {'; '.join(left)}", file=sys.stderr)
    if not able:
        message = "no family is left to study"
        raise StudyError(message)
    return able


def _measured(options: argparse.Namespace, runner: Runner, families: Sequence[Family]) -> list[Measured]:
    from rollcall.studies.flag.run import FAULTS, FAULTY, FAULTY_INPUTS, MissingMemberError
    from rollcall.studies.journal import JournalError

    inputs = options.instances or (QUICK_INPUTS if options.quick else FULL_INPUTS)
    seeds = options.seeds or (QUICK_SEEDS if options.quick else FULL_SEEDS)
    try:
        models = [
            (family, seed)
            for seed in range(seeds)
            for family in families
            if not options.finished or runner.finished(family, seed, inputs)
        ]
        if not models:
            message = f"--finished: no model with {inputs} inputs has been measured in {options.out}"
            raise StudyError(message)
        measured = [runner.measure(family, seed, inputs) for family, seed in models]
        faulty = [family for family in families if family.name == FAULTY]
        few = min(inputs, FAULTY_INPUTS)
        return measured + [runner.measure(one, 0, few, fault=fault) for one in faulty for fault in FAULTS]
    except (MissingMemberError, JournalError) as error:
        raise StudyError(str(error)) from error
