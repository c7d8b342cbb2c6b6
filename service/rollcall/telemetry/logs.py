"""Log lines: each is one event with named fields, written as JSON or as text.

Inputs never reach a log. Our own code logs through `event` and passes lengths and digests. What other people's code
says may quote anything, so of a foreign exception only its type and its places are written, never its message, and of
a foreign record only the first line of its template, without the arguments. Messages of our own errors hold no input
text (`domain.errors`) and are kept.
"""

from __future__ import annotations

import json
import logging
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TextIO, TypeAlias

from rollcall.domain.errors import RollcallError

if TYPE_CHECKING:
    from collections.abc import Iterator

Layout: TypeAlias = Literal["json", "text"]
Value: TypeAlias = str | int | float | bool | list[str] | dict[str, float] | None

MAX_CHAIN = 8
"""Exceptions of one chain that are traced."""
MAX_FRAMES = 40
"""Innermost frames of each exception that are traced."""

_FIELDS = "rollcall_fields"
_ERROR = "rollcall_error"


def configure(stream: TextIO, *, level: str, layout: Layout) -> None:
    """Send the log of the whole process to `stream`, from `level` ("debug" to "error") upwards."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if layout == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)


def event(
    logger: logging.Logger, level: int, name: str, /, *, error: BaseException | None = None, **fields: Value
) -> None:
    """Log one event. `name` is fixed text; what varies goes into the fields. `error` adds a trace."""
    logger.log(level, name, extra={_FIELDS: fields, _ERROR: error})


def trace(error: BaseException) -> list[str]:
    """List an exception and its causes, outermost first: types and places, and messages of our own errors only."""
    return [line for link in _chain(error) for line in (_headline(link), *_places(link))]


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, event, then the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record."""
        return json.dumps(_content(record), ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """One line for people: time, level and event, then field=value."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record."""
        content = _content(record)
        lines = content.pop("trace", None)
        head = " ".join(str(content.pop(part)) for part in ("time", "level", "event"))
        pairs = (f"{name}={json.dumps(value, ensure_ascii=False, default=str)}" for name, value in content.items())
        below = "".join(f"\n    {line}" for line in lines) if isinstance(lines, list) else ""
        return " ".join((head, *pairs)) + below


def _content(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] | None = getattr(record, _FIELDS, None)
    raised = record.exc_info[1] if record.exc_info else None
    error: BaseException | None = getattr(record, _ERROR, None) or raised
    return {
        "time": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": next(iter(str(record.msg).splitlines()), ""),
        **(fields or {}),
        **({"trace": trace(error)} if error else {}),
    }


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    for _ in range(MAX_CHAIN):
        if link is None:
            return
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _headline(error: BaseException) -> str:
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    return f"{name}: {error}" if isinstance(error, RollcallError) else name


def _places(error: BaseException) -> list[str]:
    frames = [
        (frame.f_globals.get("__name__"), frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    return [f"  {module}.{code.co_qualname}:{line}" for module, code, line in frames[-MAX_FRAMES:]]
