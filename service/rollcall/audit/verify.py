"""Verifies a log, an export or a single proof, without the service: standard library and cryptography only.

    python -m rollcall.audit.verify PATH [--key FILE|KEY] [--checkpoint FILE ...] [--entry FILE]

PATH is the directory of a log or its database, the directory of an export, or one `.tlog-proof` file with `--entry`,
the entry that it is about. Exit codes: 0 everything holds, 1 something does not, and each line says what and of which
record, 2 it could not be looked at. Nothing is written, and nothing is decrypted.

Without `--key` the key is taken from the log itself: that shows that the log agrees with itself, not whose it is. A
checkpoint that was kept elsewhere (`--checkpoint`) shows that nothing has been taken away or rewritten since.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rollcall.audit.merkle import leaf_hash
from rollcall.audit.notes import NoteError, Proof, Verifier
from rollcall.audit.verify_export import RECORDS, verify_export
from rollcall.audit.verify_log import DATABASE, verify_log
from rollcall.audit.verifying import Report, Unverifiable

HOLDS, BROKEN, UNVERIFIABLE = 0, 1, 2
MOST_LINES = 50
"""Of what is wrong; the rest is counted."""


def options(parser: argparse.ArgumentParser) -> None:
    """Declare what can be asked for."""
    parser.add_argument("path", type=Path, metavar="PATH", help="a log's or an export's directory, or a proof file")
    parser.add_argument("--key", metavar="FILE|KEY", help="the log's verifier key, or a file with it")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a checkpoint that was kept elsewhere; may be repeated",
    )
    parser.add_argument("--entry", type=Path, metavar="FILE", help="the entry that a proof file is about")


def run(arguments: argparse.Namespace) -> int:
    """Verify, say what was found, and return the exit code."""
    return answer(
        arguments,
        lambda key, kept: verify(arguments.path, key=key, checkpoints=kept, entry=arguments.entry),
    )


def answer(arguments: argparse.Namespace, verify: Callable[[Verifier | None, Sequence[str]], Report]) -> int:
    """Read key and checkpoints, verify with them, say what was found, and return the exit code."""
    try:
        checkpoints = [path.read_text(encoding="utf-8") for path in arguments.checkpoint]
        report = verify(_key(arguments.key), checkpoints)
    except (OSError, NoteError, Unverifiable, UnicodeDecodeError) as error:
        print(f"cannot verify: {error}", file=sys.stderr)  # noqa: T201 - a program's answer
        return UNVERIFIABLE
    for line in report.lines(MOST_LINES):
        print(line)  # noqa: T201 - a program's answer
    return BROKEN if report.problems else HOLDS


def verify(path: Path, *, key: Verifier | None, checkpoints: Sequence[str] = (), entry: Path | None = None) -> Report:
    """Verify what is at `path`. Raises Unverifiable, OSError, NoteError where it cannot be looked at."""
    if path.is_dir() and (path / RECORDS).is_file():
        return verify_export(path, key)
    if path.is_dir():
        return verify_log(path / DATABASE, key, checkpoints)
    if path.suffix == ".tlog-proof":
        return _verify_proof(path, key, entry)
    return verify_log(path, key, checkpoints)


def _verify_proof(path: Path, key: Verifier | None, entry: Path | None) -> Report:
    if key is None or entry is None:
        message = "a proof file needs --key and --entry"
        raise Unverifiable(message)
    report = Report(subject=f"proof {path.name}")
    try:
        checkpoint = Proof.parse(path.read_text(encoding="utf-8")).check(leaf_hash(entry.read_bytes()), [key])
    except NoteError as error:
        report.wrong(path.name, str(error))
    else:
        report.note(f"the entry is in the log {checkpoint.origin} of {checkpoint.size} entries")
    return report


def _key(given: str | None) -> Verifier | None:
    if given is None:
        return None
    path = Path(given)
    return Verifier.parse(path.read_text(encoding="utf-8") if path.is_file() else given)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program of its own."""
    parser = argparse.ArgumentParser(prog="rollcall.audit.verify", description="verify a log, an export or a proof")
    options(parser)
    return run(parser.parse_args(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
