"""Tiny models, made once per session."""

from __future__ import annotations

from typing import cast

import pytest
import torch

from tests.tiny import FAMILIES, OTHERS, Tiny, Zoo

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """Every family's tiny model, made when first asked for."""
    return Zoo(root=tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="session", params=(*FAMILIES, *OTHERS))
def tiny(request: pytest.FixtureRequest, zoo: Zoo) -> Tiny:
    """One tiny model per family."""
    return zoo[cast("str", request.param)]


@pytest.fixture(scope="session", params=FAMILIES)
def alike(request: pytest.FixtureRequest, zoo: Zoo) -> Tiny:
    """One tiny model of each family whose rows share everything, and whose logits can be taken apart."""
    return zoo[cast("str", request.param)]


@pytest.fixture(scope="session")
def bert(zoo: Zoo) -> Tiny:
    """The tiny BERT, where one family speaks for all."""
    return zoo["bert"]
