"""An export: records with their proofs, in a directory that an auditor verifies without us.

`records.jsonl` holds one record a line, entry and envelope exactly as they were logged; `proofs` a C2SP tlog-proof for
each; `records.csv` the same as a table; `pages` a printable page of each; `rollcall` the verifier's own source.
`manifest.note` lists every file with its SHA-256, and is signed with the log's key. Payloads stay where they are: an
export holds no personal data, unless it is asked to show masked words in its pages. The same records under the same
checkpoint give the same bytes.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

import rollcall
from rollcall.audit import queries
from rollcall.audit.canonical import sha256
from rollcall.audit.notes import Signer
from rollcall.audit.pages import page
from rollcall.audit.queries import Kept, Signed
from rollcall.audit.spreadsheet import table
from rollcall.audit.verify_export import CHECKPOINT, FORMAT, KEY, MANIFEST, PROOFS, RECORDS

README, TABLE, PAGES = "README.txt", "records.csv", "pages"
ALL = "all"
"""Scope of an export of everything."""
ZIP_DATE = (1980, 1, 1, 0, 0, 0)
"""Of every file of a zip: the earliest that the format knows, so that the same files give the same bytes."""
VERIFIER = ("__init__.py", *(f"audit/{name}.py" for name in (
    "__init__", "merkle", "notes", "verify", "verify_events", "verify_export", "verify_log", "verify_records",
    "verify_tiles", "verifying",
)))  # fmt: skip
"""Files of the package that verifying needs."""
INSTRUCTIONS = """Records of explanations, exported by Rollcall {version}.

What is here: records.jsonl, one record a line: its entry in the log and its envelope, exactly as they were logged.
proofs/: for each record, that its entry is in the log under the signed checkpoint.note (C2SP tlog-proof).
records.csv and pages/: the same to read, as a table and as a printable page each, the verdict first.
manifest.note: every file with its SHA-256, signed with the log's key (C2SP signed note).

To verify, in this directory, with Python 3.11 or later:

    python3 -m venv /tmp/auditor
    /tmp/auditor/bin/pip install cryptography
    /tmp/auditor/bin/python -m rollcall.audit.verify . --key KEY

KEY is the log's verifier key, which you should have from somewhere else than this directory; log.vkey says what it
claims to be. Exit code 0: every record is in the log, unaltered, and every file is the one that was signed. 1:
something does not hold, and it is named. If you do not trust the verifier here, take that of a Rollcall of your own.

What this proves: that each record here is byte for byte what was logged before the checkpoint was signed. What it does
not prove: that a record was true when it was written, or that no record was left out of this directory.
"""


class NothingSigned(Exception):
    """The log has no checkpoint yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """An export as its files, with how many records it has, how many came after the checkpoint over `size` entries."""

    files: Mapping[str, bytes] = field(repr=False)
    records: int
    unsigned: int
    size: int

    @property
    def digest(self) -> str:
        """SHA-256 of the signed manifest, which names every other file's: 64 hexadecimal digits."""
        return sha256(self.files[MANIFEST])

    def write(self, out: Path) -> None:
        """Write the files into the new directory `out`. Raises FileExistsError, OSError."""
        out.mkdir(parents=True)
        for name, data in self.files.items():
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def zipped(self) -> bytes:
        """Write the files as one zip: the same files give the same bytes."""
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for name in sorted(self.files):
                info = zipfile.ZipInfo(name, ZIP_DATE)
                info.create_system = 3  # Unix, wherever this runs
                info.external_attr = 0o644 << 16
                archive.writestr(info, self.files[name], zipfile.ZIP_DEFLATED)
        return out.getvalue()


def export(
    connection: Connection,
    signer: Signer,
    wanted: Sequence[str] | None = None,
    words: Mapping[str, Sequence[str]] | None = None,
) -> Bundle:
    """Export the records with these ids, or all of the log. Raises NothingSigned.

    `words` by id: what pages may show of inputs, masked; with None the export has no personal data.
    """
    signed = queries.last_checkpoint(connection)
    if signed is None:
        message = "the log has no checkpoint yet"
        raise NothingSigned(message)
    ids = list(queries.record_ids(connection) if wanted is None else dict.fromkeys(wanted))
    found = [queries.kept(connection, record_id) for record_id in ids]
    records = [(kept, json.loads(kept.envelope)) for kept in found if kept.leaf_index < signed.size]
    package = Path(rollcall.__file__).parent
    files = {
        README: INSTRUCTIONS.format(version=rollcall.__version__).encode(),
        CHECKPOINT: signed.note.encode(),
        KEY: f"{signer.verifier.line()}\n".encode(),
        RECORDS: "".join(_line(kept) for kept, _ in records).encode(),
        TABLE: table(records).encode(),
        **{f"rollcall/{name}": (package / name).read_bytes() for name in VERIFIER},
    }
    for kept, body in records:
        files |= _of_record(connection, kept, body, signed, (words or {}).get(kept.record_id))
    head = {
        "origin": signer.name,
        "checkpoint": signed.size,
        "scope": ALL if wanted is None else f"{len(ids)} asked for",
        "records": len(records),
        "unsigned": len(found) - len(records),
        "texts": "none" if words is None else "masked, in pages",
    }
    files[MANIFEST] = signer.sign("".join(_manifest(head, files))).encode()
    return Bundle(files=files, records=len(records), unsigned=len(found) - len(records), size=signed.size)


def _of_record(
    connection: Connection, kept: Kept, body: Mapping[str, Any], signed: Signed, words: Sequence[str] | None
) -> dict[str, bytes]:
    proof = queries.proof(connection, kept.leaf_index, signed)
    return {
        f"{PROOFS}/{kept.record_id}.tlog-proof": proof.text().encode(),
        f"{PAGES}/{kept.record_id}.html": page(kept, body, signed.size, words).encode(),
    }


def _line(kept: Kept) -> str:
    line = {"entry": kept.entry.decode(), "envelope": kept.envelope.decode()}
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n"


def _manifest(head: Mapping[str, object], files: Mapping[str, bytes]) -> Iterator[str]:
    """Give the manifest's lines: what it is of, and digest and name of each file, as sha256sum writes them."""
    yield f"{FORMAT}\n"
    yield from (f"{name} {value}\n" for name, value in head.items())
    yield from (f"{sha256(files[name])}  {name}\n" for name in sorted(files))
