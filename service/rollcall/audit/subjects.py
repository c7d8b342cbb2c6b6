"""Keys of subjects: one for all records about a person, so that destroying it erases all of them at once.

A key is made when a subject is first named here and is then found in the database by the index over names. While the
database does not answer a new one is made: a subject may then have more keys than one, and all of them are found by its
records. What is found is remembered for a short while only, because another process may destroy it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from rollcall.audit.sealing import KeyEncryptionKey, SealError
from rollcall.telemetry import logs

_log = logging.getLogger(__name__)

REMEMBERED = 4096
"""Subjects whose keys are at hand."""
FRESH_SECONDS = 60.0
"""For how long a key is at hand before it is looked up again."""
PAUSE_SECONDS = 30.0
"""After a failure of the database, before it is asked again: answers must not wait for it."""


@dataclass(slots=True, kw_only=True)
class SubjectKeys:
    """Finds or makes keys. `find` gives the wrapped key of the subject with an index digest, None where there is none.

    It raises SQLAlchemyError where the database does not answer.
    """

    operator: KeyEncryptionKey
    find: Callable[[bytes], bytes | None]
    clock: Callable[[], float] = time.monotonic
    _known: OrderedDict[bytes, tuple[float, KeyEncryptionKey]] = field(default_factory=OrderedDict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _paused_until: float = float("-inf")

    def of(self, digest: bytes) -> KeyEncryptionKey:
        """Return the key of a subject."""
        now = self.clock()
        with self._lock:
            known = self._known.get(digest)
            if known is not None and now < known[0] + FRESH_SECONDS:
                return known[1]
        found = self._find(digest, now)
        with self._lock:
            again = self._known.get(digest)
            if found is None and again is not None and (now < again[0] + FRESH_SECONDS or self._paused_until > now):
                return again[1]  # another thread has made one meanwhile, or nobody can say that it is gone
            key = found or KeyEncryptionKey.generate()
            self._known[digest] = (now, key)
            self._known.move_to_end(digest)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return key

    def forget(self) -> None:
        """Look every key up again: some have been destroyed."""
        with self._lock:
            self._known.clear()

    def _find(self, digest: bytes, now: float) -> KeyEncryptionKey | None:
        if now < self._paused_until:
            return None
        try:
            wrapped = self.find(digest)
            return None if wrapped is None else KeyEncryptionKey(key=self.operator.unwrap(wrapped))
        except SQLAlchemyError as error:
            self._paused_until = now + PAUSE_SECONDS
            logs.event(_log, logging.WARNING, "audit_subject_keys_not_asked", error=error)
        except SealError as error:
            logs.event(_log, logging.WARNING, "audit_subject_key_not_opened", problem=str(error))
        return None
