"""What a family of models is, and what one model of it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from rollcall.domain.inputs import ModelInput, TextInput, Unit

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

GENERATION: Final = 1
"""Counted up when the code of the families changes what they build, so that kept models are built anew."""


Span: TypeAlias = tuple[int, int]
"""Characters [start, end) of a text."""


class Undecidable(Enum):
    """Which of a model's maps must be INCONCLUSIVE, whatever the effort."""

    NOTHING = "nothing"
    ATTENTION = "attention"
    """The maps that are made of attention weights alone."""
    EVERYTHING = "everything"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One model with its inputs.

    `directory` is what `load_model` reads; `inputs` were held out of training and come in a seeded order; `accuracy` is
    that on held-out inputs; `facts` prove that the model is what its family claims, by name. `evidence` says for each
    input where the words stand that are known to decide, by construction or by people's edits; nothing where it is not
    known, or where the input is no text alone.
    """

    family: str
    seed: int
    directory: Path
    inputs: tuple[ModelInput, ...]
    evidence: tuple[tuple[Span, ...], ...]
    accuracy: float
    facts: Mapping[str, float]
    tokens: tuple[str, ...] = ()
    """Of a language model: what its next token is chosen from."""

    @property
    def texts(self) -> tuple[TextInput, ...]:
        """The inputs that are texts, for studies of families that have no others."""
        return tuple(one for one in self.inputs if isinstance(one, TextInput))


Claims: TypeAlias = Mapping[str, tuple[float, float]]
"""The least and the most that a fact may be, by its name; ACCURACY is that of the member."""
ACCURACY: Final = "accuracy"

Build: TypeAlias = Callable[[int, int, Path | None, Path], Member]
"""Seed, number of inputs, directory of the data set, directory to write the model to; deterministic given the seed.

The inputs asked for are the first of any greater number; there may be fewer where a data set has no more.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Models that share a truth. `digest` names the recipe: models of another digest are other models."""

    name: str
    truth: str
    """One sentence: what is known by construction."""
    layers: int
    quick: bool
    """Whether it needs no data and little time, and so is part of the tier that runs on every change."""
    data: str | None
    """Name of the data set's folder; None where the texts are generated."""
    build: Build
    digest: str
    claims: Claims
    """What the facts of a model must say for it to be one of this family."""
    undecidable: Undecidable = Undecidable.NOTHING
    packages: tuple[str, ...] = ()
    """Installed packages that its models need beside the service's own: pictures, or an encoder to start from."""


def unmet(claims: Claims, member: Member) -> tuple[str, ...]:
    """What a model lacks of what its family claims, each in words: training may fail, and such a model is no member."""
    measured = {ACCURACY: member.accuracy, **member.facts}
    return tuple(
        f"{name} is {measured[name]:.4g}, not within {least:g} and {most:g}"
        for name, (least, most) in claims.items()
        if not least <= measured[name] <= most
    )


def units_within(spans: Sequence[Span], units: Sequence[Unit]) -> frozenset[int]:
    """The numbers of the units of one text that share a character with any of the spans."""
    return frozenset(
        number
        for number, unit in enumerate(units)
        if any(unit.char_start < end and start < unit.char_end for start, end in spans)
    )


def recipe_digest(name: str, recipe: DataclassInstance) -> str:
    """16 hexadecimal digits over the family's name, every number of its recipe, and the generation of the code."""
    canonical = json.dumps([GENERATION, name, asdict(recipe)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
