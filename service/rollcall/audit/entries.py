"""Entries of the log: what a leaf is the hash of. Small canonical JSON; pure.

{"created_at", "envelope_sha256", "record_id", "type", "v": 1} for a record, whose type is "explanation" or "decision",
and as the first of all {"created_at", "key", "origin", "type": "genesis", "v": 1} with the verifier key that the log
begins with.
"""

from __future__ import annotations

from rollcall.audit.canonical import canonical

VERSION = 1
GENESIS = "genesis"


def record_entry(*, kind: str, record_id: str, created_at: str, envelope_sha256: str) -> bytes:
    """Write the entry of a record."""
    return canonical(
        {
            "v": VERSION,
            "type": kind,
            "record_id": record_id,
            "created_at": created_at,
            "envelope_sha256": envelope_sha256,
        }
    )


def genesis_entry(*, origin: str, key: str, created_at: str) -> bytes:
    """Write the entry that a log begins with."""
    return canonical({"v": VERSION, "type": GENESIS, "origin": origin, "key": key, "created_at": created_at})
