"""Proofs, verified here and not believed: that an entry is in the log, and that the log only ever grew. Pure but Watch.

What verifies is the auditor's own verifier (`audit.notes`, `audit.merkle`), which an export brings along too.
"""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from rollcall.audit.merkle import leaf_hash, verify_consistency, verify_inclusion
from rollcall.audit.notes import Checkpoint, NoteError, Proof, Verifier, open_checkpoint
from rollcall_client import LogCheckpoint, LogProof


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a verification: what was asked, whether it holds, and by which values."""

    question: str
    holds: bool
    found: str


def verify_record(envelope: str, record_id: str, proof: LogProof, known: Verifier | None) -> tuple[Step, ...]:
    """Verify that a record's envelope is what the log has for it; `known` is the log's key from somewhere else."""
    entry = _read(proof.entry)
    digest = sha256(envelope.encode()).hexdigest()
    return (
        Step(
            question="The entry names this envelope, to the last byte",
            holds=entry.get("envelope_sha256") == digest,
            found=f"SHA-256 {digest}",
        ),
        Step(
            question="The entry is of this record",
            holds=entry.get("record_id") == record_id,
            found=f"{entry.get('type')} {entry.get('record_id')}",
        ),
        *verify_entry(proof, known),
    )


def verify_entry(proof: LogProof, known: Verifier | None) -> tuple[Step, ...]:
    """Verify that an entry is in a log that a key has signed."""
    leaf = leaf_hash(proof.entry.encode())
    try:
        key = known or Verifier.parse(proof.verifier_key)
        path = Proof.parse(proof.proof)
        checkpoint = open_checkpoint(path.note, [key])
    except NoteError as error:
        return (Step(question="The log's key has signed the checkpoint", holds=False, found=f"{error}"),)
    return (
        Step(
            question="The entry's hash leads to the root of the log",
            holds=verify_inclusion(
                leaf=leaf, index=path.index, size=checkpoint.size, path=path.path, root=checkpoint.root
            ),
            found=f"leaf {leaf.hex()}, entry {path.index} of {checkpoint.size}, by {len(path.path)} hashes "
            f"to root {checkpoint.root.hex()}",
        ),
        Step(question="The log's key has signed that root", holds=True, found=key.line()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A state of the log that this console has verified, and when."""

    checkpoint: Checkpoint
    note: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """The newest state of the log, held against the one that was seen before, if any."""

    now: Seen | None
    before: Seen | None
    steps: tuple[Step, ...]


class Watch:
    """Keeps the largest state of the log that this console has seen since it started; of any thread."""

    def __init__(self, known: Verifier | None) -> None:
        self._known = known
        self._lock = threading.Lock()
        self._seen: Seen | None = None

    @property
    def seen(self) -> Seen | None:
        """The largest state so far."""
        return self._seen

    def look(self, newest: LogCheckpoint, before: Seen | None) -> Looked:
        """Verify the newest state, with its proof that `before` is its beginning, and keep it if it holds."""
        try:
            key = self._known or Verifier.parse(newest.verifier_key)
            checkpoint = open_checkpoint(newest.note, [key])
        except NoteError as error:
            failed = Step(question="The log's key has signed the newest state", holds=False, found=f"{error}")
            return Looked(now=None, before=before, steps=(failed,))
        steps = [Step(question="The log's key has signed the newest state", holds=True, found=key.line())]
        if before is not None:
            old = before.checkpoint
            steps.append(
                Step(
                    question="It begins with the state that this console saw before",
                    holds=old.origin == checkpoint.origin
                    and verify_consistency(
                        old=old.size,
                        old_root=old.root,
                        new=checkpoint.size,
                        new_root=checkpoint.root,
                        path=newest.consistency,
                    ),
                    found=f"{old.size} entries under {old.root.hex()}, seen at {before.at:%Y-%m-%d %H:%M:%S} UTC",
                )
            )
        now = Seen(checkpoint=checkpoint, note=newest.note, at=datetime.now(UTC))
        if all(step.holds for step in steps):
            with self._lock:
                if self._seen is None or self._seen.checkpoint.size <= checkpoint.size:
                    self._seen = now
        return Looked(now=now, before=before, steps=tuple(steps))


def root_text(checkpoint: Checkpoint) -> str:
    """Write a root as checkpoints do."""
    return base64.b64encode(checkpoint.root).decode()


def _read(entry: str) -> dict[str, str]:
    try:
        found = json.loads(entry)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
