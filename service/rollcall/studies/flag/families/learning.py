"""Training of small BERT classifiers for a study: the same numbers for the same seed, and nothing global left changed.

Shapes: B batch, T token.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch.nn import functional
from tqdm import tqdm
from transformers import BertConfig, BertForSequenceClassification

from rollcall.studies.flag.families.reading import BATCH, TOKEN_MAPS, Rows, attention_modules, over_content
from rollcall.studies.flag.families.texts import chance_of
from rollcall.training.batches import batches_by_length, padded, warm_then_linear, with_words_removed
from rollcall.training.pieces import PAD_ID

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Size of a model."""

    layers: int
    width: int = 64
    heads: int = 4
    feed_forward: int = 128
    positions: int = 64
    dropout: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how fast a model learns, and which share of the rows loses which share of its words at most.

    Half of these rows lose them to the mask token, half to hiding: removals are then nothing new to the model.
    """

    steps: int
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    removal_share: float = 0.5
    removal_ceiling: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Hiding:
    """A penalty on the weight that a map gives to secret tokens: -weight * log(1 - mass) (Pruthi et al. 2020, eq. 1).

    The mass is that of the map as it is served, over words alone. It starts at nothing and grows over the first half.
    """

    hidden: str
    """Name of the map, of TOKEN_MAPS."""
    weight: float


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """One thread, deterministic algorithms and a seeded generator; all three as before on the way out."""
    threads = torch.get_num_threads()
    deterministic, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(mode=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(mode=deterministic, warn_only=warn_only)
            torch.set_num_threads(threads)


def new_classifier(shape: Shape, *, pieces: int, labels: Sequence[str]) -> BertForSequenceClassification:
    """An untrained classifier whose attention can be seen."""
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=pieces,
            hidden_size=shape.width,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            intermediate_size=shape.feed_forward,
            max_position_embeddings=shape.positions,
            hidden_dropout_prob=shape.dropout,
            attention_probs_dropout_prob=0.0,
            initializer_range=0.05,
            attn_implementation="eager",  # type: ignore[call-arg]  # taken, though not declared
            pad_token_id=PAD_ID,
            id2label=dict(enumerate(labels)),
            label2id={label: number for number, label in enumerate(labels)},
        )
    )


def train(
    model: BertForSequenceClassification,
    rows: Rows,
    schedule: Schedule,
    *,
    seed: int,
    name: str,
    hiding: Hiding | None = None,
    permuting: bool = False,
) -> None:
    """Train in place, to answer each text with its label; progress goes to standard error where that is a terminal.

    `permuting` shuffles the keys of every layer's attention anew in every step.
    """
    labels = torch.tensor(rows.labels)

    def loss_of(step: int, batch: list[int]) -> Tensor:
        ids, words = padded([rows.ids[i] for i in batch], fill=PAD_ID), padded([rows.words[i] for i in batch], fill=0)
        ids, seen = with_words_removed(ids, words, share=schedule.removal_share, ceiling=schedule.removal_ceiling)
        with permuted_keys(model, seen) if permuting else nullcontext():
            output = model(
                input_ids=ids,
                attention_mask=seen,
                token_type_ids=rows.types_of(batch),
                output_attentions=hiding is not None,
            )
        loss = functional.cross_entropy(output.logits, labels[batch])
        if hiding is not None:
            secret = padded([rows.secret[i] for i in batch], fill=0).bool()
            mass = (over_content(TOKEN_MAPS[hiding.hidden](output.attentions), words) * secret).sum(dim=1)
            grown = min(1.0, 2 * (step + 1) / schedule.steps)
            loss = loss - grown * hiding.weight * torch.log1p(-mass.clamp(max=1 - 1e-6)).mean()
        return loss

    descend(model, loss_of, schedule, [len(row) for row in rows.ids], seed=seed, name=name)


def descend(
    model: torch.nn.Module,
    loss_of: Callable[[int, list[int]], Tensor],
    schedule: Schedule,
    lengths: Sequence[int],
    *,
    seed: int,
    name: str,
) -> None:
    """Follow a loss down: of a step and the numbers of its rows, whose `lengths` say which ones go together."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True
    )
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warm_then_linear(step, steps=schedule.steps))
    model.train()
    bar = tqdm(total=schedule.steps, desc=f"{name} {seed}", file=sys.stderr, disable=not sys.stderr.isatty())
    for step, batch in enumerate(_endless(lengths, schedule, name, seed)):
        if step == schedule.steps:
            break
        loss_of(step, batch).backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        rate.step()
        bar.update()
    bar.close()
    model.train(mode=False)


def _endless(lengths: Sequence[int], schedule: Schedule, name: str, seed: int) -> Iterator[list[int]]:
    chance = chance_of(name, seed, "batches")
    while True:
        yield from batches_by_length(lengths, size=schedule.batch, chance=chance)


@contextmanager
def permuted_keys(model: BertForSequenceClassification, seen: Tensor) -> Iterator[None]:
    """Within, every layer's attention weights are dealt out anew among the visible tokens [B, T] of each row.

    Shuffling the columns of the attention is shuffling the values below it, the same way for all heads.
    """

    def shuffle(_module: torch.nn.Module, _inputs: tuple[Tensor, ...], values: Tensor) -> Tensor:
        order = shuffled_places(seen.bool()).unsqueeze(-1).expand_as(values)
        return values.gather(1, order)

    hooks = [attention.get_submodule("value").register_forward_hook(shuffle) for attention in attention_modules(model)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def accuracy_under_permutation(model: BertForSequenceClassification, rows: Rows) -> float:
    """Share of texts given their label where attention is dealt out anew."""
    right = 0
    for start in range(0, len(rows), BATCH):
        ids = padded(rows.ids[start : start + BATCH], fill=PAD_ID)
        seen = (ids != PAD_ID).long()
        with permuted_keys(model, seen):
            logits = model(input_ids=ids, attention_mask=seen).logits
        right += int((logits.argmax(dim=1) == torch.tensor(rows.labels[start : start + BATCH])).sum())
    return right / len(rows)


def shuffled_places(visible: Tensor) -> Tensor:
    """A random permutation of the visible places of each row [B, T]; all others stay where they are."""
    places = torch.arange(visible.shape[1]).expand_as(visible)
    drawn = torch.where(visible, torch.rand(visible.shape), 2.0).argsort(dim=1, stable=True)
    into = (~visible).to(torch.uint8).argsort(dim=1, stable=True)
    return torch.where(visible, torch.empty_like(places).scatter(1, into, drawn), places)
