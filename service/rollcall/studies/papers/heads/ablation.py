"""Parts of a BERT switched off, in any sets: heads, feed-forward parts, and what the residual carries past both.

The engine silences heads of one input as part of a check; here any set of parts goes at once, in every row of a batch
another one. Off is what the engine's SILENCED means: a head passes nothing on, and what is left of a whole part is the
bias of its last linear map. Or a part passes on its mean over other texts, which is less unusual for what comes after.

Shapes: B row, T token, L layer, H head, E width, F width of the feed-forward part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn
from transformers import BertForSequenceClassification

Tensor = torch.Tensor
Ids: TypeAlias = Sequence[int]


class Part(Enum):
    """What a layer is made of."""

    HEADS = "heads"
    FEED_FORWARD = "feed-forward"
    AROUND_HEADS = "residual around heads"
    AROUND_FEED_FORWARD = "residual around feed-forward"


_PLACES = {
    Part.HEADS: ("attention.output.dense", 0),
    Part.FEED_FORWARD: ("output.dense", 0),
    Part.AROUND_HEADS: ("attention.output", 1),
    Part.AROUND_FEED_FORWARD: ("output", 1),
}
"""Module within a layer, and which of its inputs the part brings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """What is on (1) and off (0) in each row: heads [B, L, H], the other parts [B, L]."""

    heads: Tensor
    others: Mapping[Part, Tensor] = field(default_factory=dict)

    @classmethod
    def all_on(cls, rows: int, layers: int, heads: int) -> Switches:
        """Nothing is switched off."""
        others: dict[Part, Tensor] = {part: torch.ones(rows, layers) for part in Part if part is not Part.HEADS}
        return cls(heads=torch.ones(rows, layers, heads), others=others)

    def of(self, part: Part, layer: int) -> Tensor:
        """Factors of one part's features, [B, 1, H] to be repeated or [B, 1, 1]."""
        if part is Part.HEADS:
            return self.heads[:, layer, None]
        return self.others[part][:, layer, None, None]


Means: TypeAlias = Mapping[tuple[Part, int], Tensor]
"""What a part passes on in the mean, [E] or [F], by part and layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablated:
    """A model whose parts can be switched off. It is loaded anew: nobody else sees what is done to it."""

    model: BertForSequenceClassification = field(repr=False)

    @classmethod
    def load(cls, directory: Path) -> Ablated:
        """From the files that the service loads."""
        model = BertForSequenceClassification.from_pretrained(directory, local_files_only=True)
        return cls(model=model.train(mode=False).requires_grad_(requires_grad=False))

    @property
    def layers(self) -> int:
        """L."""
        return int(self.model.config.num_hidden_layers)

    @property
    def heads(self) -> int:
        """H."""
        return int(self.model.config.num_attention_heads)

    @torch.no_grad()
    def logits(self, rows: Sequence[Ids], switches: Switches, means: Means | None = None) -> Tensor:
        """Logits [B, C] of texts as token ids, each under its own switches; off is the mean where `means` are given."""

        def switch(part: Part, layer: int, value: Tensor) -> Tensor:
            factor = switches.of(part, layer)
            if part is Part.HEADS:
                factor = factor.repeat_interleave(value.shape[-1] // self.heads, dim=-1)
            if means is None:
                return value * factor
            return value * factor + means[part, layer] * (1 - factor)

        with self._at_parts(switch):
            return self._forward(rows)

    @torch.no_grad()
    def means(self, rows: Sequence[Ids]) -> dict[tuple[Part, int], Tensor]:
        """The mean of every part over all tokens of some texts."""
        sums: dict[tuple[Part, int], Tensor] = {}

        def remember(part: Part, layer: int, value: Tensor) -> Tensor:
            sums[part, layer] = sums.get((part, layer), torch.zeros(())) + value.flatten(0, 1).sum(dim=0)
            return value

        with self._at_parts(remember):
            for row in rows:  # one by one: padding has no part in a mean
                self._forward([row])
        tokens = sum(len(row) for row in rows)
        return {key: total / tokens for key, total in sums.items()}

    def _forward(self, rows: Sequence[Ids]) -> Tensor:
        longest = max(len(row) for row in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        visible = torch.zeros(len(rows), longest, dtype=torch.long)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
            visible[number, : len(row)] = 1
        logits: Tensor = self.model(input_ids=ids, attention_mask=visible).logits
        return logits

    @contextmanager
    def _at_parts(self, act: Callable[[Part, int, Tensor], Tensor]) -> Iterator[None]:
        """Put what `act` makes of it in the place of what each part passes on; the hooks are gone afterwards."""

        def hook(part: Part, layer: int, at: int) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
            def replace(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
                return (*args[:at], act(part, layer, args[at]), *args[at + 1 :])

            return replace

        hooks = [
            block.get_submodule(place).register_forward_pre_hook(hook(part, layer, at))
            for layer, block in enumerate(self.model.bert.encoder.layer)
            for part, (place, at) in _PLACES.items()
        ]
        try:
            yield
        finally:
            for each in hooks:
                each.remove()


def shapley(value: Callable[[Tensor], Tensor], players: int, *, orders: int, generator: torch.Generator) -> Tensor:
    """Shapley values [players] of `value`, which takes coalitions [B, players] of 0 and 1 to numbers [B].

    Over random orders, each with its reverse (antithetic); they add up to value(all) - value(nobody) exactly.
    """
    total = torch.zeros(players, dtype=torch.float64)
    for _ in range(orders):
        order = torch.randperm(players, generator=generator)
        for walk in (order, order.flip(0)):
            coalitions = torch.zeros(players + 1, players)
            for step, player in enumerate(walk.tolist(), start=1):
                coalitions[step:, player] = 1
            found = value(coalitions).double()
            total[walk] += found[1:] - found[:-1]
    return total / (2 * orders)
