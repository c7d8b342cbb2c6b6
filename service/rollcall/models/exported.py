"""Load a classifier that was exported to ONNX, from its file and the configuration and tokenizer beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir
from transformers import AutoConfig, AutoTokenizer

from rollcall.backends.base import Shape, variants
from rollcall.backends.onnx.backend import OnnxBackend
from rollcall.domain.errors import ModelRejected
from rollcall.domain.rows import Row
from rollcall.models.directory import DESCRIBING, encoder_of, files_digest, labels_of, require_tokenizer, task_of
from rollcall.models.families import FAMILIES
from rollcall.models.loading import LoadedModel

PROBABILITIES = frozenset({"Softmax", "LogSoftmax", "Sigmoid"})
NO_PART = "*.calibration.json"
"""A calibration lies beside its file and is made after it: it is no part of the model."""


def load_exported(file: Path, *, device: str, dtype: str, max_units: int) -> LoadedModel:
    """Load and prove a file; raises ModelRejected, saying what is wrong.

    The file has its own precision: a `dtype` other than float32, which is what settings say by themselves, must be it.
    """
    home = _home(file)
    require_tokenizer(home)
    graph = _graph(file)
    weights = tuple(_weights(file, graph))
    try:
        config = AutoConfig.from_pretrained(home, local_files_only=True, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(home, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        message = f"{home} cannot be loaded: {type(error).__name__}: {error}"
        raise ModelRejected(message) from error
    task, labels = task_of(config), labels_of(config)
    family = FAMILIES.get(config.model_type)
    encoder = encoder_of(
        tokenizer, config, reserved=_reserved(config.model_type, config.pad_token_id), max_units=max_units
    )
    declared = Shape(
        layers=int(config.num_hidden_layers),
        heads=int(config.num_attention_heads),
        width=int(config.hidden_size),
        classes=len(labels),
        max_tokens=encoder.max_tokens,
    )
    windows = getattr(config, "sliding_window", None) is not None
    backend = OnnxBackend(file, encoder, task=task, declared=declared, device=device, windows=windows)
    if dtype not in {"float32", backend.dtype}:
        message = f"{file} was exported in {backend.dtype}: it cannot be served in {dtype}"
        raise ModelRejected(message)
    _require_longest(file, backend)
    self_tests = backend.self_test()
    described = {path for pattern in DESCRIBING for path in home.glob(pattern)} - set(home.glob(NO_PART))
    return LoadedModel(
        backend=backend,
        family=family.title if family else str(config.model_type),
        labels=labels,
        digest=files_digest({file, *weights, *described}),
        self_tests=self_tests,
        maps=backend.maps,
        lacking=backend.lacking,
        scope=backend.scope,
    )


def _home(file: Path) -> Path:
    """Where the configuration is: beside the file, or one above, as where a repository has a folder for exports."""
    found = next((each for each in (file.parent, file.parent.parent) if (each / "config.json").is_file()), None)
    if found is None:
        message = f"{file} has no config.json beside it, nor one directory above"
        raise ModelRejected(message)
    return found


def _graph(file: Path) -> ir.Graph:
    """Read the graph, and refuse one that gives no logits; raises ModelRejected."""
    try:
        graph = ir.load(file).graph
    except Exception as error:
        message = f"{file} cannot be read as ONNX: {type(error).__name__}"
        raise ModelRejected(message) from error
    for output in graph.outputs:
        maker = output.producer()
        if maker is not None and maker.op_type in PROBABILITIES:
            message = f"{file} gives probabilities, not logits: {output.name} comes out of a {maker.op_type}"
            raise ModelRejected(message)
    return graph


def _weights(file: Path, graph: ir.Graph) -> Iterator[Path]:
    """Files of the directory that hold weights; raises ModelRejected for one that lies elsewhere."""
    tensors = [value.const_value for value in graph.initializers.values()]
    for name in {str(tensor.location) for tensor in tensors if isinstance(tensor, ir.ExternalTensor)}:
        path = file.parent / name
        if Path(name).name != name or path.is_symlink() or not path.is_file():
            message = f"{file} leads to {name!r}, which is no file of its directory"
            raise ModelRejected(message)
        yield path


def _reserved(model_type: str, padding: int | None) -> int:
    """Positions that are never used: of a family that nobody has described, those that RoBERTa would not use."""
    family = FAMILIES.get(model_type)
    counted = bool(padding) if family is None else family.positions_after_padding
    return int(padding or 0) + 1 if counted else 0


def _require_longest(file: Path, backend: OnnxBackend) -> None:
    """Refuse a graph that cannot read as many tokens as its configuration says; raises ModelRejected."""
    longest = backend.shape.max_tokens
    try:
        backend.predict(variants(backend.synthetic(longest), [Row()]))
    except Exception as error:
        message = f"{file} cannot read the {longest} tokens that its configuration and tokenizer allow"
        raise ModelRejected(message) from error
