"""Loads models, exchanges them for other revisions and takes them away, while others are being served.

A model serves once it has been loaded, proved and warmed up, and its calibration fits. What it replaces takes no
further requests, and goes when the last one that began with it has ended. What cannot be loaded changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from rollcall.domain.errors import DeviceLost, ModelNotFound, ModelRejected, RollcallError
from rollcall.domain.model import Unserved
from rollcall.edge.health import Health
from rollcall.engine.dispatch import Dispatcher
from rollcall.loader.entries import load_spec, make_entry, refusing
from rollcall.models.loading import LoadedModel
from rollcall.models.repository import Contents, bytes_of, read_repository
from rollcall.pipeline.catalog import Entry
from rollcall.pipeline.explain import Pipeline
from rollcall.settings import MODEL_FILE, ModelSpec, Settings
from rollcall.telemetry import logs
from rollcall.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)

MOST_SAID = 400
"""Characters of a problem that whoever asks for the index is told; the log has all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why a revision could not be loaded, and when its `model.toml` had been written (ns)."""

    written: int
    problem: str


@dataclass(slots=True, kw_only=True)
class Loader:
    """The models of one process, one change at a time. `device`: where all run, whatever a model's own settings say.

    `serves` hears of each model before its first request.
    """

    settings: Settings
    compute: Dispatcher
    pipeline: Pipeline
    health: Health
    metrics: Metrics
    device: str | None = None
    serves: Callable[[ModelSpec], None] = lambda _: None
    rejected: dict[str, Rejection] = field(default_factory=dict)
    """Revisions that could not be loaded, by key: those that are followed are tried again if touched."""
    _told: frozenset[object] = frozenset()
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _leaving: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _places: dict[str, Path] = field(default_factory=dict)
    """Where the models that take memory came from, by key."""

    async def start(self) -> None:
        """Load the models of the settings, and the newest of each in the repository that can be. Raises ModelRejected.

        A model of the settings must be what they say. Of the repository an older revision serves where the newest
        cannot, as it would if the newest had come later; only where none can the start fails.
        """
        for spec in self.settings.models:
            await self.load(spec)
        if self.settings.repository.directory is None:
            return
        contents = await self._contents()
        for name, revisions in sorted(contents.revisions.items()):
            if name in self._configured:
                continue
            for spec in reversed(revisions):
                if await self._tried(spec):
                    break
            else:
                message = f"model {name}: none of its revisions in the repository can be loaded"
                raise ModelRejected(message)

    async def follow(self) -> None:
        """Look at the repository again and again, for ever; what goes wrong is logged."""
        while True:
            await asyncio.sleep(self.settings.repository.poll_seconds)
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - whatever went wrong in one look, the next may find it mended
                logs.event(_log, logging.ERROR, "repository_not_followed", error=error)

    async def look(self) -> None:
        """Serve the newest revision of each model that has not been rejected, and no model that has gone.

        Raises OSError.
        """
        contents = await self._contents()
        there = {spec.key for specs in contents.revisions.values() for spec in specs}
        self.rejected = {key: written for key, written in self.rejected.items() if key in there}
        self.metrics.repository_rejects(len(self.rejected))
        for name, revisions in contents.revisions.items():
            usable = [spec for spec in revisions if not self._problem(spec)]
            if usable and name not in self._configured and self._is_news(usable[-1], contents):
                await self._tried(usable[-1])
        directory = self.settings.repository.directory
        assert directory is not None
        for name in set(self.pipeline.catalog.entries) - self._configured:
            if not (directory / name).is_dir():
                await self.unload(name)

    async def load(self, spec: ModelSpec) -> None:
        """Serve a model. Raises ModelRejected, and RollcallError where it fails on the device; then nothing changes."""
        async with self._changing:
            if spec.key in self._leaving:  # it comes back before it has gone
                await asyncio.shield(self._leaving[spec.key])  # who asks may leave; what goes away goes on
            before = self.pipeline.catalog.entries.get(spec.name)
            if before is None or before.card.ref.key != spec.key:
                await self._load(spec, before)

    async def load_named(self, name: str, revision: str = "") -> None:
        """Serve a model of the repository, the newest revision if none is named.

        Raises ModelNotFound, and what `load` raises.
        """
        spec = (await self._contents()).find(name, revision)
        if spec is None or name in self._configured:
            raise ModelNotFound(name, "the repository has no such model, or no such revision that can be read")
        await self._load_noting(spec)

    async def unload(self, name: str) -> None:
        """Take no further requests for a model of the repository, and give back its memory. Raises ModelNotFound."""
        async with self._changing:
            entry = self.pipeline.catalog.entries.get(name)
            if entry is None or name in self._configured:
                raise ModelNotFound(name, "no such model of the repository is served")
            self.pipeline.remove_model(name)
            await self.health.remove(name)
            self.metrics.model_gone(name)
            self._leave(entry)
            logs.event(_log, logging.INFO, "model_unloaded", model=name, revision=entry.card.ref.revision)

    async def unserved(self) -> tuple[Unserved, ...]:
        """List the revisions of the repository that are not served, by name, oldest first. Raises OSError."""
        entries = self.pipeline.catalog.entries
        serving = {entry.card.ref.key for entry in entries.values()}
        return tuple(
            Unserved(name=name, revision=spec.revision, problem=self._problem(spec))
            for name, specs in sorted((await self._contents()).revisions.items())
            for spec in specs
            if spec.key not in serving and name not in self._configured
        )

    async def lost(self) -> None:
        """Say that nothing can be served any more: the device is lost."""
        for name in self.health.models:
            self.metrics.model_ready(name, ready=False)
            await self.health.mark(name, ready=False)

    @property
    def _configured(self) -> frozenset[str]:
        """Models of the settings; the repository's of the same name are not looked at."""
        return frozenset(spec.name for spec in self.settings.models)

    def _is_news(self, spec: ModelSpec, contents: Contents) -> bool:
        """Whether a revision is to be tried: not the one that serves, nor in place of one that is there unreadable."""
        serving = self.pipeline.catalog.entries.get(spec.name)
        if serving is None:
            return True
        own = spec.path.parent / serving.card.ref.revision
        known = contents.find(spec.name, serving.card.ref.revision)
        return spec.revision != serving.card.ref.revision and (known is not None or not own.is_dir())

    async def _tried(self, spec: ModelSpec) -> bool:
        """Load one of the repository; whether it serves."""
        try:
            await self._load_noting(spec)
        except DeviceLost:
            raise
        except (RollcallError, OSError):
            return False
        return True

    async def _load_noting(self, spec: ModelSpec) -> None:
        """Load one of the repository, and note how that went. Raises what `load` raises, and OSError."""
        written = _written(spec)
        try:
            await self.load(spec)
        except DeviceLost:
            raise
        except (RollcallError, OSError) as error:
            self.rejected[spec.key] = Rejection(written=written, problem=str(error))
            problem = str(error)
            logs.event(_log, logging.ERROR, "model_rejected", model=spec.name, revision=spec.revision, problem=problem)
            raise
        else:
            self.rejected.pop(spec.key, None)
        finally:
            self.metrics.repository_rejects(len(self.rejected))

    def _problem(self, spec: ModelSpec) -> str:
        """Why a revision, as it is now, could not be loaded, with places in the repository; empty where it was not."""
        rejection = self.rejected.get(spec.key)
        if rejection is None or rejection.written != _written(spec):
            return ""
        return rejection.problem.replace(f"{spec.path.parent.parent}/", "")[:MOST_SAID]

    async def _contents(self) -> Contents:
        directory = self.settings.repository.directory
        if directory is None:
            return Contents(revisions={}, mistakes=())
        contents = await asyncio.to_thread(read_repository, directory)
        for mistake in contents.mistakes:
            if mistake not in self._told:
                logs.event(_log, logging.ERROR, "repository_mistake", place=mistake.place, problem=mistake.problem)
        self._told = frozenset(contents.mistakes)
        return contents

    async def _load(self, spec: ModelSpec, before: Entry | None) -> None:
        started = time.perf_counter()
        spec = replace(spec, device=self.device or spec.device)
        await asyncio.to_thread(self._check_room, spec)
        load = partial(load_spec, spec, self.settings.limits)
        async with AsyncExitStack() as failing:
            failing.push_async_callback(self._forget, spec.key)
            self._places[spec.key] = spec.path
            with refusing(spec):
                model = await self.compute.load(spec.key, load)
            entry = make_entry(spec, model, self.settings.limits)
            failing.pop_all()
        self.serves(spec)
        self.pipeline.add_model(entry)
        if self.pipeline.watch is not None:
            self.pipeline.watch.serve(entry.card)
        self.metrics.model_loaded(entry.card, time.perf_counter() - started)
        await self.health.mark(spec.name, ready=True)
        if before is not None:
            self._leave(before)
        self._tell(spec, entry, model)

    def _tell(self, spec: ModelSpec, entry: Entry, model: LoadedModel) -> None:
        logs.event(
            _log,
            logging.INFO if entry.card.explainable else logging.WARNING,
            "model_loaded",
            model=spec.name,
            revision=spec.revision,
            digest=model.digest,
            explainable=entry.card.explainable,
            failed_self_tests=list(model.failed),
            calibration=entry.card.calibration.id,
        )
        bounds = self.compute.bounds(spec.key)
        level = logging.WARNING if bounds.tight else logging.INFO
        logs.event(_log, level, "memory_measured", model=spec.name, tight=bounds.tight, **asdict(bounds))

    def _check_room(self, spec: ModelSpec) -> None:
        """Raise ModelRejected where its files would be more than may be loaded at a time."""
        most = self.settings.repository.max_bytes
        if most is None:
            return
        needed, taken = bytes_of(spec.path), sum(bytes_of(place) for place in self._places.values())
        if needed + taken > most:
            message = (
                f"{spec.path} has {needed} bytes, and {', '.join(sorted(self._places)) or 'nothing'} with {taken} is "
                f"loaded: more than repository.max_bytes, which is {most}"
            )
            raise ModelRejected(message)

    def _leave(self, entry: Entry) -> None:
        """Give back a model's memory when the last request that began with it has ended."""
        key = entry.card.ref.key

        async def leave() -> None:
            try:
                await self.pipeline.leases.idle(key)
                await self._forget(key)
            finally:
                del self._leaving[key]
            logs.event(_log, logging.INFO, "model_freed", model=entry.card.ref.name, revision=entry.card.ref.revision)

        self._leaving[key] = asyncio.create_task(leave())

    async def _forget(self, key: str) -> None:
        self._places.pop(key, None)
        if key in self.compute.engine.models:
            await self.compute.unload(key)


def _written(spec: ModelSpec) -> int:
    """When a revision's `model.toml` was written (ns); 0 where it has gone."""
    file = spec.path / MODEL_FILE
    return file.stat().st_mtime_ns if file.is_file() else 0
