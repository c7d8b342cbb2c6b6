"""Models of the families, each built once in a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from rollcall.studies.flag.families.base import Family, Member
from rollcall.studies.flag.members import FAMILIES, member

ByName: TypeAlias = Callable[[str], Member]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this session's models are kept."""
    return tmp_path_factory.mktemp("members")


@pytest.fixture(scope="session")
def built(cache: Path) -> ByName:
    """The model of seed 0 of a quick family, by the family's name."""
    return lambda name: member(family_of(name), seed=0, inputs=40, data=None, cache=cache)


def family_of(name: str) -> Family:
    """The family of that name."""
    return next(family for family in FAMILIES if family.name == name)
