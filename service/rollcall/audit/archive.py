"""A log that is open, for everything that is asked of it: its database, keys and clock, and who asks."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, true
from sqlalchemy.exc import SQLAlchemyError

from rollcall.audit import queries
from rollcall.audit.canonical import ID_RANDOM_BYTES, new_id, timestamp
from rollcall.audit.database import snapshot
from rollcall.audit.events import Event, EventKind, Once, seal_note
from rollcall.audit.notes import Verifier
from rollcall.audit.redacting import NONE_OF_ITS_OWN, Recognisers
from rollcall.audit.schema import DATA_KEY, RECORD, SUBJECT_KEY
from rollcall.audit.sealing import KeyEncryptionKey
from rollcall.audit.store import Acting, LogMoved, Store
from rollcall.audit.subjects import SubjectKeys
from rollcall.audit.triggers import ReviewRules
from rollcall.domain.errors import Blocked, LogUnavailable, NotPermitted, RecordNotFound
from rollcall.telemetry import logs

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Archive:
    """What an open log is asked through. Methods raise LogUnavailable where the database does not answer."""

    store: Store
    subjects: SubjectKeys
    verifier: Verifier
    retention: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Days for which sealed parts are kept, by model and type of record; for ever where there is none."""
    four_eyes: bool = True
    """Whether it takes somebody else to approve what somebody has decided."""
    rules: ReviewRules = field(default_factory=ReviewRules)
    """What opens reviews, and which of them get a second opinion."""
    review_days: int = 30
    """For how long a review may be open."""
    recognisers: Recognisers = NONE_OF_ITS_OWN
    """What is masked in texts."""
    unmasked: bool = True
    """Whether texts may be shown as they are, too."""
    sees: frozenset[str] | None = None
    """Tenants whose records are here for whoever asks; None for all."""
    published: Callable[[queries.Signed], None] = lambda _: None
    """Hears of a checkpoint that is signed out of turn."""
    now: Callable[[], float] = time.time

    @property
    def operator(self) -> KeyEncryptionKey:
        """The key that wraps all others."""
        return self.subjects.operator

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read one state of the log."""
        with _answering(), snapshot(self.store.opened) as connection:
            yield connection

    @contextmanager
    def acting(self, once: Once | None = None) -> Iterator[Acting]:
        """Do something and log it, in one transaction; `once`: unless `Acting.before` says that it was done before.

        Raises Blocked where that was another request.
        """
        with _answering(), self.store.acting(once) as acting:
            if once and acting.before and acting.before.body["request"] != once.request:
                raise Blocked("idempotency_key", "this key was used for another request")
            yield acting

    def sign(self) -> queries.Signed:
        """Sign the log as it is now, out of turn, so that what was just done can be proved."""
        with _answering():
            signed = self.store.checkpoint()
        if signed is not None:
            self.published(signed)
            return signed
        with self.reading() as connection:
            last = queries.last_checkpoint(connection)
        assert last is not None, "a size that is signed already has a checkpoint"
        return last

    def scrub(self) -> None:
        """Have the database forget the bytes of what was erased. What cannot be done now is logged, and stays owed.

        It raises nothing: what was erased cannot be read any more, and whoever asked for that is told so.
        """
        try:
            with _answering():
                self.store.scrub()
        except LogUnavailable as error:
            logs.event(_log, logging.ERROR, "audit_scrub_failed", error=error)
            return
        if self.store.scrub_owed:
            logs.event(_log, logging.WARNING, "audit_scrub_owed")

    def seen_by(self, sees: frozenset[str] | None) -> Archive:
        """Give the same for somebody who sees the records of these tenants only: others are not there for them."""
        return replace(self, sees=sees)

    def seen(self) -> ColumnElement[bool]:
        """Whether a record is here for whoever asks."""
        return true() if self.sees is None else func.coalesce(RECORD.c.tenant, "").in_(self.sees)

    def told(self, record_id: ColumnElement[str]) -> ColumnElement[bool]:
        """Whether what is about a record is here for whoever asks: what is about none is so for those who see all."""
        return true() if self.sees is None else record_id.in_(select(RECORD.c.record_id).where(self.seen()))

    def check_sees_all(self) -> None:
        """Raise NotPermitted for whoever does not see all tenants."""
        if self.sees is not None:
            message = "this call is about the records of all tenants"
            raise NotPermitted(message)

    def tenants(self, connection: Connection) -> list[str]:
        """Tenants of whom there are records here for whoever asks."""
        rows = connection.execute(select(func.coalesce(RECORD.c.tenant, "")).where(self.seen()).distinct())
        return sorted(str(tenant) for (tenant,) in rows)

    def find(self, connection: Connection, name: str) -> str:
        """Id of the record that has this id, or is about the explanation with this id; raises RecordNotFound."""
        found = connection.execute(
            select(RECORD.c.record_id).where(
                (RECORD.c.record_id == name) | (RECORD.c.explanation_id == name), self.seen()
            )
        ).scalar()
        if found is None:
            raise RecordNotFound
        return str(found)

    def key_of(self, connection: Connection, record_id: str | None) -> KeyEncryptionKey:
        """Return the key that wraps what belongs to a record: its subject's if there is one left, or the operator's."""
        found = connection.execute(
            select(SUBJECT_KEY.c.wrapped)
            .join(DATA_KEY, DATA_KEY.c.key_id == SUBJECT_KEY.c.key_id)
            .where(DATA_KEY.c.record_id == record_id)
        ).scalar()
        return self.operator if found is None else KeyEncryptionKey(key=self.operator.unwrap(bytes(found)))

    def event(
        self,
        connection: Connection,
        kind: EventKind,
        actor: str,
        *,
        record_id: str | None = None,
        about: str = "",
        code: str = "",
        details: Mapping[str, Any] | None = None,
        note: str = "",
    ) -> Event:
        """Make an event that happens now; `note` is sealed under the record's key, or the operator's."""
        at = self.now()
        event_id = new_id(at, secrets.token_bytes(ID_RANDOM_BYTES))
        return Event(
            event_id=event_id,
            kind=kind,
            created_at=timestamp(at),
            actor=actor,
            record_id=record_id,
            about=about,
            code=code,
            details=details or {},
            note=seal_note(event_id, note, self.key_of(connection, record_id)) if note else None,
        )


@contextmanager
def _answering() -> Iterator[None]:
    """Turn what the database raises into what callers are told."""
    try:
        yield
    except (SQLAlchemyError, LogMoved) as error:
        message = "the log's database does not answer; try again later"
        raise LogUnavailable(message) from error
