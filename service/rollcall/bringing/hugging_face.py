"""Of a Hugging Face directory, wherever it lies, the files that make up its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rollcall.bringing.parts import Part, descriptions
from rollcall.bringing.refusals import advice_on
from rollcall.domain.errors import ModelRejected

SAFE, SAFE_INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
CONFIG = "config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A model's files: those that are copied, and weights in pickles that are rewritten."""

    copied: tuple[Part, ...]
    pickled: tuple[Part, ...] = ()
    notes: tuple[str, ...] = ()


def choose(parts: Mapping[str, Part], where: str) -> Chosen:
    """The files of a model: safetensors where there are some, else pickles, else an export. Raises ModelRejected."""
    if CONFIG not in parts:
        message = f"{where} holds no {CONFIG}" + (f"; {advice}" if (advice := advice_on(parts)) else "")
        raise ModelRejected(message)
    described = descriptions(parts)
    if SAFE_INDEX in parts or SAFE in parts:
        weights = _indexed(parts, SAFE_INDEX, where, ".safetensors") if SAFE_INDEX in parts else (parts[SAFE],)
        left = tuple(f"{PICKLED} was left behind: its weights are in safetensors, too" for _ in [0] if PICKLED in parts)
        return Chosen(copied=(*described, *weights), notes=left)
    if PICKLED_INDEX in parts or PICKLED in parts:
        if PICKLED_INDEX in parts:
            index, *shards = _indexed(parts, PICKLED_INDEX, where, ".bin")
            return Chosen(copied=described, pickled=(index, *shards))
        return Chosen(copied=described, pickled=(parts[PICKLED],))
    exports = [part for name, part in parts.items() if name.endswith(".onnx")]
    if len(exports) == 1:
        return Chosen(copied=(*described, *exports, *_data(parts)))
    if exports:
        names = ", ".join(part.name for part in exports)
        message = f"{where} holds several .onnx files ({names}): name one of them"
        raise ModelRejected(message)
    message = f"{where} holds no {SAFE}, {PICKLED} or .onnx file"
    raise ModelRejected(message + (f"; {advice}" if (advice := advice_on(parts)) else ""))


def _indexed(parts: Mapping[str, Part], index: str, where: str, suffix: str) -> tuple[Part, ...]:
    """An index and the files that it names; raises ModelRejected for one that is not there, or elsewhere."""
    weight_map = parts[index].json().get("weight_map")
    names = set(weight_map.values()) if isinstance(weight_map, dict) else {None}
    for name in names:
        if not isinstance(name, str) or not name.endswith(suffix) or name not in parts:
            message = f"{where}: {index} leads to {name}, which is no {suffix} file of its directory"
            raise ModelRejected(message)
    return (parts[index], *(parts[str(name)] for name in sorted(map(str, names))))


def _data(parts: Mapping[str, Part]) -> tuple[Part, ...]:
    """Weights beside an export, as exporters name them; the load finds out whether they are all."""
    return tuple(part for name, part in parts.items() if name.endswith((".data", "_data")))
