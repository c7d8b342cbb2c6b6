"""Files that survive a crash: written whole or not at all, and on the disk when the call returns."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(path: Path, text: str) -> None:
    """Put `text` (UTF-8) in the place of a file: a scratch file beside it, flushed, renamed over it. Raises OSError."""
    scratch = path.with_suffix(".tmp")
    with scratch.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
    flush_directory(path.parent)


def flush_directory(directory: Path) -> None:
    """Make a new, renamed or removed file last. Raises OSError."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
