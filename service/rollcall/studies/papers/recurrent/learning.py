"""Training of recurrent classifiers: the ordinary way, with attention that is given, and against another model.

The epoch that does best on the dev part is kept; held-out texts are never looked at (the public code of two of the
papers chose epochs by them). Shapes: N texts, B batch, T token, C class.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import torch
from torch.nn import functional

from rollcall.studies.flag.families.reading import Rows
from rollcall.studies.flag.families.texts import chance_of
from rollcall.studies.papers.recurrent.network import (
    Network,
    lengths_of,
    uniform_over,
    weights_over,
    words_of,
)
from rollcall.training.batches import batches_by_length, padded
from rollcall.training.pieces import PAD_ID

Tensor = torch.Tensor
READ_AT_ONCE: Final = 64
TINY: Final = 1e-10


class Attending(Enum):
    """Where a model's attention comes from while it learns."""

    LEARNT = "learnt"
    UNIFORM = "uniform"
    """Frozen at equal weights (Wiegreffe and Pinter 2019, section 3.1)."""
    RANDOM = "random"
    """Drawn anew in every step (Vashishth et al. 2019)."""
    GIVEN = "given"
    """Another model's, as fixed weights (Wiegreffe and Pinter 2019, section 3.4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Adam with amsgrad, no decay on the attention layer: Jain and Wallace 2019, appendix."""

    epochs: int = 8
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What a model says of texts: `probabilities` [N, C], and the weights of each text's tokens, cut to its length."""

    probabilities: Tensor
    weights: list[Tensor]

    def accuracy(self, rows: Rows) -> float:
        """Share of texts given their label."""
        return float((self.probabilities.argmax(dim=1) == torch.tensor(rows.labels)).float().mean())

    def f1(self, rows: Rows) -> float:
        """Of the last class, as the papers report it for two classes."""
        said, true = self.probabilities.argmax(dim=1), torch.tensor(rows.labels)
        last = self.probabilities.shape[1] - 1
        hit = int(((said == last) & (true == last)).sum())
        return 2 * hit / max(1, int((said == last).sum()) + int((true == last).sum()))


Weigh = Callable[[Tensor, Tensor, Sequence[int]], Tensor]
"""Weights [B, T] of a batch, given its states, its words [B, T] and the numbers of its texts."""


def weighing(network: Network, attending: Attending, given: Sequence[Tensor] = (), *, seed: int = 0) -> Weigh:
    """How a network attends; `given`: weights of each text, for GIVEN. Random weights come from a stream of `seed`."""
    stream = torch.Generator().manual_seed(seed)

    def weigh(states: Tensor, words: Tensor, numbers: Sequence[int]) -> Tensor:
        match attending:
            case Attending.LEARNT:
                return weights_over(network.scores(states), words)
            case Attending.UNIFORM:
                return uniform_over(words)
            case Attending.RANDOM:
                drawn = torch.rand(words.shape, generator=stream) * words
                return drawn / drawn.sum(dim=1, keepdim=True).clamp(min=TINY)
            case Attending.GIVEN:
                fixed = torch.zeros(words.shape)
                for at, number in enumerate(numbers):
                    fixed[at, : len(given[number])] = given[number]
                return fixed

    return weigh


def forward(network: Network, ids: Tensor, weigh: Weigh, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Logits [B, C] and weights [B, T] of a batch of ids [B, T]."""
    states = network.states(network.embed(ids), lengths_of(ids))
    weights = weigh(states, words_of(ids), numbers)
    return network.answer(weights, states), weights


@torch.no_grad()
def read(network: Network, rows: Rows, weigh: Weigh | None = None) -> Read:
    """Read every text; by learnt attention, if nothing else is said."""
    weigh = weigh or weighing(network, Attending.LEARNT)
    network.train(mode=False)
    order = sorted(range(len(rows)), key=lambda number: len(rows.ids[number]))
    said: dict[int, tuple[Tensor, Tensor]] = {}
    for start in range(0, len(order), READ_AT_ONCE):
        numbers = order[start : start + READ_AT_ONCE]
        ids = padded([rows.ids[i] for i in numbers], fill=PAD_ID)
        logits, weights = forward(network, ids, weigh, numbers)
        for at, number in enumerate(numbers):
            said[number] = (logits[at].softmax(dim=0), weights[at, : len(rows.ids[number])].clone())
    found = [said[number] for number in range(len(rows))]
    return Read(probabilities=torch.stack([p for p, _ in found]), weights=[w for _, w in found])


def learn(
    network: Network,
    rows: Rows,
    dev: Rows,
    schedule: Schedule,
    *,
    seed: int,
    attending: Attending = Attending.LEARNT,
    given: Sequence[Tensor] = (),
    given_dev: Sequence[Tensor] = (),
) -> float:
    """Train in place to answer each text with its label; returns the accuracy on dev of the epoch that is kept."""
    labels = torch.tensor(rows.labels)

    def loss(logits: Tensor, _: Tensor, numbers: Sequence[int]) -> Tensor:
        return functional.cross_entropy(logits, labels[numbers])

    def score() -> float:
        return read(network, dev, weighing(network, attending, given_dev, seed=seed)).accuracy(dev)

    return _fit(network, rows, schedule, weighing(network, attending, given, seed=seed), loss, score, seed=seed)


def learn_against(
    network: Network, rows: Rows, dev: Rows, schedule: Schedule, *, base: Read, base_dev: Read, weight: float, seed: int
) -> float:
    """Train in place to answer as `base` does with other attention; returns minus the loss on dev that is kept.

    The loss of a text is TVD(y, y_base) - weight * KL(a || a_base) (Wiegreffe and Pinter 2019, equation 4); `base` read
    `rows`, `base_dev` read `dev`.
    """

    def loss(logits: Tensor, weights: Tensor, numbers: Sequence[int]) -> Tensor:
        return divergence(logits.softmax(dim=1), weights, base, numbers, weight)

    def score() -> float:
        said = read(network, dev)
        numbers = list(range(len(dev)))
        width = max(len(one) for one in said.weights)
        weights = torch.stack([functional.pad(one, (0, width - len(one))) for one in said.weights])
        return -float(divergence(said.probabilities, weights, base_dev, numbers, weight))

    return _fit(network, rows, schedule, weighing(network, Attending.LEARNT), loss, score, seed=seed)


def divergence(probabilities: Tensor, weights: Tensor, base: Read, numbers: Sequence[int], weight: float) -> Tensor:
    """The adversary's mean loss over a batch, of probabilities [B, C] and weights [B, T] of the texts `numbers`."""
    tvd = (probabilities - base.probabilities[list(numbers)]).abs().sum(dim=1) / 2
    original = torch.zeros_like(weights)
    for at, number in enumerate(numbers):
        original[at, : len(base.weights[number])] = base.weights[number]
    ratio = weights.clamp(min=TINY).log() - original.clamp(min=TINY).log()
    return (tvd - weight * (weights * ratio).sum(dim=1)).mean()


def _fit(
    network: Network,
    rows: Rows,
    schedule: Schedule,
    weigh: Weigh,
    loss: Callable[[Tensor, Tensor, Sequence[int]], Tensor],
    score: Callable[[], float],
    *,
    seed: int,
) -> float:
    """Run all epochs and keep the best by `score`, the first of equal ones."""
    attention = network.attention_parameters()
    others = [each for each in network.parameters() if all(each is not own for own in attention)]
    groups = [{"params": others, "weight_decay": schedule.weight_decay}, {"params": attention, "weight_decay": 0.0}]
    optimizer = torch.optim.Adam(groups, lr=schedule.learning_rate, amsgrad=True)
    lengths = [len(row) for row in rows.ids]
    chance = chance_of("recurrent", seed, "batches")
    best, kept = float("-inf"), copy.deepcopy(network.state_dict())
    for _ in range(schedule.epochs):
        network.train(mode=True)
        for numbers in batches_by_length(lengths, size=schedule.batch, chance=chance):
            ids = padded([rows.ids[i] for i in numbers], fill=PAD_ID)
            logits, weights = forward(network, ids, weigh, numbers)
            optimizer.zero_grad()
            loss(logits, weights, numbers).backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
            optimizer.step()
        found = score()
        if found > best:
            best, kept = found, copy.deepcopy(network.state_dict())
    network.load_state_dict(kept)
    network.train(mode=False)
    return best
