"""What comes in: texts, token ids, images, targets, and the encoding that all later steps share."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from rollcall.domain.maps import Bools, Ints
from rollcall.domain.rows import TEXT_REMOVALS, Removals

Pixels: TypeAlias = npt.NDArray[np.float32]


class Modality(Enum):
    """What a model reads."""

    TEXT = "text"
    IMAGE = "image"


@dataclass(frozen=True, slots=True, kw_only=True)
class WordRef:
    """The word whose label is asked for: the one of this `index`, from 0, or the one that has this `character`.

    Exactly one of them is not None.
    """

    index: int | None = None
    character: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextInput:
    """A text, or a pair of texts; of a model that labels words, with the one that is asked about."""

    text: str = field(repr=False)
    text_pair: str | None = field(default=None, repr=False)
    word: WordRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensInput:
    """Vocabulary ids, special tokens included."""

    input_ids: tuple[int, ...] = field(repr=False)
    word: WordRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInput:
    """A PNG or JPEG file."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelsInput:
    """An image that the caller has already prepared: little-endian float32 values of `shape` [channels, height, width].

    Exactly what the model's own preprocessing makes of an image, normalised.
    """

    shape: tuple[int, ...]
    data: bytes = field(repr=False)


ModelInput: TypeAlias = TextInput | TokensInput | ImageInput | PixelsInput

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
class Box:
    """A rectangle of an image in pixels from its upper left corner; ends are exclusive."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A word, or consecutive words of a long text; ends are exclusive, characters are code points.

    Of an image a group of neighbouring patches: `box` is where, all ranges are empty, and `text` says row and column.
    """

    text: str = field(repr=False)
    token_start: int
    token_end: int
    char_start: int
    char_end: int
    segment: int
    box: Box | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """One input as the model reads it. T tokens, n units.

    `input_ids`, `type_ids` [T]; `unit_of_token` [T] is the index of the token's unit, -1 for special tokens.

    Of an image the tokens are its prefix tokens and its patches, row by row; `pixels` [channels, height, width] is what
    the model reads, and positions stand in the place of ids. `image_size` is the width and height in which its units'
    boxes are.
    """

    input_ids: Ints = field(repr=False)
    type_ids: Ints = field(repr=False)
    unit_of_token: Ints = field(repr=False)
    units: tuple[Unit, ...] = field(repr=False)
    tokens_total: int
    grouped: bool
    pixels: Pixels | None = field(default=None, repr=False)
    image_size: tuple[int, int] | None = None
    removals: Removals = TEXT_REMOVALS
    """How its units are removed."""
    word: Unit | None = field(default=None, repr=False)
    """The word whose label is asked for, of a model that labels words: its first token's label is the answer."""

    @property
    def modality(self) -> Modality:
        """What it was made of."""
        return Modality.TEXT if self.pixels is None else Modality.IMAGE

    @property
    def content(self) -> bytes:
        """What the model reads, and where its answer is, the same on every machine; without the types of tokens."""
        if self.pixels is not None:
            return self.pixels.astype("<f4").tobytes()
        asked = [] if self.word is None else [self.word.token_start]
        return np.array([*self.input_ids, *asked], dtype="<i8").tobytes()

    @property
    def length(self) -> int:
        """T."""
        return len(self.input_ids)

    @property
    def truncated(self) -> bool:
        """Whether the model reads less than the caller sent."""
        return self.tokens_total > self.length

    def tokens_of(self, removed: Bools) -> Bools:
        """Turn removed units [..., n] into removed tokens [..., T]."""
        content = self.unit_of_token >= 0
        if not removed.shape[-1]:
            return np.zeros((*removed.shape[:-1], self.length), dtype=np.bool_)
        return content & removed[..., self.unit_of_token.clip(min=0)]

    @property
    def staying(self) -> Bools:
        """Tokens [T] whose place stays when they are removed: those of the unit whose label is asked for.

        An answer is read there. Removed by any operator they are replaced, as by MASK_TOKEN, and stay in sight: some
        models let a position that is hidden see nothing either, and then nothing of the text would reach the answer.
        """
        if self.word is None:
            return np.zeros(self.length, dtype=np.bool_)
        own = self.unit_of_token[self.word.token_start]
        return np.asarray((self.unit_of_token == own) & (own >= 0))

    def gone(self, removed: Bools) -> Bools:
        """Tokens [..., T] that removing units [..., n] by HIDDEN_KEYS hides, and by DELETION takes out of the text."""
        return self.tokens_of(removed) & ~self.staying
