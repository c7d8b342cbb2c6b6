"""One tiny model for the tests that need a real engine."""

from __future__ import annotations

import pytest
import torch

from tests.tiny import Tiny, Zoo

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A tiny BERT as the service loads it."""
    return Zoo(root=tmp_path_factory.mktemp("zoo"))["bert"]
