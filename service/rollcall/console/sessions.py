"""Who is signed in: kept in memory, so that a credential never travels to a browser. Of the event loop alone.

A browser holds the random name of its session. A session ends when it was not used for a while, when it has lasted long
enough, when its credential ends, when somebody signs out, and when the console stops.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from rollcall_client import AuditClient, Caller

IDLE_SECONDS = 30 * 60.0
MOST_SECONDS = 8 * 60 * 60.0
MOST_SESSIONS = 1_000
"""At a time; one more ends the one that was not used for longest."""
NAME_BYTES = 32


@dataclass(slots=True, kw_only=True)
class Session:
    """Somebody who is signed in, and a connection that says so; it is over at `ends`, on the clock of Sessions."""

    caller: Caller
    client: AuditClient = field(repr=False)
    ends: float
    used: float


class Sessions:
    """All that are signed in."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sessions: dict[str, Session] = {}

    def begin(self, caller: Caller, client: AuditClient, seconds: float = MOST_SECONDS) -> str:
        """Sign somebody in for so many seconds at most; return the session's name."""
        now = self._clock()
        for name in [name for name, session in self._sessions.items() if self._is_over(session)]:
            self.end(name)
        if len(self._sessions) >= MOST_SESSIONS:
            self.end(min(self._sessions, key=lambda name: self._sessions[name].used))
        name = secrets.token_urlsafe(NAME_BYTES)
        ends = now + min(seconds, MOST_SECONDS)
        self._sessions[name] = Session(caller=caller, client=client, ends=ends, used=now)
        return name

    def find(self, name: str) -> Session | None:
        """Give a session that is not over, and count it as used now."""
        session = self._sessions.get(name)
        if session is None:
            return None
        if self._is_over(session):
            self.end(name)
            return None
        session.used = self._clock()
        return session

    def end(self, name: str) -> None:
        """Sign out."""
        session = self._sessions.pop(name, None)
        if session is not None:
            session.client.close()

    def end_all(self) -> None:
        """Sign everybody out."""
        for name in list(self._sessions):
            self.end(name)

    def _is_over(self, session: Session) -> bool:
        now = self._clock()
        return now >= session.ends or now - session.used >= IDLE_SECONDS
