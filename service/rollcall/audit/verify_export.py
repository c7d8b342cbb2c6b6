"""Verifies an export: each record against its entry, each entry against a signed checkpoint, and the list of files.

Standard library and cryptography only. An export proves that what it holds was in the log. It cannot prove that nothing
was left out, but for what its manifest says that it was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rollcall.audit.merkle import leaf_hash
from rollcall.audit.notes import NoteError, Proof, Verifier, open_checkpoint, open_note
from rollcall.audit.verifying import Report, check_entry, parse_object, sha256

FORMAT = "rollcall-export-1"
RECORDS, MANIFEST, KEY, PROOFS, CHECKPOINT = "records.jsonl", "manifest.note", "log.vkey", "proofs", "checkpoint.note"
DIGEST_DIGITS = 64
CACHE = "__pycache__"
"""What Python leaves beside the verifier's source when it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What was signed of an export: facts about it by their names, and digests of its files."""

    facts: Mapping[str, str]
    files: Mapping[str, str]

    @classmethod
    def read(cls, note: str, key: Verifier) -> Manifest:
        """Open a manifest that the key has signed; NoteError."""
        first, *lines = open_note(note, [key]).splitlines()
        if first != FORMAT:
            message = f"a manifest begins with {FORMAT}"
            raise NoteError(message)
        facts, files = dict[str, str](), dict[str, str]()
        for line in lines:
            word, _, rest = line.partition(" ")
            if len(word) == DIGEST_DIGITS and rest.startswith(" "):
                files[rest[1:]] = word
            else:
                facts[word] = rest
        return cls(facts=facts, files=files)


def verify_export(directory: Path, key: Verifier | None) -> Report:
    """Verify the export in `directory`. Raises OSError, NoteError."""
    report = Report(subject=f"export {directory}")
    if key is None:
        key = Verifier.parse((directory / KEY).read_text(encoding="utf-8"))
        report.note("the key came with the export: give --key to know whose log it is")
    # 1 the list of files is signed, and is what is there
    manifest = _manifest(directory, key, report)
    # 2 the checkpoint is signed, and each record is under it
    try:
        checkpoint = open_checkpoint((directory / CHECKPOINT).read_text(encoding="utf-8"), [key])
        report.note(f"log {checkpoint.origin}, {checkpoint.size} entries")
    except NoteError as error:
        report.wrong(CHECKPOINT, str(error))
    for number, line in enumerate((directory / RECORDS).read_bytes().splitlines(), start=1):
        report.entries += 1
        _check_line(directory, f"{RECORDS} line {number}", line, key, report)
    # 3 as many as were signed for
    if manifest is not None:
        facts = manifest.facts
        if facts.get("records") != str(report.entries):
            report.wrong(RECORDS, f"has {report.entries} records, and the manifest says {facts.get('records')}")
        report.note(f"asked for: {facts.get('scope')}; left out as unsigned then: {facts.get('unsigned')}")
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


def _manifest(directory: Path, key: Verifier, report: Report) -> Manifest | None:
    """Open the manifest, and hold each file against it; None where it does not hold itself."""
    try:
        manifest = Manifest.read((directory / MANIFEST).read_text(encoding="utf-8"), key)
    except OSError as error:
        report.wrong(MANIFEST, f"cannot be read: {error.strerror}")
        return None
    except NoteError as error:
        report.wrong(MANIFEST, str(error))
        return None
    for name, digest in manifest.files.items():
        path = directory / name
        if not path.is_file() or sha256(path.read_bytes()) != digest:
            report.wrong(name, "is not the file that the manifest lists")
    there = (path.relative_to(directory) for path in sorted(directory.rglob("*")) if path.is_file())
    for found in there:
        if found.as_posix() not in {*manifest.files, MANIFEST} and CACHE not in found.parts:
            report.wrong(found.as_posix(), "is not in the manifest")
    return manifest
