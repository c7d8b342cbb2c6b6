"""Records answers: makes the record, spools it, and says in a receipt how far it was when the answer left.

Nothing that goes wrong here is passed over in silence: the answer is held back (RecordingFailed), or says itself that
it was not recorded, as the operator chose.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from rollcall.audit.accepted import Accepted, accept
from rollcall.audit.canonical import ID_RANDOM_BYTES, new_id
from rollcall.audit.record import Circumstances, Explained, Told
from rollcall.audit.references import ReferenceKind, references
from rollcall.audit.sealing import KEY_BYTES, SALT_BYTES, index_key
from rollcall.audit.sequencer import AuditTelemetry
from rollcall.audit.spool import Spool, SpoolFailed, SpoolFull
from rollcall.audit.subjects import SubjectKeys
from rollcall.domain.errors import InvalidInput, RecordingFailed
from rollcall.domain.recording import AuditChoice, Durability, Receipt, RecordMode, RecordState, WhenFull
from rollcall.telemetry import logs

_log = logging.getLogger(__name__)

RECORDED, NOT_RECORDED, FAILED = "recorded", "not_recorded", "failed"
THREADS = 4
"""In which records are made: they wait for the database where a subject's key has to be looked up."""
OUTCOMES = (RECORDED, NOT_RECORDED, FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How the answers of one model are recorded."""

    mode: RecordMode
    durability: Durability


@dataclass(slots=True, kw_only=True)
class Recorder:
    """Makes records. `required`: requests that want none are refused.

    `pace` waits while the log is too far behind; `hurry` says that somebody waits for the log.
    """

    spool: Spool
    subjects: SubjectKeys
    rules: Mapping[str, Rule]
    when_full: WhenFull
    required: bool
    software: Mapping[str, str]
    telemetry: AuditTelemetry
    pace: Callable[[], Awaitable[None]]
    hurry: Callable[[], None]
    now: Callable[[], float] = time.time
    threads: ThreadPoolExecutor = field(
        default_factory=partial(ThreadPoolExecutor, THREADS, "rollcall-records"), repr=False
    )
    """Theirs alone: no other work, however long, comes between an answer and its record."""
    instance: str = field(default_factory=lambda: secrets.token_hex(8))
    _numbers: count[int] = field(default_factory=count, repr=False)
    _awaited: dict[str, Future[int]] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def check(self, choice: AuditChoice) -> None:
        """Refuse, with InvalidInput, a request that wants no record where each has one."""
        if self.required and choice is AuditChoice.OFF:
            raise InvalidInput.of("audit", "must not be AUDIT_OFF: this server records every explanation")

    async def record(self, told: Told) -> Receipt:
        """Record an answer; raises RecordingFailed where it cannot be, and must be."""
        rule = self.rules[told.card.ref.name]
        if rule.mode is RecordMode.OFF or _wants_none(told):
            self.telemetry.audit_recorded(NOT_RECORDED)
            off = "for this model" if rule.mode is RecordMode.OFF else "for this request"
            return Receipt(state=RecordState.NOT_RECORDED, note=f"records are off {off}")
        if rule.durability is Durability.DURABLE:
            await self.pace()
        try:
            spooled = await asyncio.get_running_loop().run_in_executor(self.threads, self._spool, told, rule)
            receipt = await self._keep(spooled, rule)
        except (SpoolFull, SpoolFailed) as error:
            self.telemetry.audit_recorded(FAILED)
            logs.event(_log, logging.ERROR, "audit_not_recorded", problem=str(error), model=told.card.ref.name)
            if self.when_full is WhenFull.REJECT:
                message = "the answer could not be recorded, and must be; try again later"
                raise RecordingFailed(message) from error
            return Receipt(state=RecordState.NOT_RECORDED, note="the record could not be written")
        self.telemetry.audit_recorded(RECORDED)
        return receipt

    def sequenced(self, record_id: str, index: int) -> None:
        """Hear that a record is in the log."""
        with self._lock:
            awaited = self._awaited.pop(record_id, None)
        if awaited is not None and awaited.set_running_or_notify_cancel():
            awaited.set_result(index)

    def _make(self, told: Told, rule: Rule) -> Accepted:
        at = self.now()
        where = Circumstances(
            record_id=new_id(at, secrets.token_bytes(ID_RANDOM_BYTES)),
            created_at=at,
            instance=self.instance,
            sequence=next(self._numbers),
            software=self.software,
            mode=rule.mode,
            durability=rule.durability,
        )
        operator = self.subjects.operator
        named = references(index_key(operator), told.request)
        subject = next((found.digest for found in named if found.kind is ReferenceKind.SUBJECT), None)
        return accept(
            told,
            where,
            salt=secrets.token_bytes(SALT_BYTES),
            data_key=secrets.token_bytes(KEY_BYTES),
            operator=operator,
            subject=None if subject is None else self.subjects.of(subject),
            references=named,
        )

    def _spool(self, told: Told, rule: Rule) -> _Spooled:
        """Make a record and have it flushed. Raises SpoolFull."""
        record = self._make(told, rule)
        index: Future[int] = Future()
        if rule.durability is Durability.STRICT:
            with self._lock:
                self._awaited[record.record_id] = index
        try:
            flushed = self.spool.append(record.encode())
        except SpoolFull:
            self._forget(record)
            raise
        return _Spooled(record=record, envelope_sha256=record.envelope_sha256, flushed=flushed, index=index)

    async def _keep(self, spooled: _Spooled, rule: Rule) -> Receipt:
        """Wait for as much as the rule asks for."""
        state, log_index = RecordState.ACCEPTED, None
        try:
            if rule.durability is not Durability.BEST_EFFORT:
                await asyncio.shield(asyncio.wrap_future(spooled.flushed))
                state = RecordState.SPOOLED
            if rule.durability is Durability.STRICT:
                self.hurry()
                log_index = await asyncio.wrap_future(spooled.index)
                state = RecordState.SEQUENCED
        finally:
            self._forget(spooled.record)
        return Receipt(
            state=state,
            mode=rule.mode,
            record_id=spooled.record.record_id,
            envelope_sha256=spooled.envelope_sha256,
            log_index=log_index,
        )

    def _forget(self, record: Accepted) -> None:
        with self._lock:
            self._awaited.pop(record.record_id, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spooled:
    """A record on its way: when it is flushed, and, where somebody waits for that, its index in the log."""

    record: Accepted
    envelope_sha256: str
    flushed: Future[None]
    index: Future[int]


def _wants_none(told: Told) -> bool:
    return isinstance(told, Explained) and told.request.audit is AuditChoice.OFF
