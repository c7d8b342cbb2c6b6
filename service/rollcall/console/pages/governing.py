"""Holds, erasures and what was kept long enough: what data protection officers do."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from rollcall.console.pages.log import summary
from rollcall.console.visiting import Visit, wrong
from rollcall_client import ErasureCertificate, ErasureGround, EventType, RollcallError

GROUNDS = (ErasureGround.PERSON, ErasureGround.OBLIGATION, ErasureGround.MISTAKE)
EVENTS_SHOWN = 20


def show(visit: Visit) -> Response:
    """Show what is held and was erased, and, to an officer, what can be done."""
    return _shown(visit)


def place(visit: Visit) -> Response:
    """Hold records for a matter: those named, or those that a filter asks for now."""
    ids = visit.given("record_ids").split()
    wanted = "" if ids else visit.given("filter")
    try:
        held = visit.client.place_hold(visit.given("matter"), visit.given("reason"), record_ids=ids, text=wanted)
    except RollcallError as error:
        return _shown(visit, error)
    return _shown(visit, told=_counted(held.records, "held"))


def release(visit: Visit) -> Response:
    """End a matter's hold."""
    ids = visit.given("record_ids").split()
    try:
        released = visit.client.release_hold(visit.given("matter"), visit.given("reason"), record_ids=ids)
    except RollcallError as error:
        return _shown(visit, error)
    return _shown(visit, told=_counted(released.records, "released"))


def erase(visit: Visit) -> Response:
    """Erase a record, or whatever is about a person, for good."""
    try:
        return _shown(visit, certificate=_erased(visit))
    except RollcallError as error:
        return _shown(visit, error)


def retention(visit: Visit) -> Response:
    """Say what was kept long enough, or erase it."""
    dry = visit.given("apply") != "yes"
    try:
        found = visit.client.apply_retention("" if dry else visit.given("reason"), dry_run=dry)
    except RollcallError as error:
        return _shown(visit, error)
    return _shown(visit, retention=found)


def _erased(visit: Visit) -> ErasureCertificate:
    if visit.given("sure") != "yes":
        raise wrong("sure", "tick the box; what is erased cannot be brought back")
    ground = next((each for each in GROUNDS if each.name == visit.given("ground")), None)
    if ground is None:
        raise wrong("ground", "choose one")
    record, subject = visit.given("record_id"), visit.given("subject")
    if bool(record) == bool(subject):
        raise wrong("record_id", "give either a record or a person")
    if record:
        return visit.client.erase_record(record, ground, visit.given("reason"))
    tenant = visit.given("tenant") or None
    return visit.client.erase_subject(subject, ground, visit.given("reason"), tenant=tenant)


def _shown(visit: Visit, error: RollcallError | None = None, **found: Any) -> Response:  # noqa: ANN401 - what was done
    events = [
        event
        for kind in (EventType.HOLD, EventType.RELEASE, EventType.ERASURE)
        for event in visit.client.events(kind=kind)[:EVENTS_SHOWN]
    ]
    values: dict[str, Any] = {
        "events": sorted(events, key=lambda event: -event.log_index)[:EVENTS_SHOWN],
        "grounds": GROUNDS,
        "summary": summary,
        "told": "",
        "certificate": None,
        "retention": None,
    }
    values |= found
    return visit.show("holds.html", **values) if error is None else visit.refused("holds.html", error, **values)


def _counted(records: int, done: str) -> str:
    return f"{records} record{'' if records == 1 else 's'} {done}."
