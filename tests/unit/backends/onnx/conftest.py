"""Exports of the tiny models, made once per session."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from rollcall.backends.onnx.backend import OnnxBackend
from rollcall.models.loading import load_model
from tests.exports import export
from tests.tiny import Zoo

FORMS = {
    "bert": {"attention": "eager"},
    "distilbert": {"attention": "sdpa"},
    "roberta": {"attention": "sdpa"},
    "xlm-roberta": {"attention": "eager"},
    "camembert": {"attention": "sdpa"},
    "albert": {"attention": "eager"},
    "electra": {"attention": "sdpa"},
}
"""How each family was exported by torch's older exporter: eager attention, or SDPA taken apart with a guard for NaN."""


@pytest.fixture(scope="session")
def files(zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One exported file per family."""
    root = tmp_path_factory.mktemp("exports")
    return {
        family: export(zoo[family].directory, root / family, attention=form["attention"])
        for family, form in FORMS.items()
    }


@pytest.fixture(scope="session")
def bert_file(files: dict[str, Path]) -> Path:
    """The exported BERT, where one family speaks for all."""
    return files["bert"]


@pytest.fixture(scope="session", params=FORMS)
def family(request: pytest.FixtureRequest) -> str:
    """One family after the other."""
    return cast("str", request.param)


@pytest.fixture(scope="session")
def backends(files: dict[str, Path]) -> dict[str, OnnxBackend]:
    """Every family's backend, proved at load."""
    found = {}
    for name, file in files.items():
        loaded = load_model(file)
        assert loaded.failed == ()
        assert isinstance(loaded.backend, OnnxBackend)
        found[name] = loaded.backend
    return found
