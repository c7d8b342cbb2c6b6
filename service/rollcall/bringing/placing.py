"""A source becomes a revision: whole, or not at all.

Everything is written into a hidden directory beside the place, looked at there, and renamed into it at the end.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rollcall import __version__
from rollcall.bringing.parts import Part, Source
from rollcall.bringing.staging import staged_directory, sweep_repository
from rollcall.disk import flush_directory
from rollcall.domain.errors import ModelRejected
from rollcall.domain.model import Declared
from rollcall.models.pickles import rewrite, rewrite_index, rewritten_name
from rollcall.settings import MODEL_FILE

RECORD = "imported.toml"
"""What was brought, and from where; not read by the server."""
BLOCK_BYTES = 1 << 20
SLACK_BYTES = 64 << 20
"""Room on the disk beyond what files declare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """A file of the revision, with its SHA-256, and what it was in the source."""

    name: str
    size: int
    sha256: str
    origin: str
    origin_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a revision is to be: `repository`/`name`/`revision`. `told` hears of every number of bytes that is done."""

    repository: Path
    name: str
    revision: str
    told: Callable[[int], object] = field(default=lambda _: None, repr=False)

    @property
    def path(self) -> Path:
        """Its directory."""
        return self.repository / self.name / self.revision

    @contextmanager
    def staging(self, size: int) -> Iterator[Path]:
        """A hidden directory that becomes the revision at the end of the block, and is gone if that fails.

        What imports that were killed have left in the repository is taken away first.

        Raises ModelRejected where there is such a revision already, or too little room for `size` bytes; OSError.
        """
        self._check_free()
        sweep_repository(self.repository)
        with staged_directory(self.path.parent, self.revision) as staged:
            self._check_room(size)
            yield staged
            staged.chmod(0o755)
            self._check_free()
            staged.rename(self.path)
            flush_directory(self.path.parent)

    def _check_room(self, size: int) -> None:
        free = shutil.disk_usage(self.path.parent).free
        if free < size + SLACK_BYTES:
            message = f"{self.repository} has room for {free} bytes, and {size} are needed"
            raise ModelRejected(message)

    def _check_free(self) -> None:
        if self.path.exists():
            message = f"{self.path} is there already: a revision never changes (--revision names another)"
            raise ModelRejected(message)


def write(source: Source, place: Place, staged: Path, settings: str) -> tuple[Brought, ...]:
    """Copy and rewrite files into a directory, and last its settings. Raises ModelRejected, OSError."""
    brought = []
    for part in source.copied:
        digest = _copy(part, staged / part.name, place.told)
        brought.append(Brought(name=part.name, size=part.size, sha256=digest, origin=part.name, origin_sha256=digest))
    for part in source.pickled:
        pickled, out = staged / part.name, staged / rewritten_name(part.name)
        origin = _copy(part, pickled, place.told)
        (rewrite_index if part.name.endswith(".json") else rewrite)(pickled, out)
        pickled.unlink()
        size, digest = out.stat().st_size, _digest(out)
        brought.append(Brought(name=out.name, size=size, sha256=digest, origin=part.name, origin_sha256=origin))
    (staged / RECORD).write_text(_record(source, brought), encoding="utf-8")
    (staged / MODEL_FILE).write_text(settings, encoding="utf-8")
    for path in staged.iterdir():
        _flush(path)
    return tuple(brought)


def settings_of(declared: Declared, **others: object) -> str:
    """What `model.toml` says: what is declared, and `others` that are not None. Raises ModelRejected."""
    flat = {
        "task": declared.task.value if declared.task else None,
        "labels": list(declared.labels) if declared.labels else None,
        "max_tokens": declared.max_tokens,
        "max_units": declared.max_units,
        "family": declared.family or None,
        **others,
    }
    lines = [_line(key, value) for key, value in flat.items() if value is not None]
    names = {name: value for name in declared.tensors.__slots__ if (value := getattr(declared.tensors, name))}
    if names:
        lines += ["", "[tensors]", *(_line(name, value) for name, value in names.items())]
    return "".join(f"{line}\n" for line in lines)


def _line(key: str, value: object) -> str:
    """A line of TOML, where texts and lists are as in JSON, but for one control character. Raises ModelRejected."""
    written = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    try:
        written.encode()
    except UnicodeEncodeError as error:
        message = f"{key} holds half a character ({error.object[error.start]!a}), which cannot be written"
        raise ModelRejected(message) from error
    return f"{key} = {written}"


def next_revision(repository: Path, name: str) -> str:
    """The number after the largest there is."""
    model = repository / name
    numbers = [int(path.name) for path in model.iterdir() if path.name.isdecimal()] if model.is_dir() else []
    return str(max(numbers, default=0) + 1)


def _copy(part: Part, out: Path, told: Callable[[int], object]) -> str:
    """Copy no more than a file says it has; return its digest. Raises ModelRejected if it has more or less, OSError."""
    digest, left = hashlib.sha256(), part.size
    with part.open() as file, out.open("xb") as written:
        while block := file.read(min(BLOCK_BYTES, left + 1)):
            left -= len(block)
            if left < 0:
                break
            digest.update(block)
            written.write(block)
            told(len(block))
    if left:
        message = f"{part.name} says that it has {part.size} bytes, and has {'more' if left < 0 else part.size - left}"
        raise ModelRejected(message)
    if part.sha256 and part.sha256 != digest.hexdigest():
        message = f"{part.name} is not the file that its place names: its SHA-256 is {digest.hexdigest()}"
        raise ModelRejected(message)
    return digest.hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _record(source: Source, brought: list[Brought]) -> str:
    """Where everything came from, as TOML."""
    head = {"kind": source.kind, "name": source.name, "notes": list(source.notes), "rollcall": __version__}
    lines = [_line(key, value) for key, value in head.items()]
    for each in brought:
        said = {"name": each.name, "bytes": each.size, "sha256": each.sha256}
        if each.sha256 != each.origin_sha256:
            said |= {"rewritten_from": each.origin, "rewritten_from_sha256": each.origin_sha256}
        lines += ["", "[[file]]", *(_line(key, value) for key, value in said.items())]
    return "".join(f"{line}\n" for line in lines)


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
