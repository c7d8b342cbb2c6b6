"""The log: its newest state, whether it holds, and what was done with its records."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from rollcall.console.proving import Looked, Step, root_text
from rollcall.console.visiting import Visit
from rollcall_client import Event, EventType, InvalidArgument, LogReport, RollcallError

VERIFY_SECONDS = 600.0
EVENTS_SHOWN = 100


def status(visit: Visit) -> Response:
    """Show the newest state of the log, held against what this console saw before."""
    return _shown(visit)


def verify(visit: Visit) -> Response:
    """Have the service hold every column of its database against the log, and checkpoints that were kept elsewhere."""
    kept = visit.form.get("checkpoint", "").replace("\r\n", "\n").strip()
    notes = [f"{kept}\n"] if kept else []
    if visit.house.watch.seen is not None:
        notes.append(visit.house.watch.seen.note)
    try:
        report = visit.client.verify_log(notes, timeout=VERIFY_SECONDS)
    except RollcallError as error:
        return _shown(visit, error=error)
    return _shown(visit, report=report)


def events(visit: Visit) -> Response:
    """Show what was done, newest first: who, what, when, to which record, with what result."""
    kind = next((each for each in EventType if each.name.lower() == visit.asked("type")), EventType.UNSPECIFIED)
    before = visit.asked("before")
    found = visit.client.events(kind=kind, before_log_index=int(before) if before.isdecimal() else 0)
    shown = found[:EVENTS_SHOWN]
    return visit.show(
        "events.html",
        events=shown,
        kind=kind,
        kinds=[each for each in EventType if each.value],
        older=shown[-1].log_index if len(found) > EVENTS_SHOWN else None,
        summary=summary,
    )


def summary(event: Event) -> str:
    """Say in few words what an event came to."""
    what = event.what
    details = {name: value for name, value in what["details"].items() if value not in (None, "", [], {})}
    told = [what["about"], what["code"].replace("_", " ")]
    told += [f"{name.replace('_', ' ')} {_plain(value)}" for name, value in details.items()]
    return "; ".join(each for each in told if each)


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(each) for each in value[:5]) + (f" and {len(value) - 5} more" if len(value) > 5 else "")  # noqa: PLR2004
    return str(value).replace("_", " ")


def _shown(visit: Visit, *, report: LogReport | None = None, error: RollcallError | None = None) -> Response:
    looked = _look(visit)
    values: dict[str, Any] = {
        "looked": looked,
        "holds": all(step.holds for step in looked.steps),
        "report": report,
        "root": root_text(looked.now.checkpoint) if looked.now else "",
    }
    return visit.show("log.html", **values) if error is None else visit.refused("log.html", error, **values)


def _look(visit: Visit) -> Looked:
    watch = visit.house.watch
    before = watch.seen
    try:
        newest = visit.client.checkpoint(before.checkpoint.size if before else None)
    except InvalidArgument as error:
        # The service has no proof from the size that was seen: its log is shorter than it was.
        shorter = Step(
            question="It begins with the state that this console saw before", holds=False, found=error.message
        )
        return Looked(now=None, before=before, steps=(shorter,))
    return watch.look(newest, before)
