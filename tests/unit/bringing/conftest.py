"""One tiny model and its export, made once per session; tests work on copies of their files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.exports import export
from tests.tiny import make_model

torch.set_num_threads(1)

WEIGHTS, PICKLED = "model.safetensors", "pytorch_model.bin"


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a tiny BERT."""
    return make_model("bert", tmp_path_factory.mktemp("made") / "original")


@pytest.fixture(scope="session")
def exported(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export."""
    return export(original, tmp_path_factory.mktemp("made") / "exported")


@pytest.fixture
def checkpoint(original: Path, tmp_path: Path) -> Path:
    """A copy whose weights are in a pickle, with code beside it."""
    copy = Path(shutil.copytree(original, tmp_path / "reviews"))
    torch.save(load_file(copy / WEIGHTS), copy / PICKLED)
    (copy / WEIGHTS).unlink()
    (copy / "modeling.py").write_text("raise SystemExit\n")
    return copy


@pytest.fixture
def trap(tmp_path: Path) -> tuple[Path, Callable[[], bool]]:
    """A file that code would make, and whether it has."""
    mark = tmp_path / "it-ran"
    return mark, mark.exists
