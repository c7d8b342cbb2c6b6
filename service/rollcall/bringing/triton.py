"""A model of a Triton repository: NAME/config.pbtxt, NAME/VERSION/model.onnx, and files of labels beside the first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rollcall.bringing.exports import read_export
from rollcall.bringing.parts import Part, Source, parts_of
from rollcall.bringing.pbtxt import Message, NotReadError, parse
from rollcall.bringing.refusals import PLATFORMS
from rollcall.domain.errors import ModelRejected
from rollcall.domain.model import Declared, TensorNames

CONFIG = "config.pbtxt"
MODEL = "model.onnx"
ONNX = "onnxruntime"
MOST_CONFIG_BYTES = 1 << 20

MARKS = {"input_ids": ("id", "token"), "attention_mask": ("mask",), "token_type_ids": ("type", "segment")}
"""Parts of names by which inputs are known that are not called as exporters call them; the last that fits."""


def read_triton(directory: Path, *, described: Path | None, declared: Declared) -> Source:
    """Find the newest version of a model; `described` holds its tokenizer and configuration, if not it itself.

    What is `declared` goes before what its configuration says. Raises ModelRejected, OSError.
    """
    beside = parts_of(directory)
    config = _config(beside[CONFIG])
    name = config.text("name") or directory.resolve().name
    runs = config.text("backend") or config.text("platform")
    advice = next((said for mark, said in PLATFORMS.items() if runs.startswith(mark)), "")
    if advice or not runs.startswith(ONNX):
        message = f"{directory}: the model ({runs or 'of no platform'}) {advice or 'is not of ONNX Runtime'}"
        raise ModelRejected(message)
    filename = config.text("default_model_filename") or MODEL
    if Path(filename).name != filename:
        message = f"{directory}: default_model_filename {filename[:80]!r} is no plain name"
        raise ModelRejected(message)
    file = _newest(directory) / filename
    own = tuple(part for part in (described, directory, file.parent) if part and (part / "config.json").is_file())
    if not own:
        message = (
            f"{directory} says how many numbers go in and come out, not what they mean: name the directory of its "
            "tokenizer.json and config.json (--tokenizer DIRECTORY)"
        )
        raise ModelRejected(message)
    names, labels = declared.tensors, declared.labels
    output = _output(config, names.output, directory)
    tensors = TensorNames(**_inputs(config, names, directory), output=output.text("name"))
    if labels is None and (label_file := output.text("label_filename")):
        labels = _labels(beside, label_file, directory)
    source = read_export(file, described=own[0])
    return replace(
        source,
        kind="a model of a Triton repository",
        name=name,
        declared=replace(declared, labels=labels, tensors=tensors),
        notes=(*source.notes, f"version {file.parent.name} of it was brought"),
    )


def _config(part: Part) -> Message:
    if part.size > MOST_CONFIG_BYTES:
        message = f"{part.name} has {part.size} bytes: no configuration has"
        raise ModelRejected(message)
    try:
        return parse(part.read().decode())
    except (NotReadError, UnicodeDecodeError) as error:
        message = f"{part.name} cannot be read: {error}"
        raise ModelRejected(message) from error


def _newest(directory: Path) -> Path:
    versions = [path for path in directory.iterdir() if path.name.isdecimal() and path.is_dir()]
    if not versions:
        message = f"{directory} holds no version, a directory with a number for a name"
        raise ModelRejected(message)
    return max(versions, key=lambda path: int(path.name))


def _inputs(config: Message, names: TensorNames, where: Path) -> dict[str, str]:
    """What the graph calls each input, where it is not our name: as declared, or as the names suggest."""
    given = [tensor.text("name") for tensor in config.messages("input")]
    found = {name: getattr(names, name) or name for name in MARKS if getattr(names, name) or name in given}
    for tensor in given:
        if tensor in found.values():
            continue
        fitting = [name for name, marks in MARKS.items() if any(mark in tensor.lower() for mark in marks)]
        if not fitting or fitting[-1] in found:
            message = (
                f"{where}: which input is {tensor[:80]!r}? Say it: --tensor input_ids=..., "
                "--tensor attention_mask=... or --tensor token_type_ids=..."
            )
            raise ModelRejected(message)
        found[fitting[-1]] = tensor
    return {name: tensor for name, tensor in found.items() if tensor != name}


def _output(config: Message, named: str, where: Path) -> Message:
    outputs = config.messages("output")
    found = [tensor for tensor in outputs if not named or tensor.text("name") == named]
    if len(found) != 1:
        names = ", ".join(tensor.text("name") for tensor in outputs)
        message = (
            f"{where} gives the outputs {names[:200] or '(none)'}: say which holds the classes, --tensor output=..."
        )
        raise ModelRejected(message)
    return found[0]


def _labels(beside: Mapping[str, Part], name: str, where: Path) -> tuple[str, ...]:
    if name not in beside:
        message = f"{where}: label_filename {name[:80]!r} is no file beside {CONFIG}"
        raise ModelRejected(message)
    try:
        lines = beside[name].read().decode().splitlines()
    except UnicodeDecodeError as error:
        message = f"{where}: {name} is no UTF-8 text"
        raise ModelRejected(message) from error
    return tuple(line.strip() for line in lines if line.strip())
