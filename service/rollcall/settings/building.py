"""From what the sources say to settings, or to everything that is wrong with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollcall.domain.inputs import Threshold
from rollcall.domain.model import Declared, TensorNames
from rollcall.settings.contradictions import contradictions
from rollcall.settings.keys import SECTIONS, Key
from rollcall.settings.kinds import MODEL_NAME, NAME
from rollcall.settings.mistakes import Mistake, SettingsError
from rollcall.settings.model import ModelSpec, is_servable
from rollcall.settings.sources import Entry, Sources, environment_entries, file_entries, is_model, parsed
from rollcall.settings.whole import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def read_model(file: Path, *, name: str, revision: str) -> ModelSpec:
    """Read the `model.toml` of a repository: the keys of [models.NAME], where path and revision are its directories.

    Raises SettingsError.
    """
    mistakes: list[Mistake] = []
    winners: dict[Key, Entry] = {}
    for entry in file_entries(file, mistakes):
        if entry.key in {("path",), ("revision",)}:
            mistakes.append(Mistake(place=entry.place, problem="is not a setting here: the directory's place says it"))
        else:
            key = ("models", name, *entry.key)
            winners[key] = replace(entry, key=key)
    told: dict[str, object] = {"path": file.parent.resolve(), "revision": revision}
    for said, value in told.items():
        key = ("models", name, said)
        winners[key] = Entry(place=f"{file}: {said}", key=key, value=value)
    values: dict[Key, Any] = {key: value for key, entry in winners.items() for value in parsed(entry, mistakes)}
    specs = list(_model(name, winners, values, mistakes))
    if mistakes:
        raise SettingsError(*mistakes)
    (spec,) = specs
    return spec


def load_settings(sources: Sources) -> Settings:
    """Read everything. Raises SettingsError with all mistakes."""
    mistakes: list[Mistake] = []
    # 1. Gather what each source says; a later one replaces an earlier one.
    from_file = list(file_entries(sources.config, mistakes))
    readable = not mistakes
    models = {entry.key[1] for entry in from_file if is_model(entry.key)}
    entries = [*from_file, *environment_entries(sources.environ, models, mistakes), *sources.overrides]
    winners = {entry.key: entry for entry in entries}
    # 2. Check each value by itself.
    values: dict[Key, Any] = {path: value for path, entry in winners.items() for value in parsed(entry, mistakes)}
    # 3. Build the sections, whose other keys have defaults, and the models, which must be complete.
    sections = {
        name: section(**{path[1]: value for path, value in values.items() if path[0] == name})
        for name, section in SECTIONS.items()
    }
    names = sorted({path[1] for path in winners if path[0] == "models" and path[1:]})
    specs = [spec for name in names for spec in _model(name, winners, values, mistakes)]
    # 4. Check what must hold between keys.
    only = names[0] if len(names) == 1 else None
    settings = Settings(
        **sections,
        models=tuple(specs),
        devices=values.get(("devices",), ()),
        default_model=values.get(("default_model",), only),
        sources=sources,
    )
    if readable:
        mistakes.extend(contradictions(settings, names, winners))
    if mistakes:
        raise SettingsError(*mistakes)
    return settings


def _model(
    name: str, winners: Mapping[Key, Entry], values: Mapping[Key, Any], mistakes: list[Mistake]
) -> Iterator[ModelSpec]:
    """Yield the model, or nothing after noting what is wrong with it."""
    given = {path[2:]: value for path, value in values.items() if path[:2] == ("models", name)}
    places = {path[2:]: entry.place for path, entry in winners.items() if path[:2] == ("models", name)}
    before = len(mistakes)

    def blame(path: Key, problem: str) -> None:
        mistakes.append(Mistake(place=places.get(path, ".".join(("models", name, *path))), problem=problem))

    if not MODEL_NAME.fullmatch(name):
        blame((), f"expected {NAME.expected}")
    if ("path",) not in places:
        blame(("path",), "is missing: the directory of the model, or its .onnx file")
    elif ("path",) in given and not is_servable(given["path",]):
        blame(("path",), f"no directory or .onnx file {given['path',]}")
    if ("calibration",) in given and not given["calibration",].is_file():
        blame(("calibration",), f"no file {given['calibration',]}")
    label, probability = (("threshold", part) in places for part in ("label", "probability"))
    if label != probability:
        blame(
            ("threshold", "probability" if label else "label"),
            "is missing: a threshold needs a label and a probability",
        )
    if len(mistakes) > before or places.keys() - given.keys():
        return
    threshold, tensors = (
        {path[1]: value for path, value in given.items() if path[0] == table} for table in ("threshold", "tensors")
    )
    flat = {path[0]: value for path, value in given.items() if len(path) == 1}
    declared = {key: flat.pop(key) for key in ("labels", "task", "max_tokens", "max_units", "family") if key in flat}
    yield ModelSpec(
        name=name,
        **flat,
        threshold=Threshold(**threshold) if threshold else None,
        declared=Declared(**declared, tensors=TensorNames(**tensors)),
    )
