"""Load a classifier that was exported to ONNX, from its file and the configuration and tokenizer beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx_ir as ir
from onnx_ir.traversal import RecursiveGraphIterator
from transformers import CONFIG_MAPPING, AutoConfig, AutoTokenizer, PreTrainedConfig
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

from rollcall.backends.base import Shape
from rollcall.backends.onnx.backend import OnnxBackend
from rollcall.domain.errors import ModelRejected
from rollcall.domain.model import Declared
from rollcall.models.directory import (
    DESCRIBING,
    decision_of,
    encoder_of,
    files_digest,
    read_json,
    require_tokenizer,
)
from rollcall.models.families import FAMILIES
from rollcall.models.loading import WORDS, LoadedModel
from rollcall.models.plausible import require_longest, require_plausible

NO_PART = "*.calibration.json"
"""A calibration lies beside its file and is made after it: it is no part of the model."""


def load_exported(file: Path, *, device: str, dtype: str, max_units: int, declared: Declared) -> LoadedModel:
    """Load and prove a file; raises ModelRejected, saying what is wrong.

    The file has its own precision: a `dtype` other than float32, which is what settings say by themselves, must be it.
    """
    home = _home(file)
    require_tokenizer(home)
    described = read_json(home / "config.json")
    require_plausible(described, home / "config.json")
    if any(str(name).endswith(WORDS[0]) for name in described.get("architectures") or ()):
        message = f"{file} labels words: such a model is served from its Hugging Face directory, not from an export"
        raise ModelRejected(message)
    weights = weight_files(file)
    try:
        config = _configuration(home)
        tokenizer = AutoTokenizer.from_pretrained(home, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        message = f"{home} cannot be loaded: {type(error).__name__}: {error}"
        raise ModelRejected(message) from error
    _complete(config, tokenizer, declared)
    task, labels = decision_of(config, declared)
    family = FAMILIES.get(config.model_type)
    if declared.family:
        message = f"{file} is an exported graph, whose attention is found in itself: family is not for it"
        raise ModelRejected(message)
    reserved = _reserved(config.model_type, getattr(config, "pad_token_id", None))
    encoder = encoder_of(tokenizer, config, reserved=reserved, max_units=max_units, most=declared.max_tokens)
    shape = Shape(
        layers=int(getattr(config, "num_hidden_layers", 0)),
        heads=int(getattr(config, "num_attention_heads", 0)),
        width=int(getattr(config, "hidden_size", 0)),
        classes=len(labels),
        max_tokens=encoder.max_tokens,
    )
    backend = OnnxBackend(
        file,
        encoder,
        task=task,
        declared=shape,
        names=declared.tensors,
        device=device,
        reach=getattr(config, "sliding_window", None),
    )
    if dtype not in {"float32", backend.dtype}:
        message = f"{file} was exported in {backend.dtype}: it cannot be served in {dtype}"
        raise ModelRejected(message)
    require_longest(backend, str(file))
    self_tests = backend.self_test()
    describing = {path for pattern in DESCRIBING for path in home.glob(pattern)} - set(home.glob(NO_PART))
    return LoadedModel(
        backend=backend,
        family=family.title if family else _called(config),
        labels=labels,
        digest=files_digest({file, *weights, *describing}),
        self_tests=self_tests,
        maps=backend.maps,
        lacking=backend.lacking,
        scope=backend.scope,
        removals=backend.removals,
    )


def _configuration(home: Path) -> Any:  # noqa: ANN401 - every family has a class of its own
    """What config.json says, of a model that transformers knows, or of another one."""
    said = read_json(home / "config.json")
    if said.get("model_type") in CONFIG_MAPPING:
        return AutoConfig.from_pretrained(home, local_files_only=True, trust_remote_code=False)
    return PreTrainedConfig.from_dict(said)


def _complete(config: Any, tokenizer: Any, declared: Declared) -> None:  # noqa: ANN401 - likewise
    """Let the tokenizer say what the configuration of a model that transformers does not know leaves out.

    Raises ModelRejected.
    """
    if not hasattr(config, "vocab_size"):
        config.vocab_size = len(tokenizer)
    if not hasattr(config, "max_position_embeddings"):
        if declared.max_tokens is None and tokenizer.model_max_length >= VERY_LARGE_INTEGER:
            message = (
                "nothing says how many tokens the model reads: set max_tokens, or model_max_length of its tokenizer"
            )
            raise ModelRejected(message)
        config.max_position_embeddings = int(tokenizer.model_max_length)


def _called(config: Any) -> str:  # noqa: ANN401 - likewise
    """What a model of no known family calls itself."""
    return str(config.model_type or next(iter(config.architectures or ()), "exported"))


def _home(file: Path) -> Path:
    """Where the configuration is: beside the file, or one above, as where a repository has a folder for exports."""
    found = next((each for each in (file.parent, file.parent.parent) if (each / "config.json").is_file()), None)
    if found is None:
        message = f"{file} has no config.json beside it, nor one directory above"
        raise ModelRejected(message)
    return found


def _graph(file: Path) -> ir.Graph:
    """Read the graph; raises ModelRejected."""
    try:
        return ir.load(file).graph
    except Exception as error:
        message = f"{file} cannot be read as ONNX: {type(error).__name__}"
        raise ModelRejected(message) from error


def weight_files(file: Path) -> tuple[Path, ...]:
    """Files of the directory that hold weights; raises ModelRejected for one that lies elsewhere, or is too short."""
    found: dict[str, int] = {}
    for tensor in _external(_graph(file)):
        name, end = str(tensor.location), (tensor.offset or 0) + (tensor.length or tensor.nbytes)
        found[name] = max(end, found.get(name, 0))
    for name, end in found.items():
        path = file.parent / name
        if Path(name).name != name or path.is_symlink() or not path.is_file():
            message = f"{file} leads to {name!r}, which is no file of its directory"
            raise ModelRejected(message)
        if path.stat().st_size < end:
            message = f"{file} declares {end} bytes of {name}, which has {path.stat().st_size}"
            raise ModelRejected(message)
    return tuple(file.parent / name for name in sorted(found))


def _external(graph: ir.Graph) -> Iterator[ir.ExternalTensor]:
    """Every tensor that lies in another file: initializers and constants, also of graphs within the graph."""
    nodes = tuple(RecursiveGraphIterator(graph))
    graphs = {id(each): each for each in (graph, *(node.graph for node in nodes)) if each is not None}
    for each in graphs.values():
        yield from (t for v in each.initializers.values() if isinstance(t := v.const_value, ir.ExternalTensor))
    for node in nodes:
        for attribute in node.attributes.values():
            values = attribute.value if isinstance(attribute.value, (list, tuple)) else (attribute.value,)
            yield from (value for value in values if isinstance(value, ir.ExternalTensor))


def _reserved(model_type: str, padding: int | None) -> int:
    """Positions that are never used: of a family that nobody has described, those that RoBERTa would not use."""
    family = FAMILIES.get(model_type)
    counted = bool(padding) if family is None else family.positions_after_padding
    return int(padding or 0) + 1 if counted else 0
