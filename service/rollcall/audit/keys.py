"""The log's two keys, each a line of text in a file that only its owner may read.

The signing key's name is the log's origin. A key that is not there is made only where the operator named no file for
it: a path that was set and leads nowhere is a mistake, not a wish for a new key.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rollcall.audit.notes import Signer
from rollcall.audit.sealing import KeyEncryptionKey
from rollcall.disk import flush_directory

SIGNING, ENCRYPTION, VERIFIER = "signing.key", "encryption.key", "log.vkey"


def signing_key(directory: Path, given: Path | None, origin: str) -> Signer:
    """Read the signing key, or make one for `origin` in `directory`. Raises OSError, NoteError."""
    line = _line(given or directory / SIGNING, None if given else lambda: Signer.generate(origin).line() + "\n")
    signer = Signer.parse(line)
    (directory / VERIFIER).write_text(signer.verifier.line() + "\n", encoding="utf-8")
    return signer


def existing_signing_key(directory: Path, given: Path | None) -> Signer:
    """Read the signing key of a log that is there. Raises OSError, NoteError."""
    return Signer.parse((given or directory / SIGNING).read_text(encoding="utf-8"))


def encryption_key(directory: Path, given: Path | None) -> KeyEncryptionKey:
    """Read the key-encryption key, or make one in `directory`. Raises OSError, SealError."""
    return KeyEncryptionKey.parse(
        _line(given or directory / ENCRYPTION, None if given else lambda: KeyEncryptionKey.generate().line())
    )


def _line(path: Path, make: Callable[[], str] | None) -> str:
    if make is not None and not path.exists():
        with suppress(FileExistsError):  # another worker was faster
            _write_secret(path, make())
    return path.read_text(encoding="utf-8")


def _write_secret(path: Path, text: str) -> None:
    """Write a file that is there whole or not at all, and never replaces one. Raises FileExistsError."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, text.encode())
        os.fsync(handle)
        os.link(scratch, path)
    finally:
        os.close(handle)
        scratch.unlink()
    flush_directory(path.parent)
