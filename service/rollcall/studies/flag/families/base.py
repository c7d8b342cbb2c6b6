"""What a family of models is, and what one model of it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from rollcall.domain.inputs import TextInput

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

GENERATION: Final = 1
"""Counted up when the code of the families changes what they build, so that kept models are built anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One model with its inputs.

    `directory` is what `load_model` reads; `inputs` were held out of training and come in a seeded order; `accuracy` is
    that on held-out inputs; `facts` prove that the model is what its family claims, by name.
    """

    family: str
    seed: int
    directory: Path
    inputs: tuple[TextInput, ...]
    accuracy: float
    facts: Mapping[str, float]


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


def recipe_digest(name: str, recipe: DataclassInstance) -> str:
    """16 hexadecimal digits over the family's name, every number of its recipe, and the generation of the code."""
    canonical = json.dumps([GENERATION, name, asdict(recipe)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
