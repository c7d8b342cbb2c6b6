"""`rollcall study NAME` for the papers, and `rollcall study all`: options, and what they write."""
# ruff: noqa: PLC0415 - heavy packages wait until a study runs

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import repeat, zip_longest
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from rollcall.disk import replace_file
from rollcall.studies.commands import StudyError
from rollcall.studies.papers.catalogue import ENTRIES, Entry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rollcall.studies.papers.frame import Claim, Result


def paper_options(studies: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add a command for each paper, and one for all of them."""
    for entry in ENTRIES:
        _add(studies, entry.name, entry.question, (entry,))
    _add(studies, "all", "the studies of all papers, one after the other", ENTRIES)


def _add(
    studies: argparse._SubParsersAction[argparse.ArgumentParser], name: str, told: str, entries: Sequence[Entry]
) -> None:
    parser = studies.add_parser(name, help=told, description=told)
    parser.add_argument("--quick", action="store_true", help="the reduced form: minutes")
    parser.add_argument("--seeds", type=_count, metavar="N", help="models of each kind (default: the study's own)")
    parser.add_argument(
        "--tasks", default="", metavar="NAMES", help="only these tasks, with commas, in studies of several on data"
    )
    parser.add_argument("--data", type=Path, metavar="DIRECTORY", help="folder of the data sets")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/papers"),
        metavar="DIRECTORY",
        help="reports, in a folder for each study (default %(default)s)",
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("out/papers-work"),
        metavar="DIRECTORY",
        help="trained models and finished parts, to go on after a stop (default %(default)s)",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="fail where a claim of the paper does not hold; in the reduced form, one that is clear there",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    parser.set_defaults(study=partial(study_papers, entries), jobs=1)
    if len(entries) > 1:
        parser.add_argument(
            "--jobs", type=_count, metavar="N", help="studies at a time, a process each (default %(default)s)"
        )


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        message = f"expected a number from 1 up, got {text}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def study_papers(entries: Sequence[Entry], options: argparse.Namespace) -> bool:
    """Run studies and write their reports; False where `--check` finds a claim that does not hold.

    A study whose data are not there is left out, and said so. Raises StudyError where none is left, OSError.
    """
    able = []
    for entry in entries:
        if lacking := entry.load().lacking(options.data):
            print(f"LEFT OUT, not in --data: {entry.name} ({', '.join(lacking)})", file=sys.stderr)
        else:
            able.append(entry)
    if not able:
        message = "no study is left: --data must be the folder of the data sets"
        raise StudyError(message)
    jobs = min(options.jobs, len(able))
    held = _beside(able, options, jobs) if jobs > 1 else [run(entry, options) for entry in able]
    return all(held) or not options.check


def _beside(entries: Sequence[Entry], options: argparse.Namespace, jobs: int) -> list[bool]:
    """Run so many studies at a time, without bars. Neighbours share models, so that they do not begin together."""
    half = (len(entries) + 1) // 2
    mixed = [entry for pair in zip_longest(entries[:half], entries[half:]) for entry in pair if entry is not None]
    sent = ("quick", "seeds", "tasks", "data", "out", "work")  # what else the command line has cannot be sent
    quiet = argparse.Namespace(**{name: getattr(options, name) for name in sent}, quiet=True)
    with ProcessPoolExecutor(jobs, get_context("spawn"), _take_share, (jobs,)) as pool:
        return list(pool.map(run, mixed, repeat(quiet)))


def _take_share(jobs: int) -> None:
    """Leave the other jobs their processors."""
    import torch

    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // jobs))


def run(entry: Entry, options: argparse.Namespace) -> bool:
    """Run one study and write its report; whether no claim fails a check. Raises StudyError, OSError."""
    from rollcall.studies.journal import Journal, JournalError
    from rollcall.studies.papers.frame import QUICK_FORM, Context
    from rollcall.studies.papers.page import page, record

    study = entry.load()
    seeds = tuple(range(options.seeds or (study.quick_seeds if options.quick else study.full_seeds)))
    data = study.digests(options.data)
    subject = {"study": study.name, "generation": study.generation, "quick": options.quick and QUICK_FORM, "data": data}
    journal = options.work / "parts" / f"{study.name}{'-quick' if options.quick else ''}.jsonl"
    try:
        with Journal(journal, subject) as lines:
            context = Context(
                quick=options.quick,
                seeds=seeds,
                data=options.data,
                models=options.work / "models",
                journal=lines,
                quiet=options.quiet,
                tasks=_names(options.tasks),
            )
            result = study.run(context)
    except (JournalError, ValueError) as error:
        message = f"{study.name}: {error}"
        raise StudyError(message) from error
    found = record(study, result, quick=options.quick, seeds=seeds, tasks=_names(options.tasks), data=data)
    out: Path = options.out / study.name
    out.mkdir(parents=True, exist_ok=True)
    text = page(study, result, found, _drawn(result, out))
    replace_file(out / "report.json", json.dumps(found, indent=1, allow_nan=False) + "\n")
    replace_file(out / "report.md", text)
    told = "".join(f"{study.name}: {_told(claim, quick=options.quick)}\n" for claim in result.claims)
    print(told, end="", flush=True)  # at one go: studies that run beside this one write here, too
    print(f"{study.name}: the whole report: {out / 'report.md'}", file=sys.stderr)
    return not any(claim.fails(quick=options.quick) for claim in result.claims)


def _told(claim: Claim, *, quick: bool) -> str:
    """One line about a claim."""
    alone = ", told alone" if quick and not claim.clear else ""
    return f"{'holds' if claim.holds else 'DOES NOT HOLD'}{alone}: {claim.claim} ({claim.seen})"


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in text.split(","))))


def _drawn(result: Result, out: Path) -> list[str]:
    from rollcall.studies.papers.pictures import draw

    try:
        return draw(result.pictures, out)
    except ImportError:
        print("no pictures: pip install 'rollcall[studies]' for matplotlib", file=sys.stderr)
        return []
