"""Verifies an export: each record against its entry, each entry against a signed checkpoint, and the list of files.

Standard library and cryptography only. An export proves that what it holds was in the log. It cannot prove that nothing
was left out, but for what its manifest says that it was asked for.
"""

from __future__ import annotations

import json
from pathlib import Path

from rollcall.audit.merkle import leaf_hash
from rollcall.audit.notes import NoteError, Proof, Verifier, open_checkpoint
from rollcall.audit.verifying import Report, check_entry, parse_object, sha256

RECORDS, MANIFEST, KEY, PROOFS, CHECKPOINT = "records.jsonl", "manifest.json", "log.vkey", "proofs", "checkpoint.note"


def verify_export(directory: Path, key: Verifier | None) -> Report:
    """Verify the export in `directory`. Raises OSError, NoteError."""
    report = Report(subject=f"export {directory}")
    if key is None:
        key = Verifier.parse((directory / KEY).read_text(encoding="utf-8"))
        report.note("the key came with the export: give --key to know whose log it is")
    _check_files(directory, report)
    try:
        checkpoint = open_checkpoint((directory / CHECKPOINT).read_text(encoding="utf-8"), [key])
        report.note(f"log {checkpoint.origin}, {checkpoint.size} entries")
    except NoteError as error:
        report.wrong(CHECKPOINT, str(error))
    for number, line in enumerate((directory / RECORDS).read_bytes().splitlines(), start=1):
        report.entries += 1
        _check_line(directory, f"{RECORDS} line {number}", line, key, report)
    report.note(f"{report.entries} records")
    return report


def _check_line(directory: Path, place: str, line: bytes, key: Verifier, report: Report) -> None:
    row = parse_object(line)
    entry = parse_object(str((row or {}).get("entry")).encode())
    if row is None or entry is None:
        report.wrong(place, "is no record")
        return
    place = str(entry.get("record_id"))
    check_entry(report, place, entry, str(row.get("envelope")).encode())
    path = directory / PROOFS / f"{Path(place).name}.tlog-proof"
    try:
        Proof.parse(path.read_text(encoding="utf-8")).check(leaf_hash(str(row["entry"]).encode()), [key])
    except OSError as error:
        report.wrong(place, f"its proof cannot be read: {error.strerror}")
    except NoteError as error:
        report.wrong(place, f"its proof does not hold: {error}")


def _check_files(directory: Path, report: Report) -> None:
    """Hold each file against the manifest."""
    try:
        files = dict(json.loads((directory / MANIFEST).read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        report.wrong(MANIFEST, f"cannot be read: {type(error).__name__}")
        return
    for name, digest in files.items():
        path = directory / name
        if not path.is_file() or sha256(path.read_bytes()) != digest:
            report.wrong(name, "is not the file that the manifest lists")
    for required in (RECORDS, CHECKPOINT):
        if required not in files:
            report.wrong(required, "is not in the manifest")
