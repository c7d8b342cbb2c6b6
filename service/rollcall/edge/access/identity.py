"""Who asks the call that is being answered, for the servicers behind the door.

Each call runs in a task of its own, and what is set there is seen by nobody else.
"""

from __future__ import annotations

from contextvars import ContextVar

from rollcall.domain.identity import Identity

_current: ContextVar[Identity] = ContextVar("rollcall_identity")


def current() -> Identity:
    """Who asks. Raises LookupError where nobody was let in: there is no default."""
    return _current.get()


def let_in(identity: Identity) -> None:
    """Say who asks, for the rest of the call."""
    _current.set(identity)
