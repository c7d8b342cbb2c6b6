"""One process at a time owns a state directory: a file in it that is locked while the process lives.

The lock is the kernel's (flock): it is gone when its process is, however that ended, and it needs no cleaning up.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rollcall.telemetry import logs

_log = logging.getLogger(__name__)

FILE = "lock"


@contextmanager
def owning(directory: Path) -> Iterator[None]:
    """Own a directory, made if missing, during the block. Raises OSError where another process does.

    Where it cannot be told (a disk that fails, a file system without locks) this is said in the log, and the block is
    entered: records are worth less than answers.
    """
    with _opened(directory) as handle:
        if handle is not None:
            _lock(handle, directory)
        yield


@contextmanager
def _opened(directory: Path) -> Iterator[int | None]:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(directory / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        _unlocked(directory, error)
        yield None
        return
    try:
        yield handle
    finally:
        os.close(handle)


def _lock(handle: int, directory: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        message = f"state.directory {directory} belongs to another server that is running; give each one its own"
        raise OSError(errno.EWOULDBLOCK, message) from error
    except OSError as error:
        _unlocked(directory, error)


def _unlocked(directory: Path, error: OSError) -> None:
    logs.event(_log, logging.ERROR, "state_not_locked", directory=str(directory), problem=error.strerror)
