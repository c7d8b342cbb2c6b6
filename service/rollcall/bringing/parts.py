"""Files of a source, wherever they lie: in a directory, or in an archive. Nothing is read that was not asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import IO, Any

from rollcall.domain.errors import ModelRejected
from rollcall.domain.model import UNDECLARED, Declared

DESCRIPTIONS = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "preprocessor_config.json",
    "*.model",
)
"""Files that say how a model reads and what its classes are; no others are brought."""
MOST_TEXT_BYTES = 64 << 20
"""Of a file of settings or labels, which are read whole: the largest vocabularies have some 20 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file. `size`: bytes that it says it has; more are never read. `sha256`: what its place says, if it does."""

    name: str
    size: int
    open: Callable[[], AbstractContextManager[IO[bytes]]] = field(repr=False)
    sha256: str = ""

    def read(self) -> bytes:
        """Read a small file whole; raises ModelRejected for one that is not small."""
        if self.size > MOST_TEXT_BYTES:
            message = f"{self.name} has {self.size} bytes: more than {MOST_TEXT_BYTES}, which nothing of its kind has"
            raise ModelRejected(message)
        with self.open() as file:
            return file.read(self.size)

    def json(self) -> dict[str, Any]:
        """Read an object; raises ModelRejected."""
        try:
            found = json.loads(self.read())
        except (ValueError, RecursionError) as error:
            message = f"{self.name} is no JSON: {type(error).__name__}"
            raise ModelRejected(message) from error
        if not isinstance(found, dict):
            message = f"{self.name} holds no JSON object"
            raise ModelRejected(message)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What is to become a revision. `kind` in words; `name`: what its model is called there.

    `copied` are its files as they are, `pickled` weights that are rewritten; `notes` say what whoever brings it must
    know.
    """

    kind: str
    name: str
    copied: tuple[Part, ...]
    pickled: tuple[Part, ...] = ()
    declared: Declared = UNDECLARED
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(part.size for part in (*self.copied, *self.pickled))


def parts_of(directory: Path) -> dict[str, Part]:
    """The files right in a directory, by name. Links are followed within it, and in a cache of the Hugging Face hub.

    Raises ModelRejected for a link that leads elsewhere, OSError.
    """
    home = directory.resolve()
    blobs = home.parent.parent / "blobs" if home.parent.name == "snapshots" else home
    found: dict[str, Part] = {}
    for path in sorted(directory.iterdir()):
        real = path.resolve()
        if not real.is_file():
            continue
        if not (real.is_relative_to(home) or real.is_relative_to(blobs)):
            message = f"{path} is a link that leads out of {directory}"
            raise ModelRejected(message)
        found[path.name] = Part(name=path.name, size=real.stat().st_size, open=_opened(real))
    return found


def _opened(path: Path) -> Callable[[], IO[bytes]]:
    return lambda: path.open("rb")


def descriptions(parts: Mapping[str, Part]) -> tuple[Part, ...]:
    """Those that describe a model."""
    return tuple(part for name, part in parts.items() if any(fnmatch(name, pattern) for pattern in DESCRIPTIONS))
