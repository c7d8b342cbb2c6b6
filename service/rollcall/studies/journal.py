"""A journal: one JSON line for each finished piece of work, so that a long run goes on where it was stopped.

The first line says what the journal is of (models, data, policy, seeds); a journal of something else is refused rather
than mixed in. A last line that was cut short by a crash is dropped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self


class JournalError(ValueError):
    """A journal cannot be gone on with; the message says why."""


class Journal:
    """Lines that are done, and a file to add to. Use it as a context manager."""

    def __init__(self, path: Path, subject: Mapping[str, Any]) -> None:
        """Open or begin the journal of `subject`. Raises JournalError if the file is of something else, OSError."""
        self.path = path
        self.done: list[dict[str, Any]] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = self._read(dict(subject)) if path.exists() else 0
        self._file = path.open("r+b" if path.exists() else "w+b")
        self._file.truncate(kept)
        self._file.seek(kept)
        if not kept:
            self._write({"journal": dict(subject)})

    def _read(self, subject: dict[str, Any]) -> int:
        """Read what is whole; returns the bytes to keep."""
        kept = 0
        for number, line in enumerate(self.path.read_bytes().splitlines(keepends=True)):
            if not line.endswith(b"\n"):
                break
            try:
                found = json.loads(line)
            except ValueError as error:
                message = f"{self.path}: line {number + 1} is no JSON; remove the file to start again"
                raise JournalError(message) from error
            if number == 0:
                self._check(found, subject)
            else:
                self.done.append(found)
            kept += len(line)
        return kept

    def _check(self, first: Any, subject: dict[str, Any]) -> None:  # noqa: ANN401 - any JSON value
        written = first.get("journal") if isinstance(first, dict) else None
        if not isinstance(written, dict):
            message = f"{self.path} is no journal; use another directory"
            raise JournalError(message)
        subject = json.loads(json.dumps(subject))
        differing = sorted(name for name in {*written, *subject} if written.get(name) != subject.get(name))
        if differing:
            message = f"{self.path} is of other work ({', '.join(differing)} differ); use another directory"
            raise JournalError(message)

    def add(self, line: Mapping[str, Any]) -> None:
        """Add a finished piece; it is in the file when this returns."""
        self._write(dict(line))
        self.done.append(dict(line))

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        """Go on."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()
