"""Where settings come from: what a file, the environment and the command line say, key by key."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rollcall.settings.keys import KEYS, MODEL_KEYS, SECTIONS, Key
from rollcall.settings.mistakes import Mistake

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ENVIRONMENT_PREFIX = "ROLLCALL_"
CLIENT_PREFIX = "ROLLCALL_CLIENT_"
"""Of variables for commands that ask a server; not settings of one."""
DEFAULT_TARGET = "127.0.0.1:8001"
"""The server that such a command asks unless told otherwise."""
SERVICE_LINK_NAME = re.compile(r"_SERVICE_(HOST|PORT\w*)$|_PORT_\d+_(TCP|UDP|SCTP)\w*$")
"""Variables that Kubernetes adds for a Service named "rollcall" or "rollcall-..."; not settings."""
SERVICE_LINK_VALUE = re.compile(r"(tcp|udp|sctp)://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One key as some source gives it. `place` is what a message calls it; `base` is where a relative path starts."""

    place: str
    key: Key
    value: object
    base: Path = Path()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where settings come from; they may be read again."""

    config: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    overrides: tuple[Entry, ...] = ()


def is_model(path: Key) -> bool:
    """Whether a path is a key of a model."""
    return path[0] == "models" and len(path[1:]) > 1


def _is_section(path: Key) -> bool:
    return path in {(name,) for name in (*SECTIONS, "models")} or (path[0] == "models" and len(path[1:]) == 1)


def file_entries(config: Path | None, mistakes: list[Mistake]) -> Iterator[Entry]:
    """Every key of a TOML file; what cannot be read is a mistake."""
    if config is None:
        return
    try:
        found = list(flatten(tomllib.loads(config.read_text(encoding="utf-8"))))
    except OSError as error:
        mistakes.append(Mistake(place=str(config), problem=f"cannot be read: {error.strerror}"))
    except ValueError as error:
        mistakes.append(Mistake(place=str(config), problem=f"is not valid TOML: {error}"))
    except RecursionError:
        mistakes.append(Mistake(place=str(config), problem="is nested too deeply"))
    else:
        for path, value in found:
            yield Entry(place=f"{config}: {'.'.join(path)}", key=path, value=value, base=config.parent)


def flatten(table: Mapping[str, object], prefix: Key = ()) -> Iterator[tuple[Key, object]]:
    """A table's values by their paths; an empty table is a value."""
    for name, value in table.items():
        path = (*prefix, name)
        if isinstance(value, dict) and value:
            yield from flatten(value, path)
        else:
            yield path, value


def environment_entries(environ: Mapping[str, str], models: set[str], mistakes: list[Mistake]) -> Iterator[Entry]:
    """Every key that a variable gives; `models` are the names that the file spells."""
    known = {_variable(path): path for path in KEYS}
    spelt = {_variable((name,)): name for name in models}
    for variable, value in sorted(environ.items()):
        if (
            not variable.startswith(ENVIRONMENT_PREFIX)
            or variable.startswith(CLIENT_PREFIX)
            or SERVICE_LINK_NAME.search(variable)
            or SERVICE_LINK_VALUE.match(value)
        ):
            continue
        path = known.get(variable) or _model_key(variable, spelt)
        if path is None:
            mistakes.append(Mistake(place=variable, problem="is not a setting" + suggestion(variable, known)))
        else:
            yield Entry(place=variable, key=path, value=value)


def _variable(path: Key) -> str:
    return ENVIRONMENT_PREFIX + re.sub(r"\W", "_", "_".join(path)).upper()


def _model_key(variable: str, spelt: Mapping[str, str]) -> Key | None:
    """Find the model's key; a name that the file spells differently (case, hyphens) is the file's."""
    for path in MODEL_KEYS:
        suffix = "_" + "_".join(path).upper()
        name = variable.removeprefix(ENVIRONMENT_PREFIX + "MODELS_").removesuffix(suffix)
        if variable == f"{ENVIRONMENT_PREFIX}MODELS_{name}{suffix}" and name:
            return ("models", spelt.get(ENVIRONMENT_PREFIX + name, name.lower()), *path)
    return None


def suggestion(wrong: str, known: Mapping[str, object]) -> str:
    """What may have been meant, for the end of a message."""
    close = difflib.get_close_matches(wrong, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def parsed(entry: Entry, mistakes: list[Mistake]) -> Iterator[object]:
    """Yield the value, or nothing after noting what is wrong with it."""
    kind = MODEL_KEYS.get(entry.key[2:]) if is_model(entry.key) else KEYS.get(entry.key)
    if kind is None and _is_section(entry.key):
        if entry.value != {}:
            mistakes.append(Mistake(place=entry.place, problem="is a section, expected keys below it"))
        return
    if kind is None:
        known = [(*entry.key[:2], *path) for path in MODEL_KEYS] if is_model(entry.key) else KEYS
        close = suggestion(".".join(entry.key), {".".join(path): path for path in known})
        mistakes.append(Mistake(place=entry.place, problem="is not a setting" + close))
        return
    try:
        value = kind.parse(entry.value)
    except ValueError:
        mistakes.append(Mistake(place=entry.place, problem=f"expected {kind.expected}, got {_shown(entry.value)}"))
    else:
        yield entry.base / value if isinstance(value, Path) else value


def _shown(value: object) -> str:
    """The beginning of a value, of whatever size and depth."""
    try:
        return repr(str(value)[:60])
    except (ValueError, RecursionError):  # more digits, or more levels, than Python writes
        return f"a huge {type(value).__name__}"
