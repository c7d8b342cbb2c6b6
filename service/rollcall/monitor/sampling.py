"""Which answers count, and which are checked again: by a keyed digest that no caller can choose. Pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from rollcall.domain.inputs import Encoding
from rollcall.domain.seeds import SEED_BITS, digest_seed

MOST_RECENT = 20_000
"""Inputs that are remembered, as 64 bits each."""


@dataclass(slots=True, kw_only=True)
class Sampler:
    """`secret` is drawn anew by each process: without it nobody knows which inputs are sampled, or recognises one.

    `share` of new inputs, 0 to 1, is checked again; it may change while it is in use.
    """

    share: float
    secret: bytes = field(repr=False)
    most: int = MOST_RECENT
    _recent: OrderedDict[int, None] = field(default_factory=OrderedDict, repr=False)

    def key(self, digest: str, encoding: Encoding) -> int:
        """What an input of the model with this digest is called here: 64 bits, uniform over inputs."""
        types = encoding.type_ids.astype("<i8").tobytes()
        return digest_seed(self.secret, digest.encode(), encoding.content, types)

    def is_new(self, key: int) -> bool:
        """Whether this input was not among the recent ones; it is from now on.

        The same input again is no new evidence: its answer is the same.
        """
        new = key not in self._recent
        self._recent[key] = None
        self._recent.move_to_end(key)
        if len(self._recent) > self.most:
            self._recent.popitem(last=False)
        return new

    def chooses(self, key: int) -> bool:
        """Whether the answer to this input is checked again."""
        return key < self.share * 2.0**SEED_BITS
