"""The sizes that are measured: the demo model, and random BERTs as large as MiniLM and as BERT-base."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from rollcall.demo import model_directory
from tests.tiny import CORPUS, Tiny, make_model, make_tokenizer

MINILM: dict[str, Any] = {
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "initializer_range": 0.01,  # tiny models are sharpened: at this width their attention would be all or nothing
}
BERT_BASE: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "initializer_range": 0.005,
}
HEAD_TEXTS, HEAD_TOKENS = 64, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured of one size. Empty means not at all; ratios want `lengths`, sweeps the rest."""

    lengths: tuple[int, ...]
    """Tokens at which an explanation is held against its rows on the stock model."""
    sweep: tuple[int, ...]
    """Tokens over which its cost is followed."""
    sweep_tokens: int
    """Tokens of the texts whose units, rows and batches are varied."""
    units: tuple[int, ...]
    max_rows: tuple[int, ...]
    """Of the standard policy: one look, two, three, and with witnesses."""
    batches: tuple[int, ...]
    texts: int
    repeats: int
    sweep_repeats: int


SIZES: dict[str, dict[str, Any] | None] = {"demo": None, "6x384": MINILM, "12x768": BERT_BASE}
"""Configurations of random models by name; the demo model has its own."""
FULL = Plan(
    lengths=(32, 128),
    sweep=(16, 32, 64, 128, 256, 512),
    sweep_tokens=128,
    units=(4, 8, 16, 32, 64),
    max_rows=(30, 50, 66, 128),
    batches=(1, 2, 4, 8, 16, 32, 64),
    texts=2,
    repeats=5,
    sweep_repeats=5,
)
PLANS = {
    "demo": FULL,
    "6x384": FULL,
    "12x768": Plan(
        lengths=(32, 128),
        sweep=(16, 32, 128, 512),
        sweep_tokens=32,
        units=(),
        max_rows=(),
        batches=(1, 4, 16),
        texts=1,
        repeats=3,
        sweep_repeats=2,
    ),
}
QUICK = Plan(
    lengths=(8,),
    sweep=(8, 16),
    sweep_tokens=16,
    units=(4, 14),
    max_rows=(30,),
    batches=(1, 2),
    texts=1,
    repeats=1,
    sweep_repeats=1,
)
"""To see that it works."""


def make(size: str, directory: Path) -> Tiny:
    """Return the model of a size; what is random is made in `directory`, proved when first used."""
    configuration = SIZES[size]
    if configuration is None:
        return Tiny(family="bert", directory=model_directory())
    return Tiny(family="bert", directory=classifier(directory, **configuration))


def classifier(
    directory: Path,
    family: str = "bert",
    *,
    spread: float = 1.0,
    **configuration: Any,  # noqa: ANN401 - config fields
) -> Path:
    """Make a random model whose answer depends on the words: its head reads what differs between random texts.

    `spread` is the standard deviation of each logit over such texts.
    """
    tiny = Tiny(family=family, directory=make_model(family, directory, classes=2, **configuration))
    tokenizer = make_tokenizer(family)
    head = tiny.sdpa.classifier
    last = head if isinstance(head, torch.nn.Linear) else getattr(head, "out_proj")  # noqa: B009 - RoBERTa's
    assert isinstance(last, torch.nn.Linear)
    seen: list[torch.Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    texts = [words(tokenizer, HEAD_TOKENS, seed) for seed in range(HEAD_TEXTS)]
    with torch.no_grad():
        tiny.sdpa(**tokenizer(texts, return_tensors="pt"))
        hook.remove()
        direction = torch.pca_lowrank(seen[0])[2][:, 0]
        found = (seen[0] @ direction).std()
        last.weight.copy_(torch.stack((-direction, direction)) / found * spread)
        last.bias.copy_(-(last.weight @ seen[0].mean(dim=0)))
    tiny.sdpa.save_pretrained(directory)
    return directory


def text(tiny: Tiny, length: int, seed: int) -> str:
    """Write a text of so many tokens for a model."""
    return words(tiny.backend._encoder.tokenizer, length, seed)


def words(tokenizer: PreTrainedTokenizerBase, length: int, seed: int) -> str:
    """Write a text of so many tokens: words of one token each, and two special tokens around them."""
    known = sorted(
        {word for line in CORPUS for word in line.split() if len(tokenizer(f"{word} {word}")["input_ids"]) == 4}
    )
    return " ".join(np.random.default_rng(seed).choice(known, size=length - 2))
