"""Models as large as people serve them, in the service's hands and beside that stock, on one device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from rollcall.backends.tensors import DTYPES
from rollcall.backends.torch_backend import TorchClassifier
from rollcall.domain.explanation import ExplainRequest
from rollcall.domain.inputs import PixelsInput
from rollcall.models.loading import LoadedModel, load_model
from tests.bench.accelerator.grown import grow, reviews
from tests.bench.cost.models import BERT_BASE, MINILM, classifier, words
from tests.harness import ask
from tests.pictures import make_vision_model

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
SIDE, CHANNELS = 224, 3
VIT_BASE: dict[str, Any] = BERT_BASE | {"image_size": SIDE, "patch_size": 16, "sharp": False, "initializer_range": 0.04}


class Inputs(Protocol):
    """What a model is asked, by number: the same number, the same input."""

    def request(self, seed: int) -> ExplainRequest:
        """Ask for an explanation of one."""
        ...

    def batch(self, rows: int) -> dict[str, Tensor]:
        """As many as the stock model reads them, on the processor."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Texts of so many tokens, written by `write` from a tokenizer, a length and a seed."""

    tokenizer: PreTrainedTokenizerBase = field(repr=False)
    tokens: int
    write: Callable[[PreTrainedTokenizerBase, int, int], str]

    def request(self, seed: int) -> ExplainRequest:
        """Ask for an explanation of one."""
        return ask(self.write(self.tokenizer, self.tokens, seed))

    def batch(self, rows: int) -> dict[str, Tensor]:
        """Token ids, and no padding."""
        made = [self.write(self.tokenizer, self.tokens, seed) for seed in range(rows)]
        return dict(self.tokenizer(made, return_tensors="pt"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Pictures of noise."""

    def request(self, seed: int) -> ExplainRequest:
        """Ask for an explanation of one."""
        pixels = self._pixels(seed)
        return ask("", input=PixelsInput(shape=pixels.shape, data=pixels.astype("<f4").tobytes()))

    def batch(self, rows: int) -> dict[str, Tensor]:
        """Pixels, prepared."""
        return {"pixel_values": torch.from_numpy(np.stack([self._pixels(seed) for seed in range(rows)]))}

    def _pixels(self, seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return np.random.default_rng(seed).standard_normal((CHANNELS, SIDE, SIDE), dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How a model is made in a directory, and what it is asked."""

    make: Callable[[Path], Path]
    write: Callable[[PreTrainedTokenizerBase, int, int], str] | None = words
    """None for pictures."""


SIZES = {
    "bert-base-demo": Size(make=grow, write=reviews),
    "bert-base": Size(
        make=partial(classifier, **BERT_BASE | {"initializer_range": 0.005, "spread": 1 / 4, "offsets": 0.02})
    ),
    "roberta-large": Size(make=partial(classifier, family="roberta", **ROBERTA_LARGE)),
    "vit-base": Size(make=partial(make_vision_model, "vit", **VIT_BASE), write=None),
    "minilm": Size(make=partial(classifier, **MINILM)),
    "tiny": Size(make=classifier),
}
"""All random but the first, which is the demo model grown. What differs between texts is little in a random model: a
head that made much of it would make as much of rounding in bfloat16, and fail the self-tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One model twice on the same device and in the same precision: as the service runs it, and stock."""

    name: str
    tokens: int
    loaded: LoadedModel
    stock: PreTrainedModel = field(repr=False)
    inputs: Inputs

    @property
    def backend(self) -> TorchClassifier:
        """What runs it in the service."""
        assert isinstance(self.loaded.backend, TorchClassifier)
        return self.loaded.backend

    def requests(self, count: int, first: int = 0) -> list[ExplainRequest]:
        """Requests for explanations of different inputs."""
        return [self.inputs.request(first + number) for number in range(count)]

    def batch(self, rows: int) -> dict[str, Tensor]:
        """Rows of different inputs, on the device; numbers in the model's precision."""
        return {
            name: tensor.to(self.backend.device, self.stock.dtype if tensor.is_floating_point() else tensor.dtype)
            for name, tensor in self.inputs.batch(rows).items()
        }

    @torch.no_grad()
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Logits of the stock model, on the host."""
        logits: Tensor = self.stock(**batch).logits
        return logits.double().cpu()

    def operations(self) -> int:
        """Multiplications and additions of one row on the stock model, as torch counts them."""
        with FlopCounterMode(display=False) as counter:
            self.forward(self.batch(1))
        return int(counter.get_total_flops())


@contextmanager
def made(name: str, *, device: str, dtype: str, tokens: int) -> Iterator[Pair]:
    """Make, load and prove a model, to be asked about inputs of so many tokens; its files are gone afterwards."""
    size = SIZES[name]
    kind = AutoModelForSequenceClassification if size.write else AutoModelForImageClassification
    with TemporaryDirectory() as directory:
        path = size.make(Path(directory))
        stock = kind.from_pretrained(path, attn_implementation="sdpa", dtype=DTYPES[dtype])
        inputs = (
            Texts(tokenizer=AutoTokenizer.from_pretrained(path), tokens=tokens, write=size.write)
            if size.write
            else Pictures()
        )
        loaded = load_model(path, device=device, dtype=dtype)
        yield Pair(
            name=name,
            tokens=tokens if size.write else loaded.backend.shape.max_tokens,
            loaded=loaded,
            stock=stock.train(mode=False).to(device),
            inputs=inputs,
        )
