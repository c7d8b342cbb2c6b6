"""Weights in a pickle become safetensors. Nothing in the pickle is run.

It is looked through first, without being loaded: what it names must be what weights are made of. Then torch reads it
with `weights_only`, which knows no more names than it needs either, and what comes out must be tensors no larger than
the file that they came from, and together not much larger.
"""

from __future__ import annotations

import json
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import torch
from safetensors.torch import save_file

from rollcall.domain.errors import ModelRejected

ALLOWED = frozenset(
    {
        "collections OrderedDict",
        "torch._utils _rebuild_tensor_v2",
        "torch._utils _rebuild_parameter",
        "torch FloatStorage",
        "torch HalfStorage",
        "torch BFloat16Storage",
        "torch DoubleStorage",
        "torch LongStorage",
        "torch IntStorage",
        "torch ShortStorage",
        "torch CharStorage",
        "torch ByteStorage",
        "torch BoolStorage",
    }
)
"""What the pickle of a state dictionary names, as torch has written it since 0.4."""
OTHER_NAMES = frozenset({"STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"})
"""Other ways to name things, which torch does not use."""
ZIP = b"PK\x03\x04"
"""How a file of torch's begins since 1.6; before, it was pickles, one after the other."""
PICKLES_OF_OLDER_FILES = 5
"""Magic number, version, system, the object, and the keys of its storages, after which bytes of weights come."""
MOST_PICKLED_BYTES = 64 << 20
"""Of the pickle itself, without weights."""
MOST_GROWTH = 2
"""All tensors together may have so many times the file's bytes: each has memory of its own, which tied ones share."""


def rewrite(source: Path, out: Path) -> None:
    """Write the weights of a state dictionary as safetensors. Raises ModelRejected, OSError."""
    with source.open("rb") as file:
        zipped = file.read(len(ZIP)) == ZIP
    for named in _names_in_zip(source) if zipped else _names_in_older_file(source):
        if named not in ALLOWED:
            message = f"{source.name} is not weights alone: it names {named[:80]!r}. Nothing of it was run"
            raise ModelRejected(message)
    try:
        loaded = torch.load(source, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:
        message = f"{source.name} cannot be read as weights: {type(error).__name__}: {_first_line(error)}"
        raise ModelRejected(message) from error
    save_file(dict(_tensors(loaded, source)), out, metadata={"format": "pt"})


def rewritten_name(pickled: str) -> str:
    """What transformers calls the safetensors of a file of weights, or of an index."""
    return pickled.replace("pytorch_model", "model", 1).replace(".bin", ".safetensors", 1)


def rewrite_index(source: Path, out: Path) -> None:
    """Write an index that leads to the rewritten files."""
    index = json.loads(source.read_text())
    index["weight_map"] = {weight: rewritten_name(file) for weight, file in index["weight_map"].items()}
    out.write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


def _names_in_zip(source: Path) -> Iterator[str]:
    """What the pickle in an archive of torch's names; raises ModelRejected for one that torch did not write."""
    try:
        with zipfile.ZipFile(source) as archive:
            members = archive.infolist()
            pickles = [member.filename for member in members if member.filename.lower().endswith(".pkl")]
            if any(name.endswith("/constants.pkl") for name in pickles):
                message = f"{source.name} is TorchScript, a compiled program, and not weights"
                raise ModelRejected(message)
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                message = f"{source.name} is compressed, as torch never writes it"
                raise ModelRejected(message)
            if [name.rpartition("/")[2] for name in pickles] != ["data.pkl"]:
                message = f"{source.name} holds {len(pickles)} pickles, and not the one that torch writes"
                raise ModelRejected(message)
            with archive.open(pickles[0]) as file:
                yield from _names(file, source)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        message = f"{source.name} is damaged: {_first_line(error)}"
        raise ModelRejected(message) from error


def _names_in_older_file(source: Path) -> Iterator[str]:
    with source.open("rb") as file:
        for _ in range(PICKLES_OF_OLDER_FILES):
            yield from _names(file, source)


def _names(file: IO[bytes], source: Path) -> Iterator[str]:
    """What a pickle names, read without running it."""
    try:
        for operation, argument, position in pickletools.genops(file):
            if operation.name == "GLOBAL":
                yield str(argument)
            elif operation.name in OTHER_NAMES:
                yield operation.name
            if position is not None and position > MOST_PICKLED_BYTES:
                message = f"{source.name} has a pickle of more than {MOST_PICKLED_BYTES} bytes without its weights"
                raise ModelRejected(message)
    except (ValueError, EOFError, OverflowError, MemoryError) as error:
        message = f"{source.name} cannot be read as a pickle of weights: {_first_line(error)}"
        raise ModelRejected(message) from error


def _tensors(loaded: object, source: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors, each with memory of its own; raises ModelRejected for what is no tensor, or larger than its file."""
    room = source.stat().st_size
    if not isinstance(loaded, dict) or not loaded:
        message = f"{source.name} holds no dictionary of weights"
        raise ModelRejected(message)
    total, seen = 0, set[int]()
    for name, tensor in loaded.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor) or tensor.layout is not torch.strided:
            message = f"{source.name} holds something else than weights, under {str(name)[:80]!r}"
            raise ModelRejected(message)
        size, storage = tensor.numel() * tensor.element_size(), tensor.untyped_storage()
        if size > min(room, storage.nbytes()):
            message = f"{source.name}: {name[:80]!r} says that it has {size} bytes, more than there are"
            raise ModelRejected(message)
        total += size
        if total > MOST_GROWTH * room:
            message = f"{source.name} names the same weights too often: together more than {MOST_GROWTH} times its size"
            raise ModelRejected(message)
        whole = size == storage.nbytes() and tensor.is_contiguous() and storage.data_ptr() not in seen
        seen.add(storage.data_ptr())
        yield name, tensor.detach() if whole else tensor.detach().clone(memory_format=torch.contiguous_format)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")[:160]
