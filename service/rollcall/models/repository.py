"""A directory of models: NAME/REVISION/model.toml, with the files of that revision beside it.

A revision is there once its `model.toml` is, which is therefore written last (or the directory renamed into place), and
is never changed afterwards: another model is another revision. The newest is the one that sorts last, numbers in names
counting as numbers.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rollcall.settings import MODEL_FILE, MODEL_NAME, Mistake, ModelSpec, SettingsError, read_model

_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Revisions that can be read, oldest first, by model, and what is wrong with the others."""

    revisions: dict[str, tuple[ModelSpec, ...]]
    mistakes: tuple[Mistake, ...]

    @property
    def newest(self) -> tuple[ModelSpec, ...]:
        """The newest revision of each model, by name."""
        return tuple(self.revisions[name][-1] for name in sorted(self.revisions))

    def find(self, name: str, revision: str = "") -> ModelSpec | None:
        """One revision, the newest if none is named; None where there is no such."""
        found = self.revisions.get(name, ())
        return next((spec for spec in reversed(found) if not revision or spec.revision == revision), None)


def read_repository(directory: Path) -> Contents:
    """Read what there is. Raises OSError where the directory itself cannot be read."""
    mistakes: list[Mistake] = []
    revisions: dict[str, tuple[ModelSpec, ...]] = {}
    for model in _directories(directory):
        if not MODEL_NAME.fullmatch(model.name):
            mistakes.append(Mistake(place=str(model), problem="is no name of a model"))
            continue
        try:
            directories = _directories(model)
        except OSError as error:
            mistakes.append(_unreadable(model, error))
            continue
        found = tuple(spec for own in directories for spec in _revision(directory, model.name, own, mistakes))
        if found:
            revisions[model.name] = found
    return Contents(revisions=revisions, mistakes=tuple(mistakes))


def files_of(model: Path) -> tuple[Path, ...]:
    """Every file of a model, in a fixed order: all of its directory.

    Of an exported file itself and those beside it that begin with its name, as exporters call files of its weights.
    """
    found = model.parent.glob(f"{glob.escape(model.name)}*") if model.is_file() else model.rglob("*")
    return tuple(sorted(path for path in found if path.is_file()))


def bytes_of(model: Path) -> int:
    """Bytes of all files of a model."""
    return sum(path.stat().st_size for path in files_of(model))


def _revision(root: Path, name: str, own: Path, mistakes: list[Mistake]) -> Iterator[ModelSpec]:
    """Yield a revision, or nothing where it is not there yet, or after noting what is wrong with it."""
    try:
        yield from _checked(root, name, own, mistakes)
    except SettingsError as error:
        mistakes.extend(error.mistakes)
    except (OSError, RuntimeError) as error:  # of somebody else; links that lead in a circle
        mistakes.append(_unreadable(own, error))


def _checked(root: Path, name: str, own: Path, mistakes: list[Mistake]) -> Iterator[ModelSpec]:
    if not (own / MODEL_FILE).is_file():
        return
    if not MODEL_NAME.fullmatch(own.name):
        mistakes.append(Mistake(place=str(own), problem="is no name of a revision"))
        return
    outside = next(_outside(root, [own, *own.rglob("*")]), None)
    if outside is not None:
        mistakes.append(Mistake(place=str(outside), problem=f"leads out of {root}"))
        return
    yield read_model(own / MODEL_FILE, name=name, revision=own.name)


def _unreadable(place: Path, error: Exception) -> Mistake:
    return Mistake(place=str(place), problem=f"cannot be read: {getattr(error, 'strerror', None) or error}")


def _directories(parent: Path) -> list[Path]:
    """Directories that are not hidden, in the order of their names."""
    found = (path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))
    return sorted(found, key=lambda path: _natural(path.name))


def _outside(root: Path, paths: Iterable[Path]) -> Iterator[Path]:
    """Those of some paths that lead elsewhere than into the repository."""
    inside = root.resolve()
    return (path for path in paths if not path.resolve().is_relative_to(inside))


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Numbers count as numbers, and come before text."""
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in _DIGITS.split(name) if part]
