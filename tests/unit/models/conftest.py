"""One tiny model, made once per session; tests work on copies of its files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from tests.tiny import make_model

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a tiny BERT, as they should be."""
    return make_model("bert", tmp_path_factory.mktemp("original"))


@pytest.fixture
def directory(original: Path, tmp_path: Path) -> Path:
    """A copy of them to spoil."""
    return Path(shutil.copytree(original, tmp_path / "model"))
