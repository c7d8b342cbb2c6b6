"""Random models as large as people serve them, in the service's hands and beside that stock, on one device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from rollcall.backends.tensors import DTYPES
from rollcall.backends.torch_backend import TorchBackend
from rollcall.models.loading import LoadedModel, load_model
from tests.bench.cost.models import BERT_BASE, MINILM, classifier, words
from tests.tiny import make_tokenizer

Tensor = torch.Tensor

ROBERTA_LARGE: dict[str, Any] = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "initializer_range": 0.004,
    "spread": 1 / 16,
    "offsets": 0.02,
}
TINY: dict[str, Any] = {}
SIZES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert-base": ("bert", BERT_BASE | {"initializer_range": 0.005, "spread": 1 / 4, "offsets": 0.02}),
    "roberta-large": ("roberta", ROBERTA_LARGE),
    "minilm": ("bert", MINILM),
    "tiny": ("bert", TINY),
}
"""Family and configuration by name. What differs between texts is little in a random model: a head that made much of it
would make as much of rounding in bfloat16, and fail the self-tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One model twice on the same device and in the same precision: as the service runs it, and stock."""

    name: str
    loaded: LoadedModel
    stock: PreTrainedModel = field(repr=False)
    tokenizer: PreTrainedTokenizerBase = field(repr=False)

    @property
    def backend(self) -> TorchBackend:
        """What runs it in the service."""
        assert isinstance(self.loaded.backend, TorchBackend)
        return self.loaded.backend

    def text(self, tokens: int, seed: int) -> str:
        """Write a text of so many tokens."""
        return words(self.tokenizer, tokens, seed)

    def batch(self, tokens: int, rows: int) -> dict[str, Tensor]:
        """Rows of different texts, on the device."""
        made = self.tokenizer([self.text(tokens, seed) for seed in range(rows)], return_tensors="pt")
        return {name: tensor.to(self.backend.device) for name, tensor in made.items()}

    @torch.no_grad()
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Logits of the stock model, on the host."""
        logits: Tensor = self.stock(**batch).logits
        return logits.double().cpu()

    def operations(self, tokens: int) -> int:
        """Multiplications and additions of one row on the stock model, as torch counts them."""
        with FlopCounterMode(display=False) as counter:
            self.forward(self.batch(tokens, 1))
        return int(counter.get_total_flops())


@contextmanager
def made(name: str, *, device: str, dtype: str) -> Iterator[Pair]:
    """Make, load and prove a model; its files are gone afterwards."""
    family, configuration = SIZES[name]
    with TemporaryDirectory() as directory:
        path = classifier(Path(directory), family, **configuration)
        stock = AutoModelForSequenceClassification.from_pretrained(
            path, attn_implementation="sdpa", dtype=DTYPES[dtype]
        )
        yield Pair(
            name=name,
            loaded=load_model(path, device=device, dtype=dtype),
            stock=stock.train(mode=False).to(device),
            tokenizer=make_tokenizer(family),
        )
