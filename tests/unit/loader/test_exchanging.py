"""Following a repository: what one look meets, the next one does not inherit."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from rollcall.domain.errors import ModelRejected
from rollcall.loader import Loader
from rollcall.pipeline.leases import Leases
from rollcall.settings import ModelSpec, RepositoryMode, RepositorySettings, Sources, load_settings


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


@dataclass
class Compute:
    """Holds models by key; refuses to load some for want of memory."""

    too_large: frozenset[str] = frozenset()
    tried: list[str] = field(default_factory=list)
    engine: Any = field(default_factory=lambda: SimpleNamespace(models={}))

    async def load(self, key: str, _: object) -> object:
        """Fail as torch does, or refuse as the loader does."""
        self.tried.append(key)
        if key in self.too_large:
            message = "out of memory"
            raise torch.OutOfMemoryError(message)
        raise ModelRejected(key)

    async def unload(self, key: str) -> None:
        """Forget."""
        del self.engine.models[key]


def loading(directory: Path, compute: Compute) -> Loader:
    """A loader of a repository, with nothing of a server but what it loads into."""
    settings = load_settings(Sources(environ={"ROLLCALL_REPOSITORY_DIRECTORY": str(directory)}))
    entries: dict[str, Any] = {}
    pipeline = SimpleNamespace(
        catalog=SimpleNamespace(entries=entries), leases=Leases(), watch=None, remove_model=entries.pop
    )

    async def nothing(*_: object, **__: object) -> None:
        pass

    telemetry = SimpleNamespace(repository_rejects=lambda _: None, model_gone=lambda _: None)
    health = SimpleNamespace(remove=nothing)
    return Loader(
        settings=settings,
        **cast("Any", {"compute": compute, "pipeline": pipeline, "health": health, "metrics": telemetry}),
    )


async def test_a_revision_without_room_keeps_no_other_model_from_being_tried(tmp_path: Path) -> None:
    """It is not built again with every look, and forgotten when it is taken away."""
    for name in ("a/1", "a/2", "b/1"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "model.toml").write_text("")
    compute = Compute(too_large=frozenset({"a@2"}))
    loader = loading(tmp_path, compute)
    await loader.look()
    await loader.look()
    await loader.look()
    assert compute.tried == ["a@2", "b@1", "a@1"]
    (tmp_path / "a" / "2" / "model.toml").unlink()
    await loader.look()
    assert set(loader.rejected) == {"a@1", "b@1"}


async def test_who_gives_up_loading_a_model_that_is_leaving_keeps_nobody_from_it(tmp_path: Path) -> None:
    """It leaves when its last request has ended, and may then be loaded again."""
    compute = Compute()
    loader = loading(tmp_path, compute)
    spec = ModelSpec(name="m", path=tmp_path, revision="1")
    ref = SimpleNamespace(name="m", revision="1", key=spec.key)
    cast("Any", loader.pipeline.catalog.entries)["m"] = SimpleNamespace(card=SimpleNamespace(ref=ref))
    compute.engine.models[spec.key] = object()
    with loader.pipeline.leases.holding(spec.key):
        await loader.unload("m")
        asking = asyncio.create_task(loader.load(spec))
        await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    await asyncio.wait_for(asyncio.gather(*loader._leaving.values()), 10)
    assert (compute.engine.models, loader._leaving) == ({}, {})
    with pytest.raises(ModelRejected):
        await loader.load(spec)
    assert compute.tried == [spec.key]
