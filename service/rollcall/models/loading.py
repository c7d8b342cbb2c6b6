"""Load a Hugging Face sequence classifier from a local directory: safetensors only, never pickle, never remote code."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)
from transformers.utils.logging import disable_progress_bar

from rollcall.backends.base import Backend
from rollcall.backends.encoding import Encoder
from rollcall.backends.self_test import LENGTHS
from rollcall.backends.tensors import DTYPES
from rollcall.backends.torch_backend import TorchBackend
from rollcall.domain.decision import Task
from rollcall.domain.errors import ModelRejected
from rollcall.domain.inputs import Threshold
from rollcall.domain.maps import MapKind
from rollcall.domain.model import ModelCard, ModelRef, SelfTest
from rollcall.domain.rows import RemovalOperator
from rollcall.domain.verdicts import CalibrationRef, CheckKind
from rollcall.models.families import FAMILIES, Family

MIN_CLASSES = 2
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
"""Files that a tokenizer can be made of; at least one must be there."""
DIGESTED = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.model")
"""Files that decide what a model answers: weights, configuration, tokenizer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model that can run, with what is known about it."""

    backend: Backend
    family: Family
    labels: tuple[str, ...]
    digest: str
    self_tests: tuple[SelfTest, ...]
    maps: tuple[MapKind, ...] = tuple(MapKind)

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the required self-tests that failed."""
        return tuple(test.name for test in self.self_tests if test.required and not test.passed)

    def card(
        self,
        name: str,
        *,
        revision: str,
        max_units: int,
        max_characters: int,
        calibration: CalibrationRef,
        threshold: Threshold | None,
    ) -> ModelCard:
        """Describe the model under the operator's name and limits."""
        shape = self.backend.shape
        return ModelCard(
            ref=ModelRef(
                name=name,
                revision=revision,
                digest=self.digest,
                backend=self.backend.name,
                device=self.backend.device,
                dtype=self.backend.dtype,
            ),
            family=self.family.title,
            task=self.backend.task,
            labels=self.labels,
            layers=shape.layers,
            heads=shape.heads,
            max_tokens=shape.max_tokens,
            max_units=max_units,
            max_characters=max_characters,
            self_tests=self.self_tests,
            maps=self.maps,
            checks=tuple(CheckKind),
            operators=tuple(RemovalOperator),
            calibration=calibration,
            threshold=threshold,
            text_pairs=True,
            noise=self.backend.noise,
        )


def load_model(directory: Path, *, device: str = "cpu", dtype: str = "float32", max_units: int = 64) -> LoadedModel:
    """Load and prove the model in `directory`; raises ModelRejected, saying what is wrong and what is supported."""
    if not directory.is_dir():
        message = f"{directory} is not a directory"
        raise ModelRejected(message)
    family = _family(directory)
    disable_progress_bar()  # type: ignore[no-untyped-call] # it would draw between the lines of the log
    _check_files(directory)
    try:
        config = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
        task, labels = _task(config), _labels(config)
        model, report = AutoModelForSequenceClassification.from_pretrained(
            directory,
            config=config,
            dtype=DTYPES[dtype],
            attn_implementation="sdpa",
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except ModelRejected:
        raise
    except Exception as error:
        message = f"{directory} cannot be loaded: {type(error).__name__}: {error}"
        raise ModelRejected(message) from error
    if report["missing_keys"]:
        message = f"{directory} lacks weights, {min(report['missing_keys'])} among them: is it a sequence classifier?"
        raise ModelRejected(message)
    encoder = _encoder(tokenizer, config, family, max_units)
    backend = TorchBackend(
        model,
        encoder,
        family.layout,
        task=task,
        takes_type_ids=family.takes_type_ids,
        device=device,
    )
    self_tests = backend.self_test()
    if any(test.required and not test.passed for test in self_tests):
        backend.use_stock_attention()
    return LoadedModel(
        backend=backend,
        family=family,
        labels=labels,
        digest=directory_digest(directory),
        self_tests=self_tests,
        maps=backend.maps,
    )


def directory_digest(directory: Path) -> str:
    """SHA-256 over names, sizes and bytes of the files that decide what the model answers."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in DIGESTED for path in directory.glob(pattern)}):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return "sha256:" + digest.hexdigest()


def _check_files(directory: Path) -> None:
    """Refuse weights that are not safetensors of this directory, also through an index; refuse a missing tokenizer."""
    if not any(directory.glob("*.safetensors")):
        message = f"{directory} holds no .safetensors file; weights in other formats are not loaded"
        raise ModelRejected(message)
    for index in directory.glob("*.safetensors.index.json"):
        weight_map = _read_json(index).get("weight_map")
        for name in set(weight_map.values()) if isinstance(weight_map, dict) else {None}:
            plain = isinstance(name, str) and Path(name).name == name and name.endswith(".safetensors")
            if not plain or not (directory / str(name)).is_file():
                message = f"{index} leads to {name}, which is no .safetensors file of its directory"
                raise ModelRejected(message)
    if not any(path for pattern in TOKENIZERS for path in directory.glob(pattern)):
        message = f"{directory} holds no tokenizer ({', '.join(TOKENIZERS)})"
        raise ModelRejected(message)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        message = f"{path} cannot be read: {error}"
        raise ModelRejected(message) from error
    if not isinstance(raw, dict):
        message = f"{path} holds no JSON object"
        raise ModelRejected(message)
    return raw


def _family(directory: Path) -> Family:
    raw = _read_json(directory / "config.json")
    supported = ", ".join(row.title for row in FAMILIES.values())
    family = FAMILIES.get(str(raw.get("model_type")))
    if family is None:
        message = f"{directory}: model type {raw.get('model_type')!r} is not supported; supported: {supported}"
        raise ModelRejected(message)
    architectures = raw.get("architectures") or []
    if not any(str(name).endswith("ForSequenceClassification") for name in architectures):
        message = f"{directory}: {architectures or 'nothing'} is no sequence classifier; supported: {supported}"
        raise ModelRejected(message)
    if raw.get("is_decoder"):
        message = f"{directory}: decoders are not supported; supported: {supported} encoders"
        raise ModelRejected(message)
    return family


def _task(config: Any) -> Task:  # noqa: ANN401 - every family has a class of its own
    if config.problem_type == "multi_label_classification":
        return Task.MULTI_LABEL
    if config.problem_type == "regression" or config.num_labels < MIN_CLASSES:
        message = "regression models are not supported: a decision needs classes"
        raise ModelRejected(message)
    return Task.SINGLE_LABEL


def _labels(config: Any) -> tuple[str, ...]:  # noqa: ANN401
    labels = tuple(str(config.id2label[index]) for index in range(config.num_labels))
    if len(set(labels)) != len(labels):
        message = "two classes have the same label"
        raise ModelRejected(message)
    return labels


def _encoder(tokenizer: object, config: Any, family: Family, max_units: int) -> Encoder:  # noqa: ANN401
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        message = "the tokenizer has no fast implementation, and so no character offsets"
        raise ModelRejected(message)
    if tokenizer.cls_token_id is None or tokenizer.sep_token_id is None:
        message = "the tokenizer has no classification or separator token"
        raise ModelRejected(message)
    if tokenizer.mask_token_id is None and tokenizer.unk_token_id is None:
        message = "the tokenizer has neither a mask nor an unknown token to replace words by"
        raise ModelRejected(message)
    if len(tokenizer) > config.vocab_size:
        message = f"the tokenizer has {len(tokenizer)} tokens, the model only {config.vocab_size}"
        raise ModelRejected(message)
    reserved = int(config.pad_token_id) + 1 if family.positions_after_padding else 0
    max_tokens = min(int(config.max_position_embeddings) - reserved, int(tokenizer.model_max_length))
    if max_tokens < LENGTHS[0]:
        message = f"the model reads {max_tokens} tokens, fewer than the {LENGTHS[0]} that its self-test needs"
        raise ModelRejected(message)
    return Encoder(
        tokenizer=tokenizer,
        max_tokens=max_tokens,
        max_units=max_units,
        vocabulary=int(config.vocab_size),
    )
