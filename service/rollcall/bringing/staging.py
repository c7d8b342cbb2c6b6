"""Hidden directories in which a revision is made, one for each import, and the end of those that nobody makes any more.

An import holds the kernel's lock (flock) of its directory while it runs; of one that was killed the kernel lets go. The
next import into the repository takes away every such directory whose lock it can take itself; on a volume without locks
it takes none away. Directories of a model are made and taken away under the lock of the model's own directory, so that
none is met between the two steps.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = ".importing."
"""What such directories are called, and nothing else."""
NOT_TAKEN = frozenset({errno.EWOULDBLOCK, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS})


@contextmanager
def staged_directory(model: Path, revision: str) -> Iterator[Path]:
    """A hidden directory for a revision of a model, which has a directory then; gone at the end, if it is still there.

    A model's directory that was made for it and is empty at the end is gone, too. Raises OSError.
    """
    made = not model.exists()
    with _locked(model):
        sweep(model)
        staged = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{revision}.", dir=model))
        handle = _open(staged)
        _lock(handle, fcntl.LOCK_NB)
    try:
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        os.close(handle)
        if made:
            _remove_empty(model)


def sweep_repository(repository: Path) -> None:
    """Take away what killed imports left in a repository. Raises OSError."""
    models = [path.parent for path in repository.glob(f"*/{PREFIX}*")] if repository.is_dir() else []
    for model in dict.fromkeys(models):
        with _locked(model):
            sweep(model)
        _remove_empty(model)


def sweep(model: Path) -> None:
    """Take away the directories of one model that no living import holds; its directory must be locked."""
    for left in model.glob(f"{PREFIX}*"):
        if left.is_dir() and not left.is_symlink():
            with suppress(FileNotFoundError), _handle(left) as handle:
                if _lock(handle, fcntl.LOCK_NB):
                    shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _locked(model: Path) -> Iterator[None]:
    """Make a model's directory, if there is none, and hold its lock: that of the directory that is there then."""
    while True:
        model.mkdir(parents=True, exist_ok=True)
        with _handle(model) as handle:
            _lock(handle)
            if _is_there(model, handle):
                yield
                return


def _is_there(directory: Path, handle: int) -> bool:
    """Whether an open directory is still the one of its name: another import may have taken it away."""
    try:
        return os.path.samestat(directory.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _lock(handle: int, flags: int = 0) -> bool:
    """Take a lock; whether it was taken: not where somebody holds it, nor on a volume that knows of no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | flags)
    except OSError as error:
        if error.errno in NOT_TAKEN:
            return False
        raise
    return True


def _remove_empty(model: Path) -> None:
    with suppress(OSError):  # it is not empty: there are revisions, or another import is at work
        model.rmdir()


@contextmanager
def _handle(directory: Path) -> Iterator[int]:
    handle = _open(directory)
    try:
        yield handle
    finally:
        os.close(handle)


def _open(directory: Path) -> int:
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
