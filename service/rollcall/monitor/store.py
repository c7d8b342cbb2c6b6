"""The file that records are kept in between two lives of a process. One process owns a directory (`ownership`).

A write replaces the file as a whole or not at all: a temporary file, flushed to the disk, renamed over the old one.
What cannot be read is put aside under another name and said in the log; what cannot be written is said in the log. The
service goes on in either case: records are worth less than answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rollcall.disk import replace_file
from rollcall.monitor.record import ModelRecord
from rollcall.monitor.state import StateError, read_state, write_state
from rollcall.telemetry import logs

_log = logging.getLogger(__name__)

FILE = "records.json"
REFUSED = "records.json.refused"
WRITE_SECONDS = 60.0
"""Between two writes while the service runs: what a crash can lose."""


@dataclass(slots=True, kw_only=True)
class Store:
    """Keeps what `records` gives in `directory`. `pause` waits between two writes."""

    directory: Path
    records: Callable[[], Mapping[str, ModelRecord]]
    pause: Callable[[], Awaitable[None]] = field(default=lambda: asyncio.sleep(WRITE_SECONDS), repr=False)
    _written: str = field(default="", repr=False)

    def read(self) -> dict[str, ModelRecord]:
        """What was kept; nothing where there is no file, or none that can be used."""
        path = self.directory / FILE
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            return read_state(path.read_text(encoding="utf-8")) if path.exists() else {}
        except (StateError, UnicodeDecodeError) as error:
            problem = str(error) if isinstance(error, StateError) else "not UTF-8"
            logs.event(_log, logging.ERROR, "records_refused", file=str(path), problem=problem)
            self._put_aside(path)
        except OSError as error:
            logs.event(_log, logging.ERROR, "records_not_read", file=str(path), problem=error.strerror)
        return {}

    async def keep(self) -> None:
        """Write what has changed, again and again, until cancelled; the writing is done off the event loop."""
        while True:
            await self.pause()
            await asyncio.to_thread(self.write, dict(self.records()))

    def write(self, records: Mapping[str, ModelRecord]) -> bool:
        """Write records if they have changed; whether they are on the disk."""
        text = write_state(records)
        if text == self._written:
            return True
        path = self.directory / FILE
        try:
            replace_file(path, text)
        except OSError as error:
            logs.event(_log, logging.ERROR, "records_not_written", file=str(path), problem=error.strerror)
            return False
        self._written = text
        return True

    @staticmethod
    def _put_aside(path: Path) -> None:
        try:
            path.replace(path.with_name(REFUSED))
        except OSError as error:
            logs.event(_log, logging.ERROR, "records_not_put_aside", file=str(path), problem=error.strerror)
