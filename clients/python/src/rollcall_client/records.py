"""What the service tells of its records: plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from rollcall_client.enums import (
        Disposition,
        Flag,
        Reason,
        RecordMode,
        RecordType,
        ReplayOutcome,
        ReviewAction,
        ReviewState,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, as the service knows them: the name that the log has for them, and the words for what they may do.

    `roles`: of caller, auditor, reviewer, approver, officer, admin, metrics.
    """

    name: str
    roles: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSummary:
    """A record as a list shows it. `flag` is UNSPECIFIED for a decision that was not explained.

    `erased`: its key is destroyed. `held`: a matter needs it. `review`: how far its review is, "" without one.
    """

    record_id: str
    log_index: int
    type: RecordType
    created_at: datetime
    explanation_id: str
    model: str
    model_digest: str
    predicted: str
    flag: Flag
    reason: Reason
    usable_for_notice: bool
    mismatch: bool
    mode: RecordMode
    erased: bool
    held: bool
    review: str
    tenant: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that was done: its index in the log, and its body as it was logged (canonical JSON)."""

    log_index: int
    body: str = field(repr=False)
    what: Mapping[str, Any]
    """The body, read: type, actor, created_at, record_id, about, code, details."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """A piece of a text that was hidden, in code points: in which field of which part, and what it was taken for."""

    part: str
    field: str
    start: int
    end: int
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record: its envelope and entry exactly as they were logged, what was done with it, and parts that were opened.

    `access_log_index`: the entry that tells of the opening, None where nothing was opened. `redactions`: what was
    hidden in masked parts, whose texts keep their length.
    """

    summary: RecordSummary
    envelope: str = field(repr=False)
    entry: str
    events: tuple[Event, ...]
    parts: Mapping[str, bytes] = field(repr=False)
    access_log_index: int | None
    redactions: tuple[Redaction, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPage:
    """Some records of a log of `log_size` entries; `next_page_token` asks for the next page, "" for the last."""

    records: tuple[RecordSummary, ...]
    next_page_token: str
    log_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogProof:
    """That an entry is in the log: the entry, a C2SP tlog-proof, and the key that signs the log."""

    entry: str
    proof: str
    verifier_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCheckpoint:
    """A signed state of the log; `consistency` (32 bytes each) proves that an older one is its beginning."""

    note: str
    size: int
    verifier_key: str
    consistency: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport:
    """What verifying found: (place, problem) for the first hundred of `problem_count` problems."""

    holds: bool
    entries: int
    problems: tuple[tuple[str, str], ...]
    problem_count: int
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureCertificate:
    """What to keep of an erasure: `event` says what was erased, `entry` names its digest, `proof` proves the entry."""

    erasure_id: str
    records: int
    log_index: int
    event: str
    entry: str
    proof: str
    verifier_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldResult:
    """How many records a call has held or released, and the last entry that says so, None where nothing changed."""

    records: int
    log_index: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionRow:
    """What is due of one model and type: made before `before`, how many, and how many more if no matter held them."""

    model: str
    type: RecordType
    days: int
    before: datetime
    due: int
    held: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionResult:
    """What was due, and how many records were erased; `log_index` is the first entry that says so."""

    rows: tuple[RetentionRow, ...]
    erased: int
    log_index: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """An entry of the log exactly as it was logged, with the envelope of its record, or its event; "" where not."""

    log_index: int
    entry: str
    envelope: str = field(repr=False)
    event: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportHeader:
    """What an export is: how many records it has and lacks, the log that it proves, and the entry that tells of it.

    `manifest_sha256` is of its signed manifest, and the entry names it, too.
    """

    records: int
    left_out_as_unsigned: int
    log_size: int
    manifest_sha256: str
    log_index: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """An export: what it is, and the zip, to be unpacked and verified with what is in it and `cryptography`."""

    header: ExportHeader
    zip: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayDifference:
    """Something that is not as it was: where, what was recorded, and what there is now."""

    what: str
    recorded: str
    now: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Whether a record, worked out again, comes to the same; `log_index` is the entry that says so."""

    outcome: ReplayOutcome
    differences: tuple[ReplayDifference, ...]
    log_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewStep:
    """One step of a review; `rationale` is None where it is erased, or withheld until a second opinion is there."""

    log_index: int
    created_at: datetime
    actor: str
    action: ReviewAction
    state: ReviewState
    rationale: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A review of a record, with every step of it, oldest first.

    `rules`: those of the server that have opened it. `due_at`: until when it should be closed. While it is `second_due`
    the disposition is UNSPECIFIED: whoever gives the second opinion must not know the first.
    """

    record_id: str
    state: ReviewState
    case_number: str
    assignee: str
    disposition: Disposition
    decided_by: str
    approved_by: str
    steps: tuple[ReviewStep, ...]
    rules: tuple[str, ...] = ()
    due_at: datetime | None = None
    second_due: bool = False
    second_by: str = ""
    second_disposition: Disposition | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewStatistics:
    """Reviews by state, those that are overdue, second opinions and how many of them agree with the first.

    `kappa` is Cohen's, None where it is not defined.
    """

    states: Mapping[ReviewState, int]
    overdue: int
    second_opinions: int
    agreed: int
    kappa: float | None
