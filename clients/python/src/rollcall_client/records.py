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


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that was done: its index in the log, and its body as it was logged (canonical JSON)."""

    log_index: int
    body: str = field(repr=False)
    what: Mapping[str, Any]
    """The body, read: type, actor, created_at, record_id, about, code, details."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record: its envelope and entry exactly as they were logged, what was done with it, and parts that were opened.

    `access_log_index`: the entry that tells of the opening, None where nothing was opened.
    """

    summary: RecordSummary
    envelope: str = field(repr=False)
    entry: str
    events: tuple[Event, ...]
    parts: Mapping[str, bytes] = field(repr=False)
    access_log_index: int | None


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
    """One step of a review; `rationale` is None where it was erased with the record."""

    log_index: int
    created_at: datetime
    actor: str
    action: ReviewAction
    state: ReviewState
    rationale: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A review of a record, with every step of it, oldest first."""

    record_id: str
    state: ReviewState
    case_number: str
    assignee: str
    disposition: Disposition
    decided_by: str
    approved_by: str
    steps: tuple[ReviewStep, ...]
