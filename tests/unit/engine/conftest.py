"""Tiny models, made once per session."""

from __future__ import annotations

import pytest

from tests.tiny import Zoo


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """Every family's tiny model, made when first asked for."""
    return Zoo(root=tmp_path_factory.mktemp("zoo"))
