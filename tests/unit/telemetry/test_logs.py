"""Log lines are events with named fields, and hold nothing that our own code did not choose to write."""

from __future__ import annotations

import io
import json
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from rollcall.domain.errors import BackendError
from rollcall.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Iterator

CANARY = "canaryword"
log = logging.getLogger("rollcall.test")


@contextmanager
def captured(layout: logs.Layout, level: str = "debug") -> Iterator[io.StringIO]:
    """Send the process's log to a buffer for the length of a `with` block."""
    stream, root = io.StringIO(), logging.getLogger()
    handlers, before = root.handlers[:], root.level
    root.handlers.clear()
    logs.configure(stream, level=level, layout=layout)
    try:
        yield stream
    finally:
        root.handlers[:] = handlers
        root.setLevel(before)


def json_line(level: int, name: str, error: Exception | None = None, **fields: logs.Value) -> dict[str, Any]:
    """Log one event as JSON and read it back."""
    with captured("json") as stream:
        logs.event(log, level, name, error=error, **fields)
    (line,) = stream.getvalue().splitlines()
    content: dict[str, Any] = json.loads(line)
    return content


def fail() -> None:
    """Raise our own error because of a foreign one."""
    try:
        int(CANARY)
    except ValueError as error:
        message = "the model failed"
        raise BackendError(message) from error


def test_an_event_is_one_json_line() -> None:
    """A log reader gets the time, the level, the event, and each field under its name."""
    content = json_line(logging.INFO, "request", method="Explain", seconds=0.25, model=None)
    assert content.pop("time").endswith("+00:00")
    assert content == {
        "level": "info",
        "logger": "rollcall.test",
        "event": "request",
        "method": "Explain",
        "seconds": 0.25,
        "model": None,
    }


def test_line_breaks_in_fields_do_not_make_lines() -> None:
    """Nobody can forge a log line through a field."""
    assert json_line(logging.INFO, "x", request_id='a\n{"event": "forged"}')["request_id"] == 'a\n{"event": "forged"}'
    with captured("text") as stream:
        logs.event(log, logging.INFO, "x", request_id="a\nERROR forged")
    assert len(stream.getvalue().splitlines()) == 1


def test_text_lines_are_for_people() -> None:
    """At a terminal an event is one readable line."""
    with captured("text") as stream:
        logs.event(log, logging.WARNING, "settings changed", key="explain.share")
    assert stream.getvalue().endswith(' warning settings changed logger="rollcall.test" key="explain.share"\n')


def test_quieter_events_are_dropped() -> None:
    """Events below the configured level are not written."""
    with captured("json", level="warning") as stream:
        logs.event(log, logging.INFO, "request")
    assert stream.getvalue() == ""


def test_traces_name_types_and_places_only() -> None:
    """A foreign message, which may quote an input, is left out; our own message and every place are kept."""
    with pytest.raises(BackendError) as raised:
        fail()
    content = json_line(logging.ERROR, "request", error=raised.value)
    assert content["trace"][0] == "rollcall.domain.errors.BackendError: the model failed"
    assert "builtins.ValueError" in content["trace"]
    assert any("test_logs.fail:" in place for place in content["trace"])
    assert CANARY not in json.dumps(content)


def test_suppressed_context_is_left_out() -> None:
    """An error raised "from None" is traced alone."""
    error = KeyError(CANARY)
    error.__context__ = ValueError(CANARY)
    error.__suppress_context__ = True
    assert logs.trace(error) == ["builtins.KeyError"]


def test_long_chains_are_cut() -> None:
    """A chain of causes that never ends does not fill the log."""
    error = ValueError()
    error.__context__ = other = KeyError()
    other.__context__ = error
    assert len(logs.trace(error)) == logs.MAX_CHAIN


@pytest.mark.parametrize("layout", ["json", "text"])
def test_foreign_records_lose_their_arguments(layout: logs.Layout) -> None:
    """What another library writes is kept as its template's first line, with types and places of its error."""
    with captured(layout) as stream:
        try:
            int(CANARY)
        except ValueError:
            logging.getLogger("foreign").exception("cannot handle %s\nnor this", CANARY)
    written = stream.getvalue()
    assert "cannot handle %s" in written
    assert "builtins.ValueError" in written
    assert CANARY not in written


def test_numbers_that_are_none_can_be_logged() -> None:
    """A field may hold NaN without breaking the line."""
    with captured("json") as stream:
        logs.event(log, logging.INFO, "x", value=float("nan"))
    assert '"value": NaN' in stream.getvalue()
