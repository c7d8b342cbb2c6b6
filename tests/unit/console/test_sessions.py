"""Who is signed in, and for how long."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rollcall.console import sessions
from rollcall.console.sessions import IDLE_SECONDS, MOST_SECONDS, Sessions
from rollcall_client import AuditClient, Caller

ADA = Caller(name="ada", roles=frozenset({"auditor"}))


class Clock:
    """A clock that is moved by hand."""

    now = 1000.0

    def __call__(self) -> float:
        """Give the time."""
        return self.now


class Closing(AuditClient):
    """A client that remembers whether it was closed."""

    closed = False

    def close(self) -> None:
        """Close the connection."""
        self.closed = True
        super().close()


@pytest.fixture
def clock() -> Clock:
    """Make a clock."""
    return Clock()


@pytest.fixture
def connect() -> Callable[[], Closing]:
    """Make connections that lead nowhere."""
    return lambda: Closing("127.0.0.1:1")


def test_a_session_is_found_by_its_name_alone(clock: Clock, connect: Callable[[], Closing]) -> None:
    """Names cannot be guessed, and are never the same."""
    held = Sessions(clock)
    first, second = held.begin(ADA, connect()), held.begin(ADA, connect())
    assert first != second
    assert len(first) >= 43
    found = held.find(first)
    assert found is not None
    assert found.caller == ADA
    assert held.find("") is None
    assert "client" not in repr(found)


def test_a_session_that_is_not_used_ends(clock: Clock, connect: Callable[[], Closing]) -> None:
    """Every use counts; without one for long enough the connection is closed."""
    held, client = Sessions(clock), connect()
    name = held.begin(ADA, client)
    for _ in range(3):
        clock.now += IDLE_SECONDS - 1
        assert held.find(name) is not None
    clock.now += IDLE_SECONDS
    assert held.find(name) is None
    assert client.closed


def test_a_session_ends_with_its_credential_and_never_lasts_longer_than_a_day_of_work(
    clock: Clock, connect: Callable[[], Closing]
) -> None:
    """However often it is used."""
    held = Sessions(clock)
    short, long = held.begin(ADA, connect(), 60.0), held.begin(ADA, connect(), 10 * MOST_SECONDS)
    clock.now += 60
    assert held.find(short) is None
    for _ in range(int(MOST_SECONDS / 600)):
        assert held.find(long) is not None
        clock.now += 600
    assert held.find(long) is None


def test_one_too_many_ends_the_one_that_was_not_used_for_longest(
    clock: Clock, connect: Callable[[], Closing], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that memory is bounded, and nobody is locked out."""
    monkeypatch.setattr(sessions, "MOST_SESSIONS", 2)
    held = Sessions(clock)
    names = []
    for _ in range(3):
        clock.now += 1
        names.append(held.begin(ADA, connect()))
    assert [held.find(name) is not None for name in names] == [False, True, True]


def test_signing_out_closes_the_connection(clock: Clock, connect: Callable[[], Closing]) -> None:
    """One session, or all when the console stops."""
    held, clients = Sessions(clock), [connect() for _ in range(3)]
    names = [held.begin(ADA, client) for client in clients]
    held.end(names[0])
    held.end(names[0])
    assert [client.closed for client in clients] == [True, False, False]
    held.end_all()
    assert all(client.closed for client in clients)
    assert held.find(names[1]) is None
