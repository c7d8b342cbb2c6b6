"""What the files beside a model's weights say: configuration, labels, tokenizer; and the digest of all of them."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from rollcall.backends.encoding import Encoder
from rollcall.backends.self_test import LENGTHS
from rollcall.domain.decision import Task
from rollcall.domain.errors import ModelRejected
from rollcall.domain.model import Declared

MIN_CLASSES = 2
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
"""Files that a tokenizer can be made of; at least one must be there."""
DESCRIBING = ("*.json", "*.txt", "*.model")
"""Files that decide, beside the weights, what a model answers."""


def files_digest(paths: Iterable[Path]) -> str:
    """SHA-256 over names, sizes and bytes of files, in the order of their paths."""
    digest = hashlib.sha256()
    for path in sorted(set(paths)):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return "sha256:" + digest.hexdigest()


def declared_digest(digest: str, declared: Declared) -> str:
    """The digest of files under what is said of them, where that changes what the model answers."""
    said = declared.changes_answers
    return "sha256:" + hashlib.sha256(f"{digest}\n{said}".encode()).hexdigest() if said else digest


def require_tokenizer(directory: Path) -> None:
    """Refuse a directory without a tokenizer; raises ModelRejected."""
    if not any(path for pattern in TOKENIZERS for path in directory.glob(pattern)):
        message = f"{directory} holds no tokenizer ({', '.join(TOKENIZERS)})"
        raise ModelRejected(message)


def read_json(path: Path) -> dict[str, Any]:
    """Read an object; raises ModelRejected."""
    try:
        raw = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        message = f"{path} cannot be read: {error}"
        raise ModelRejected(message) from error
    if not isinstance(raw, dict):
        message = f"{path} holds no JSON object"
        raise ModelRejected(message)
    return raw


def decision_of(config: Any, declared: Declared) -> tuple[Task, tuple[str, ...]]:  # noqa: ANN401
    """What is decided, among which labels: as declared, or as the configuration says. Raises ModelRejected."""
    if declared.task not in {None, Task.SINGLE_LABEL, Task.MULTI_LABEL}:
        message = "this model is a classifier: its task is single_label or multi_label"
        raise ModelRejected(message)
    return declared.task or task_of(config), declared_labels(config, declared)


def word_labels(config: Any, declared: Declared) -> tuple[str, ...]:  # noqa: ANN401
    """Labels of a token classifier, as declared, or as the configuration says. Raises ModelRejected."""
    if declared.task not in {None, Task.TOKEN_LABEL}:
        message = "this model labels words: its task is token_label"
        raise ModelRejected(message)
    if config.num_labels < MIN_CLASSES:
        message = "a decision needs classes, and this model has one"
        raise ModelRejected(message)
    return declared_labels(config, declared)


def declared_labels(config: Any, declared: Declared) -> tuple[str, ...]:  # noqa: ANN401
    """Labels as declared, or as the configuration says. Raises ModelRejected."""
    classes = config.num_labels
    labels = declared.labels or labels_of(config)
    if len(labels) != classes:
        message = f"{len(labels)} labels are declared, and the configuration has {classes} classes"
        raise ModelRejected(message)
    if len(set(labels)) != len(labels):
        message = "two of the declared labels are the same"
        raise ModelRejected(message)
    return labels


def task_of(config: Any) -> Task:  # noqa: ANN401 - every family has a class of its own
    """Whether one label is chosen or each for itself; raises ModelRejected for a regression."""
    if config.problem_type == "multi_label_classification":
        return Task.MULTI_LABEL
    if config.problem_type == "regression" or config.num_labels < MIN_CLASSES:
        message = "regression models are not supported: a decision needs classes"
        raise ModelRejected(message)
    return Task.SINGLE_LABEL


def labels_of(config: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Labels by class; raises ModelRejected where two are equal."""
    labels = tuple(str(config.id2label[index]) for index in range(config.num_labels))
    if len(set(labels)) != len(labels):
        message = "two classes have the same label"
        raise ModelRejected(message)
    return labels


def encoder_of(
    tokenizer: object,
    config: Any,  # noqa: ANN401 - every family has a class of its own
    *,
    reserved: int,
    max_units: int,
    causal: bool = False,
    most: int | None = None,
) -> Encoder:
    """The tokenizer with the model's limits, `reserved` positions left out, or `most` tokens; raises ModelRejected."""
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        message = "the tokenizer has no fast implementation, and so no character offsets"
        raise ModelRejected(message)
    if not causal and (tokenizer.cls_token_id is None or tokenizer.sep_token_id is None):
        message = "the tokenizer has no classification or separator token"
        raise ModelRejected(message)
    replacing = (tokenizer.mask_token_id, tokenizer.unk_token_id, tokenizer.eos_token_id if causal else None)
    if all(token is None for token in replacing):
        message = "the tokenizer has neither a mask nor an unknown token to replace words by"
        raise ModelRejected(message)
    if len(tokenizer) > config.vocab_size:
        message = f"the tokenizer has {len(tokenizer)} tokens, the model only {config.vocab_size}"
        raise ModelRejected(message)
    max_tokens = min(
        int(config.max_position_embeddings) - reserved, int(tokenizer.model_max_length), most or sys.maxsize
    )
    if max_tokens < LENGTHS[0]:
        message = f"the model reads {max_tokens} tokens, fewer than the {LENGTHS[0]} that its self-test needs"
        raise ModelRejected(message)
    return Encoder(
        tokenizer=tokenizer,
        max_tokens=max_tokens,
        max_units=max_units,
        vocabulary=int(config.vocab_size),
    )
