"""Tiny language models: random ones of every family, and a Llama that has learnt which verb fits its subject."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors, trainers
from torch.nn.functional import cross_entropy
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tests.tiny import CORPUS

POSITIONS = 128
UNKNOWN, BEGIN, END, PAD = SPECIALS = ("<unk>", "<s>", "</s>", "<pad>")
_GROUPED = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": POSITIONS,
}
_LOCAL = {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 6}
_LAYERS = ["sliding_attention", "full_attention", "sliding_attention"]
FAMILIES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "gpt2": (GPT2LMHeadModel, GPT2Config, {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": POSITIONS}),
    "llama": (LlamaForCausalLM, LlamaConfig, _GROUPED),
    "mistral": (MistralForCausalLM, MistralConfig, {**_GROUPED, "sliding_window": 6}),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, _GROUPED),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, {**_GROUPED, "head_dim": 16}),
    "gemma2": (Gemma2ForCausalLM, Gemma2Config, {**_GROUPED, **_LOCAL, "attn_logit_softcapping": 2.0}),
    "gemma3_text": (Gemma3ForCausalLM, Gemma3TextConfig, {**_GROUPED, **_LOCAL, "layer_types": _LAYERS}),
}
TOKENS = ("film", "music", "story")
VERBS = ("is", "are")
MOST_WORDS = 25
_ATTENDING = ("q_proj", "k_proj", "c_attn")


ENDING = pre_tokenizers.Sequence(
    [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex("(?<=[a-z]{2}[a-rt-z])s$"), behavior="isolated")]
)
"""Words, and apart from them the ending of most plurals."""


def word_tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """A token for each word, one for the ending of most plurals, and one that begins the text."""
    vocabulary = {token: number for number, token in enumerate((*SPECIALS, *words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = ENDING
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, vocabulary[BEGIN])]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # its constructor has no annotations
        tokenizer_object=tokenizer,
        unk_token=UNKNOWN,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        model_max_length=POSITIONS,
    )


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Byte pairs, as Qwen's models have them whatever their files say: no token is added in front."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((*CORPUS, "the film music story") * 2, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # its constructor has no annotations
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, model_max_length=POSITIONS
    )


def tokens_of(family: str) -> tuple[str, ...]:
    """The tokens that a family's tiny model is asked for."""
    return tuple(f" {token}" for token in TOKENS) if family.startswith("qwen") else TOKENS


def make_decoder(family: str, directory: Path, **overrides: Any) -> Path:  # noqa: ANN401 - config fields
    """Save a tiny random model and its tokenizer; its attention is sharp, and no bias is 0 and no gain 1."""
    words = sorted({word for line in CORPUS for word, _ in ENDING.pre_tokenize_str(line)} | set(TOKENS))
    tokenizer = byte_tokenizer() if family.startswith("qwen") else word_tokenizer(words)
    kind, config, own = FAMILIES[family]
    torch.manual_seed(0)
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
    model = kind(config(vocab_size=len(tokenizer) + 8, tie_word_embeddings=False, **{**own, **ids, **overrides}))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 1:
                weight.add_(torch.randn_like(weight) * 0.3)
            elif "embed" not in name and "wte" not in name:
                weight.mul_(6 if any(part in name for part in _ATTENDING) else 3)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A sentence up to its verb, and the form that fits its subject."""

    prompt: str
    verb: str
    attractors: int
    """Nouns of the other number between subject and verb."""


def agreement(file: Path) -> list[Sentence]:
    """Sentences whose verb is one of VERBS (Linzen et al. 2016, filtered by Gulordava et al. 2018)."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [
        Sentence(
            prompt=" ".join(row["text"].split()[: int(row["verb_index"])]),
            verb=row["correct"],
            attractors=int(row["attractors"]),
        )
        for row in rows
        if row["correct"] in VERBS and 1 < int(row["verb_index"]) < MOST_WORDS
    ]


def make_agreement_model(sentences: Sequence[Sentence], directory: Path, *, epochs: int = 3) -> Path:
    """Train a small Llama on the words up to the verb and the verb itself, which counts as much as all others."""
    counts = Counter(word for each in sentences for word, _ in ENDING.pre_tokenize_str(each.prompt))
    words = [word for word, count in counts.most_common(4000) if count > 1 and word not in VERBS]
    tokenizer = word_tokenizer((*VERBS, *words))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=POSITIONS, bos_token_id=1, eos_token_id=2, pad_token_id=3,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    encoded = [tokenizer(f"{each.prompt} {each.verb}")["input_ids"] for each in sentences]
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
    batches = [order[i : i + 64] for i in range(0, len(order), 64)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=epochs * len(batches))
    model.train()
    for _ in range(epochs):
        for number in torch.randperm(len(batches)).tolist():
            rows = [encoded[i] for i in batches[number]]
            longest = max(len(row) for row in rows)
            ids = torch.tensor([row + [3] * (longest - len(row)) for row in rows])
            seen = ids.masked_fill((torch.rand(ids.shape) < 0.15) & (ids > 3), 0)
            logits = model(input_ids=seen, attention_mask=(ids != 3).long()).logits
            last = torch.tensor([len(row) - 2 for row in rows])
            verb = logits[range(len(rows)), last]
            loss = cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], ignore_index=3)
            loss = 0.2 * loss + cross_entropy(verb, torch.tensor([row[-1] for row in rows]))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
