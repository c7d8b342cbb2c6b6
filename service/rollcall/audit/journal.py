"""The log of one server, opened and closed: keys, database, spool and sequencer, put together from the settings.

Workers of one server share directory, keys and database, and have a spool each; the database admits one batch at a
time. A spool belongs to one process, which locks it. A log that is older than a checkpoint that was kept is refused.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from rollcall.audit.archive import Archive
from rollcall.audit.checkpoints import Copies, OldLog, hold_against
from rollcall.audit.database import database_of, snapshot
from rollcall.audit.keys import encryption_key, signing_key
from rollcall.audit.notes import NoteError
from rollcall.audit.pacing import Pace
from rollcall.audit.queries import Signed
from rollcall.audit.recorder import Recorder, Rule
from rollcall.audit.redacting import NONE_OF_ITS_OWN, Recognisers
from rollcall.audit.retaining import days_of
from rollcall.audit.sealing import SealError, index_key
from rollcall.audit.sequencer import AuditTelemetry, Sequencer
from rollcall.audit.spool import Spool
from rollcall.audit.store import Store, WrongLog
from rollcall.audit.subjects import SubjectKeys
from rollcall.audit.triggers import ReviewRules, opening
from rollcall.domain.errors import FileRejected
from rollcall.settings import AuditSettings, ModelSpec
from rollcall.telemetry import logs

_log = logging.getLogger(__name__)

CHECKPOINTS, SPOOL, LOCK = "checkpoints", "spool", "lock"


class LogUnusable(OSError):
    """The log cannot be gone on with; the message says why."""


@dataclass(slots=True, kw_only=True)
class Journal:
    """Opens and closes the log in `directory`. `worker` is the number of the process among those that share it."""

    directory: Path
    settings: AuditSettings
    worker: int
    software: Mapping[str, str]
    telemetry: AuditTelemetry
    now: Callable[[], float] = time.time
    rules: dict[str, Rule] = field(default_factory=dict)
    """How the answers of each model are recorded."""
    retention: dict[tuple[str, str], int] = field(default_factory=dict)
    """For how many days sealed parts are kept, by model and type of record."""
    archive: Archive | None = None
    """What the log is asked through, once it is open."""
    _closing: ExitStack = field(default_factory=ExitStack, repr=False)

    def serves(self, model: ModelSpec) -> None:
        """Learn how the answers of a model are recorded, before its first."""
        self.rules[model.name] = Rule(
            mode=model.audit_mode or self.settings.mode,
            durability=model.audit_durability or self.settings.durability,
        )
        settings = self.settings
        self.retention |= days_of(model.name, model.audit_days, settings.explanation_days, settings.decision_days)

    def open(self) -> Recorder:
        """Begin or go on; raises OSError, LogUnusable among them, and FileRejected."""
        with ExitStack() as failing:
            failing.callback(self.close)
            recorder = self._open()
            failing.pop_all()
        return recorder

    def close(self) -> None:
        """Take in what is in the spool, sign, and let go."""
        self._closing.close()

    def _open(self) -> Recorder:
        settings = self.settings
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        spool_directory = self.directory / SPOOL / f"worker-{self.worker}"
        spool_directory.mkdir(parents=True, exist_ok=True)
        _own(self._closing, spool_directory)
        try:
            signer = signing_key(self.directory, settings.signing_key, settings.origin)
            key = encryption_key(self.directory, settings.encryption_key)
            rules = _rules(settings, index_key(key))
            store = Store(
                database=database_of(self.directory, settings.database),
                signer=signer,
                follow=lambda body: opening(body, rules, self.now()),
            )
            self._closing.callback(store.close)
            store.open(self.now())
            recognisers = recognisers_of(settings)
            copies = Copies(directory=settings.checkpoint_directory or self.directory / CHECKPOINTS)
            last = copies.last()
            if last is not None:
                with snapshot(store.opened) as connection:
                    hold_against(connection, last, signer.verifier)
        except (NoteError, SealError, WrongLog, OldLog, SQLAlchemyError) as error:
            message = f"the audit log in {self.directory} cannot be used: {error}"
            raise LogUnusable(message) from error
        spool = Spool(directory=spool_directory, most_bytes=settings.max_spool_bytes)
        pace = Pace(behind=lambda: spool.behind_bytes)
        sequencer = Sequencer(
            spool=spool,
            store=store,
            telemetry=self.telemetry,
            checkpoint_seconds=settings.checkpoint_seconds,
            signed=lambda signed: _publish(signed, copies),
            moved=pace.moved,
            failed=pace.failed,
        )
        subjects = SubjectKeys(operator=key, find=store.subject_key)
        self.archive = Archive(
            store=store,
            subjects=subjects,
            verifier=signer.verifier,
            retention=self.retention,
            four_eyes=settings.four_eyes,
            rules=rules,
            recognisers=recognisers,
            unmasked=settings.unmasked,
            review_days=settings.review_days,
            published=lambda signed: _publish(signed, copies),
            now=self.now,
        )
        recorder = Recorder(
            spool=spool,
            subjects=subjects,
            rules=self.rules,
            when_full=settings.when_full,
            required=settings.required,
            software=self.software,
            telemetry=self.telemetry,
            pace=pace.keep,
            hurry=sequencer.hurry,
            now=self.now,
        )
        sequencer.sequenced = recorder.sequenced
        spool.appended = sequencer.wake
        spool.open()
        self.telemetry.watch_audit_spool(lambda: spool.used_bytes, spool.most_bytes)
        sequencer.start()
        self._closing.callback(sequencer.stop)
        self._closing.callback(spool.close)
        level = logging.ERROR if spool.torn else logging.INFO
        logs.event(
            _log, level, "audit_log_opened", key=signer.verifier.line(), encryption_key=key.id, torn_segments=spool.torn
        )
        return recorder


def _rules(settings: AuditSettings, key: bytes) -> ReviewRules:
    return ReviewRules(
        unfaithful=settings.review_unfaithful,
        mismatch=settings.review_mismatch,
        margin=settings.review_margin,
        share=settings.review_share,
        second_share=settings.review_second_share,
        key=key,
    )


def recognisers_of(settings: AuditSettings) -> Recognisers:
    """Read the operator's own patterns. Raises OSError, FileRejected."""
    if settings.patterns is None:
        return NONE_OF_ITS_OWN
    try:
        return Recognisers.parse(settings.patterns.read_text(encoding="utf-8"))
    except ValueError as error:
        message = f"audit.patterns: {settings.patterns}: {error}"
        raise FileRejected(message) from error


def _publish(signed: Signed, copies: Copies) -> None:
    logs.event(_log, logging.INFO, "audit_checkpoint", size=signed.size, note=signed.note)
    copies.keep(signed)


def _own(closing: ExitStack, directory: Path) -> None:
    """Lock a spool's directory until `closing`; raises LogUnusable where another process has it."""
    handle = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    closing.callback(os.close, handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        message = f"audit.directory: {directory} belongs to another server that is running; give each one its own"
        raise LogUnusable(message) from error
