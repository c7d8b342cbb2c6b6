"""What is kept of an answer for those who come months later, and what its caller is told about that."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class RecordMode(Enum):
    """How much of an answer a record holds, all of it encrypted but for the envelope, which has no personal data."""

    FULL = "full"
    """Text, token ids, scores, effects, witnesses, and attention where it was asked for."""
    SCORES_ONLY = "scores_only"
    """No text and no ids: positions, scores, effects and witnesses."""
    DIGEST_ONLY = "digest_only"
    """Commitments alone: whoever brings the input can show that it is the one."""
    OFF = "off"
    """No record."""


class Durability(Enum):
    """What must have happened to a record before its answer leaves."""

    STRICT = "strict"
    """It is in the log's database."""
    DURABLE = "durable"
    """It is on the disk, flushed, and will be in the log."""
    BEST_EFFORT = "best_effort"
    """Nothing: a crash may lose it."""


class WhenFull(Enum):
    """What happens to an answer that cannot be recorded."""

    REJECT = "reject"
    """It does not leave: the caller hears RESOURCE_EXHAUSTED."""
    DEGRADE = "degrade"
    """It leaves, and says that it was not recorded."""


class AuditChoice(Enum):
    """What a request says about its record."""

    DEFAULT = "default"
    """As the server is set up."""
    OFF = "off"
    """None, please; a server may refuse that."""


class RecordState(Enum):
    """How far a record was when its answer left."""

    NOT_RECORDED = "not_recorded"
    ACCEPTED = "accepted"
    """In memory only."""
    SPOOLED = "spooled"
    """On the disk, flushed."""
    SEQUENCED = "sequenced"
    """In the log, with an index of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a caller keeps: which record, how far it was, and the SHA-256 (hexadecimal) of its envelope.

    `log_index` is known where it is SEQUENCED. Without a record the ids are empty and `note` says why.
    """

    state: RecordState
    mode: RecordMode = RecordMode.OFF
    record_id: str = ""
    envelope_sha256: str = ""
    log_index: int | None = None
    note: str = ""
