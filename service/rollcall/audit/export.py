"""An export: records with their proofs, in a directory that an auditor verifies without us.

`records.jsonl` holds one record a line, entry and envelope exactly as they were logged; `proofs` a C2SP tlog-proof for
each; `rollcall` the verifier's own source. Everything is listed with its SHA-256 in `manifest.json`. Payloads stay
where they are: an export holds no personal data. The same records under the same checkpoint give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

import rollcall
from rollcall.audit import queries
from rollcall.audit.canonical import sha256
from rollcall.audit.notes import Verifier
from rollcall.audit.verify_export import CHECKPOINT, KEY, MANIFEST, PROOFS, RECORDS

FORMAT = "rollcall-export-1"
README = "README.txt"
VERIFIER = ("__init__.py", *(f"audit/{name}.py" for name in (
    "__init__", "merkle", "notes", "verify", "verify_events", "verify_export", "verify_log", "verify_records",
    "verify_tiles", "verifying",
)))  # fmt: skip
"""Files of the package that verifying needs."""
INSTRUCTIONS = """Records of explanations, exported by Rollcall {version}.

What is here: records.jsonl, one record a line: its entry in the log and its envelope, exactly as they were logged.
proofs/: for each record, that its entry is in the log under the signed checkpoint.note (C2SP tlog-proof).

To verify, in this directory, with Python 3.11 or later:

    python3 -m venv /tmp/auditor
    /tmp/auditor/bin/pip install cryptography
    /tmp/auditor/bin/python -m rollcall.audit.verify . --key KEY

KEY is the log's verifier key, which you should have from somewhere else than this directory; log.vkey says what it
claims to be. Exit code 0: every record is in the log, unaltered. 1: something does not hold, and it is named.

What this proves: that each record here is byte for byte what was logged before the checkpoint was signed. What it does
not prove: that a record was true when it was written, or that no record was left out of this directory.
"""


class NothingSigned(Exception):
    """The log has no checkpoint yet, or none that covers what is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was exported: records, those that came after the checkpoint and were left out, and the checkpoint's size."""

    records: int
    unsigned: int
    size: int


def export(connection: Connection, out: Path, key: Verifier, wanted: Sequence[str] = ()) -> Exported:
    """Write an export of the records with these ids, or of all, into the new directory `out`.

    Raises NothingSigned, FileExistsError, OSError.
    """
    signed = queries.last_checkpoint(connection)
    if signed is None:
        message = "the log has no checkpoint yet"
        raise NothingSigned(message)
    out.mkdir(parents=True)
    lines, unsigned = [], 0
    files: dict[str, bytes] = {
        CHECKPOINT: signed.note.encode(),
        KEY: f"{key.line()}\n".encode(),
        README: INSTRUCTIONS.format(version=rollcall.__version__).encode(),
    }
    for record_id in wanted or list(queries.record_ids(connection)):
        kept = queries.kept(connection, record_id)
        if kept.leaf_index >= signed.size:
            unsigned += 1
            continue
        line = {"entry": kept.entry.decode(), "envelope": kept.envelope.decode()}
        lines.append(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
        proof = queries.proof(connection, kept.leaf_index, signed)
        files[f"{PROOFS}/{record_id}.tlog-proof"] = proof.text().encode()
    files[RECORDS] = "".join(lines).encode()
    package = Path(rollcall.__file__).parent
    files |= {f"rollcall/{name}": (package / name).read_bytes() for name in VERIFIER}
    manifest = {
        "format": FORMAT,
        "origin": queries.origin(connection),
        "size": signed.size,
        "scope": list(wanted) or "all",
        "records": len(lines),
        "left_out_as_unsigned": unsigned,
        "files": {name: sha256(data) for name, data in sorted(files.items())},
    }
    files[MANIFEST] = (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode()
    for name, data in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return Exported(records=len(lines), unsigned=unsigned, size=signed.size)
