"""A configuration that declares more than its files hold is refused before anything of that size is made.

The library makes what a configuration says, and only then finds out which weights there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from rollcall.backends.base import Backend, variants
from rollcall.domain.errors import ModelRejected
from rollcall.domain.rows import Row

MOST = {
    "num_hidden_layers": 1_000,
    "n_layers": 1_000,
    "n_layer": 1_000,
    "num_hidden_groups": 1_000,
    "inner_group_num": 1_000,
    "num_labels": 100_000,
}
"""Numbers by which a configuration has things made one by one: some times the most that anybody has published."""
MOST_GROWTH = 2
"""A model may have so many times the numbers of its files: heads and tied weights that are not stored are made."""


def require_plausible(raw: Mapping[str, Any], where: Path) -> None:
    """Refuse a configuration, as JSON, that declares more things than any model has; raises ModelRejected."""
    for key, value in _items(raw):
        if key in MOST and isinstance(value, (int, float)) and not value <= MOST[key]:
            message = f"{where}: {key} is {value}, more than {MOST[key]}, which no model has"
            raise ModelRejected(message)


def require_stored(loader: Any, config: Any, directory: Path) -> None:  # noqa: ANN401 - each family has its own
    """Refuse a model that is much larger than its files; `loader` makes it, here without memory.

    Raises ModelRejected, and what the libraries raise of files and configurations that are wrong in other ways.
    """
    stored = sum(_numbers(path) for path in directory.glob("*.safetensors"))
    with torch.device("meta"):
        declared = sum(weight.numel() for weight in loader.from_config(config, trust_remote_code=False).parameters())
    if declared > MOST_GROWTH * stored:
        message = f"{directory} cannot be loaded: it declares {declared} numbers, and its files hold {stored}"
        raise ModelRejected(message)


def _items(raw: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys of an object and of those in it, as models of two towers have."""
    for key, value in raw.items():
        yield key, value
        if isinstance(value, dict):
            yield from value.items()


def _numbers(path: Path) -> int:
    """How many numbers a file holds, by its header."""
    with safe_open(path, framework="pt") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - no mapping


def require_longest(backend: Backend, what: str) -> None:
    """Refuse a model that cannot read as many tokens as its configuration says; raises ModelRejected naming `what`.

    None of the tokens is padding, which some models count no position for.
    """
    longest = backend.shape.max_tokens
    synthetic = backend.synthetic(longest)
    encoding = replace(synthetic, input_ids=np.full_like(synthetic.input_ids, synthetic.input_ids[0]))
    try:
        backend.predict(variants(encoding, [Row()]))
    except Exception as error:
        message = f"{what} cannot read the {longest} tokens that its configuration and tokenizer allow"
        raise ModelRejected(message) from error
