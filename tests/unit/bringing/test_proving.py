"""A repository is proved revision by revision."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rollcall import loader
from rollcall.bringing import proving
from rollcall.domain.errors import BackendError, DeviceMemory, RollcallError
from rollcall.pipeline.catalog import Entry
from rollcall.settings import LimitSettings, ModelSpec


@pytest.mark.parametrize("error", [DeviceMemory("no room for it"), BackendError("it failed")])
def test_a_revision_that_fails_on_the_device_keeps_no_other_from_being_proved(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: RollcallError
) -> None:
    """It is told with its reason, and the next one is looked at."""
    for revision in ("1", "2"):
        own = Path(shutil.copytree(original, tmp_path / "models" / "reviews" / revision))
        (own / "model.toml").write_text("")

    def prove(spec: ModelSpec, limits: LimitSettings) -> Entry:
        if spec.revision == "1":
            raise error
        return loader.prove(spec, limits)

    monkeypatch.setattr(proving, "prove", prove)
    first, second = proving.prove_repository(tmp_path / "models")
    assert (first.revision, first.problem) == ("1", str(error))
    assert (second.revision, second.problem) == ("2", "")
