"""A person has one key, found again by who may, and made anew where nobody can be asked."""

from __future__ import annotations

from sqlalchemy.exc import OperationalError

from rollcall.audit.sealing import KeyEncryptionKey
from rollcall.audit.subjects import FRESH_SECONDS, PAUSE_SECONDS, REMEMBERED, SubjectKeys

OPERATOR = KeyEncryptionKey(key=bytes(range(32)))
ANNA, BERT = b"a" * 32, b"b" * 32


class Database:
    """Keys by digest; down where `down`."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.asked = 0
        self.down = False

    def find(self, digest: bytes) -> bytes | None:
        """Look a key up."""
        self.asked += 1
        if self.down:
            raise OperationalError("SELECT", {}, ConnectionError())
        return self.kept.get(digest)


class Clock:
    """Seconds that pass when told."""

    now = 0.0

    def __call__(self) -> float:
        """Read the clock."""
        return self.now


def keys(database: Database, clock: Clock | None = None) -> SubjectKeys:
    """Put it together."""
    return SubjectKeys(operator=OPERATOR, find=database.find, clock=clock or Clock())


def test_a_subject_has_one_key_and_no_other_has_it() -> None:
    """The key is made once, and others get another."""
    found = keys(Database())
    assert found.of(ANNA) == found.of(ANNA)
    assert found.of(ANNA) != found.of(BERT)


def test_a_key_that_is_kept_is_found_again() -> None:
    """Another process, or a later one, uses the key that is in the database."""
    database = Database()
    database.kept[ANNA] = OPERATOR.wrap(bytes(32))
    assert keys(database).of(ANNA) == KeyEncryptionKey(key=bytes(32))


def test_a_key_that_was_destroyed_elsewhere_is_soon_no_longer_used() -> None:
    """What is at hand is looked up again after a while, or at once when told."""
    database, clock = Database(), Clock()
    database.kept[ANNA] = OPERATOR.wrap(bytes(32))
    found = keys(database, clock)
    first = found.of(ANNA)
    del database.kept[ANNA]
    clock.now = FRESH_SECONDS - 1
    assert found.of(ANNA) == first
    clock.now = FRESH_SECONDS
    second = found.of(ANNA)
    assert second != first
    found.forget()
    assert found.of(ANNA) not in {first, second}


def test_a_database_that_is_down_is_not_asked_for_each_answer() -> None:
    """Records are made all the same, for one person under one key, and the database is asked again after a pause."""
    database, clock = Database(), Clock()
    database.down = True
    found = keys(database, clock)
    first = found.of(ANNA)
    found.of(BERT)
    clock.now = PAUSE_SECONDS - 1
    assert found.of(ANNA) == first
    assert database.asked == 1
    clock.now = FRESH_SECONDS + 1
    assert found.of(ANNA) == first
    assert database.asked == 2


def test_a_key_under_another_operators_key_is_replaced() -> None:
    """A subject whose key cannot be opened here gets a new one."""
    database = Database()
    database.kept[ANNA] = KeyEncryptionKey.generate().wrap(bytes(32))
    assert keys(database).of(ANNA) != KeyEncryptionKey(key=bytes(32))


def test_only_so_many_keys_are_remembered() -> None:
    """Memory stays bounded, whoever is named."""
    found = keys(Database())
    for number in range(REMEMBERED + 10):
        found.of(number.to_bytes(32, "big"))
    assert len(found._known) == REMEMBERED
