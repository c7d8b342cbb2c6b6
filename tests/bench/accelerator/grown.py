"""The demo model's mechanism at the size and cost of BERT-base: explanations that are decided, unlike a random model's.

Wider as in Net2Net (Chen, Goodfellow & Shlens 2016, section 2.2): every number of the hidden state is there several
times over, what reads it divides by how many, and heads keep their patterns. Deeper by layers before each that attend
and compute as it does, into products with zero. So the answer is the demo model's, but for what an added layer's
normalisation changes: it gives all tokens one mean and one deviation.
"""

from __future__ import annotations

import csv
from math import sqrt
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, PreTrainedTokenizerBase

from rollcall.demo import model_directory

Tensor = torch.Tensor

WIDTH, HEADS, LAYERS, INNER = 768, 12, 12, 3072
"""Of BERT-base (Devlin et al. 2019, section 3)."""
TEXTS = (
    "A warm, beautifully acted drama that stayed with me for days.",
    "The plot makes no sense and the jokes are painfully dull.",
)
"""What the states between layers are measured on."""


@torch.no_grad()
def grow(directory: Path) -> Path:
    """Write the demo model, grown, and its tokenizer, into `directory`; return it."""
    small = BertForSequenceClassification.from_pretrained(model_directory(), dtype=torch.float32).train(mode=False)
    size = {
        "hidden_size": WIDTH,
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "intermediate_size": INNER,
        "dtype": "float32",
    }
    large = BertForSequenceClassification(BertConfig(**small.config.to_dict() | size))
    tokenizer = AutoTokenizer.from_pretrained(model_directory())
    states = small(**tokenizer(list(TEXTS), return_tensors="pt", padding=True), output_hidden_states=True).hidden_states
    _fill(large.bert.embeddings, small.bert.embeddings)
    times = LAYERS // small.config.num_hidden_layers
    for number, layer in enumerate(large.bert.encoder.layer):
        of = number // times
        _fill_layer(layer, small.bert.encoder.layer[of], small.config)
        if (number + 1) % times:
            _add_nothing(layer, states[of])
    for name in ("bert.pooler", "classifier"):
        _fill(large.get_submodule(name), small.get_submodule(name))
    large.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def reviews(tokenizer: PreTrainedTokenizerBase, length: int, seed: int) -> str:
    """Write a text of so many tokens, two special ones among them: sentences of reviews in any order, the last cut."""
    with model_directory().with_name("handcheck.tsv").open(encoding="utf-8") as file:
        sentences = [row["text"] for row in csv.DictReader(file, delimiter="\t")]
    text = " ".join(np.random.default_rng(seed).permutation(sentences))
    cut = tokenizer(text, add_special_tokens=False, truncation=True, max_length=length - 2)
    return text[: cut.encodings[0].offsets[-1][1]]


def _fill(large: nn.Module, small: nn.Module) -> None:
    """Copy every tensor of a module, tiled; matrices of linear layers are divided by how often they read a number."""
    for name, module in large.named_modules():
        source = small.get_submodule(name)
        for key, tensor in module.named_parameters(recurse=False):
            value = source.get_parameter(key)
            repeats = [of // had for of, had in zip(tensor.shape, value.shape, strict=True)]
            reads = repeats[1] if isinstance(module, nn.Linear) and key == "weight" else 1
            tensor.copy_(value.tile(repeats) / reads)


def _fill_layer(large: nn.Module, small: nn.Module, config: BertConfig) -> None:
    for name in ("attention.output.LayerNorm", "intermediate", "output"):
        _fill(large.get_submodule(name), small.get_submodule(name))
    heads, wider = config.num_attention_heads, WIDTH // config.hidden_size
    # Numbers of a head are not there several times over, but heads are; what is over in each is zero.
    for name in ("query", "key", "value"):
        into = f"attention.self.{name}"
        scale = sqrt((WIDTH // HEADS) / (config.hidden_size // heads)) if name == "query" else 1.0
        weight = small.get_parameter(f"{into}.weight").tile(1, wider) / wider
        large.get_parameter(f"{into}.weight").copy_(_by_head(weight, heads) * scale)
        large.get_parameter(f"{into}.bias").copy_(_by_head(small.get_parameter(f"{into}.bias"), heads) * scale)
    out = "attention.output.dense"
    weight = _by_head(small.get_parameter(f"{out}.weight").T, heads).T / (HEADS // heads)
    large.get_parameter(f"{out}.weight").copy_(weight.tile(wider, 1))
    large.get_parameter(f"{out}.bias").copy_(small.get_parameter(f"{out}.bias").tile(wider))


def _by_head(rows: Tensor, heads: int) -> Tensor:
    """Rows of each head, padded with zeros to the larger head, each head several times: `[WIDTH, ...]`."""
    split = rows.reshape(heads, -1, *rows.shape[1:])
    padded = split.new_zeros((heads, WIDTH // HEADS, *split.shape[2:]))
    padded[:, : split.shape[1]] = split
    return torch.repeat_interleave(padded, HEADS // heads, dim=0).flatten(0, 1)


def _add_nothing(layer: nn.Module, state: Tensor) -> None:
    """Let a layer add nothing to the states; its normalisations give them the mean and deviation they have anyway."""
    for part in ("attention.output", "output"):
        layer.get_parameter(f"{part}.dense.weight").zero_()
        layer.get_parameter(f"{part}.dense.bias").zero_()
        layer.get_parameter(f"{part}.LayerNorm.weight").fill_(state.std(dim=-1, correction=0).mean())
        layer.get_parameter(f"{part}.LayerNorm.bias").fill_(state.mean())
