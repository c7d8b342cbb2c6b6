"""Following a repository: what one look meets, the next one does not inherit."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from rollcall.domain.inputs import TextInput
from rollcall.loader import Loader, load_spec, prove
from rollcall.settings import LimitSettings, RepositoryMode, RepositorySettings, Sources, load_settings
from rollcall.settings.building import read_model
from tests.tiny import TEXT, make_model


async def test_a_look_that_fails_is_not_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A directory that is away for a moment, as a network volume may be, is looked at again."""
    environ = {"ROLLCALL_REPOSITORY_DIRECTORY": str(tmp_path), "ROLLCALL_REPOSITORY_POLL_SECONDS": "0.1"}
    settings = load_settings(Sources(environ=environ))
    assert settings.repository == RepositorySettings(directory=tmp_path, mode=RepositoryMode.NONE, poll_seconds=0.1)
    loader = Loader(settings=settings, **cast("Any", dict.fromkeys(("compute", "pipeline", "health", "metrics"))))
    looked, failures = asyncio.Event(), [OSError("stale file handle"), KeyError("a mistake of ours")]

    async def look(_: Loader) -> None:
        if failures:
            raise failures.pop(0)
        looked.set()

    monkeypatch.setattr(Loader, "look", look)
    following = asyncio.create_task(loader.follow())
    await asyncio.wait_for(looked.wait(), 10)
    following.cancel()
    assert [record.message for record in caplog.records] == ["repository_not_followed"] * 2


def test_a_model_may_have_its_own_number_of_units(tmp_path: Path) -> None:
    """Words are grouped as its own file says, and GetModel tells it; other models keep to the limits of the server."""
    directory = make_model("bert", tmp_path / "1")
    for told, expected in (("max_units = 5\n", 5), ("", 9)):
        (directory / "model.toml").write_text(told)
        spec = read_model(directory / "model.toml", name="reviews", revision="1")
        entry = prove(spec, LimitSettings(max_units=9))
        assert entry.card.max_units == expected
        model = load_spec(spec, LimitSettings(max_units=9))
        encoding = model.backend.encode(TextInput(text=TEXT))
        assert encoding.grouped
        assert len(encoding.units) <= expected
