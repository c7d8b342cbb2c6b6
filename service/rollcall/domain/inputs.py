"""What comes in: texts, token ids, targets, and the encoding that all later steps share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from rollcall.domain.maps import Bools, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class TextInput:
    """A text, or a pair of texts."""

    text: str = field(repr=False)
    text_pair: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensInput:
    """Vocabulary ids, special tokens included."""

    input_ids: tuple[int, ...] = field(repr=False)


ModelInput: TypeAlias = TextInput | TokensInput

ClassRef: TypeAlias = int | str
"""A class by index or by label, as the caller named it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The class to explain (None: the predicted one) and the class to contrast it with (None: all others)."""

    target: ClassRef | None = None
    foil: ClassRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """The decision rule "probability of `label` >= `probability`", 0 < probability < 1."""

    label: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A word, or consecutive words of a long text; ends are exclusive, characters are code points."""

    text: str = field(repr=False)
    token_start: int
    token_end: int
    char_start: int
    char_end: int
    segment: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """One input as the model reads it. T tokens, n units.

    `input_ids`, `type_ids` [T]; `unit_of_token` [T] is the index of the token's unit, -1 for special tokens.
    """

    input_ids: Ints = field(repr=False)
    type_ids: Ints = field(repr=False)
    unit_of_token: Ints = field(repr=False)
    units: tuple[Unit, ...] = field(repr=False)
    tokens_total: int
    grouped: bool

    @property
    def length(self) -> int:
        """T."""
        return len(self.input_ids)

    @property
    def truncated(self) -> bool:
        """Whether the model reads less than the caller sent."""
        return self.tokens_total > self.length

    def tokens_of(self, removed: Bools) -> Bools:
        """Turn removed units [n] into removed tokens [T]."""
        content = self.unit_of_token >= 0
        return content & removed[self.unit_of_token.clip(min=0)] if len(removed) else content & False
