"""Values that are read from files, and read again when the files change, without a restart.

A change that cannot be used is logged and leaves the value as it was: somebody may be half-way through writing it. Of
several files, such as a certificate and its key, all are read again when one has changed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from rollcall.domain.errors import FileRejected
from rollcall.telemetry import logs

T = TypeVar("T")
Signature: TypeAlias = tuple[tuple[int, ...], ...]

_log = logging.getLogger("rollcall.edge")


class Watched(Generic[T]):
    """What `parse` makes of the content of `files`, in their order; it raises ValueError with what is wrong.

    Usable from any thread. Raises FileRejected if the files cannot be used at first.
    """

    def __init__(self, parse: Callable[..., T], *files: Path) -> None:
        self._parse = parse
        self._files = files
        self._seen, self._value = self._look(), self._read()

    def get(self) -> T:
        """The newest value that could be used."""
        seen = self._look()
        if seen != self._seen:
            self._seen = seen
            try:
                self._value = self._read()
            except FileRejected as error:
                logs.event(_log, logging.ERROR, "file_rejected", problem=str(error))
            else:
                logs.event(_log, logging.INFO, "file_read_again", files=[str(file) for file in self._files])
        return self._value

    def _look(self) -> Signature:
        return tuple(_signature(file) for file in self._files)

    def _read(self) -> T:
        names = " and ".join(str(file) for file in self._files)
        try:
            return self._parse(*(file.read_bytes() for file in self._files))
        except OSError as error:
            message = f"{names}: cannot be read: {error.strerror}"
            raise FileRejected(message) from error
        except ValueError as error:
            message = f"{names}: {error}"
            raise FileRejected(message) from error


def _signature(file: Path) -> tuple[int, ...]:
    """What changes with a file; empty where it is gone."""
    try:
        stat = file.stat()
    except OSError:
        return ()
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns)
