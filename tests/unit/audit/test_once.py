"""What is asked twice with one idempotency key is done once, and answered alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rollcall.audit import queries
from rollcall.audit.archive import Archive
from rollcall.audit.database import Database
from rollcall.audit.erasing import Ground, erase_record, erase_subject
from rollcall.audit.events import Once
from rollcall.audit.holding import place, release
from rollcall.audit.records import happened
from rollcall.audit.reviewing import Doing, act
from rollcall.audit.reviews import ReviewAction, ReviewState
from rollcall.domain.errors import Blocked, InvalidInput
from rollcall.edge.converters.once import once
from rollcall.v1 import audit_service_pb2 as wire
from tests.unit.audit import samples
from tests.unit.audit.archives import ANNA, check, open_archive

WHY = "a letter"
KEY = Once(key="a" * 64, request="b" * 64)
OTHER = Once(key="a" * 64, request="c" * 64)


@pytest.fixture
def archive(database: Database) -> Iterator[Archive]:
    """Keep two records about a person, and one about nobody."""
    about = (samples.accepted(number, subject_ref=samples.SUBJECT) for number in range(2))
    with open_archive(database, *about, samples.accepted(2)) as opened:
        yield opened


def size(archive: Archive) -> int:
    """Count the entries of the log."""
    with archive.reading() as connection:
        return queries.size(connection)


def held(archive: Archive, once: Once) -> object:
    """Hold everything."""
    return place(archive, "case 1", (), 'type = "explanation"', WHY, ANNA, once)


def released(archive: Archive, once: Once) -> object:
    """Release two records that are held."""
    return release(archive, "case 1", ("e-0", "e-2"), WHY, ANNA, once)


def opened(archive: Archive, once: Once) -> object:
    """Open a review."""
    return act(archive, "e-0", Doing(action=ReviewAction.OPEN, actor=ANNA, rationale=WHY), four_eyes=True, once=once)


def erased(archive: Archive, once: Once) -> object:
    """Erase a record."""
    return erase_record(archive, "e-0", Ground.PERSON, WHY, ANNA, once)


def person_erased(archive: Archive, once: Once) -> object:
    """Erase a person."""
    return erase_subject(archive, samples.SUBJECT, Ground.PERSON, WHY, ANNA, once)


@pytest.mark.parametrize("do", [held, released, opened, erased, person_erased])
def test_the_same_again_is_the_same(archive: Archive, do: Callable[[Archive, Once], object]) -> None:
    """One entry in the log, or one for each record, and both times the same answer; another request is refused."""
    if do is released:
        place(archive, "case 1", ("e-0", "e-1", "e-2"), "", WHY, ANNA)
    first = do(archive, KEY)
    entries = size(archive)
    assert do(archive, KEY) == first
    assert size(archive) == entries
    with pytest.raises(Blocked, match="used for another request"):
        do(archive, OTHER)
    archive.sign()
    assert check(archive).problems == []
    with archive.reading() as connection:
        said = [json.loads(event.body).get("idempotency") for event in happened(connection)]
    assert said.count(KEY.key) == 1


def test_a_review_goes_on_after_a_step_that_came_twice(archive: Archive) -> None:
    """The step that comes again is answered with the review as it is by now."""
    opened(archive, KEY)
    act(archive, "e-0", Doing(action=ReviewAction.ASSIGN, actor=ANNA, assignee=ANNA), four_eyes=True)
    again: Any = opened(archive, KEY)
    assert (again.state, len(again.steps)) == (ReviewState.ASSIGNED, 2)


def test_an_erasure_is_not_mistaken_for_another_persons(archive: Archive) -> None:
    """The log does not say whom it was about: while there are records about the one asked for, it was not them."""
    erased(archive, KEY)  # the record of another request with this key's digest
    with pytest.raises(Blocked, match="there are records about this subject"):
        person_erased(archive, KEY)


def asked(**fields: Any) -> wire.EraseSubjectRequest:  # noqa: ANN401 - fields of the request
    """Ask to erase a person."""
    told: dict[str, Any] = {"subject_ref": "Xanthippe", "ground": 1, "reason": WHY, "idempotency_key": "k"} | fields
    return wire.EraseSubjectRequest(**told)


def test_a_key_is_its_callers_and_of_one_call() -> None:
    """Who asks, what is asked, and the operator's key count; words and names do not, for nobody must guess at them."""
    first = once(asked(), ANNA, b"operator")
    assert first is not None
    assert once(asked(subject_ref="Sokrates", reason="another"), ANNA, b"operator") == first
    others = [
        once(asked(), "Bert", b"operator"),
        once(asked(), ANNA, b"another"),
        once(asked(idempotency_key="l"), ANNA, b"operator"),
        once(wire.EraseRecordRequest(record_id="r", reason=WHY, idempotency_key="k"), ANNA, b"operator"),
    ]
    assert len({first.key, *(other.key for other in others if other)}) == 5
    ground = once(asked(ground=2), ANNA, b"operator")
    assert ground is not None
    assert (ground.key, ground.request != first.request) == (first.key, True)
    assert once(asked(idempotency_key=""), ANNA, b"operator") is None
    for bad in ("x" * 65, "line\nbreak"):
        with pytest.raises(InvalidInput, match="idempotency_key"):
            once(asked(idempotency_key=bad), ANNA, b"operator")
