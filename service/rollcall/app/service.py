"""What the edge serves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from rollcall.app.parts import server_defaults
from rollcall.domain.errors import ModelRejected, Unsupported
from rollcall.domain.explanation import ExplainRequest, Explanation, Predicted, PredictRequest
from rollcall.domain.model import ModelCard, Unserved
from rollcall.edge.port import Limits
from rollcall.loader import Loader
from rollcall.monitor.record import ModelRecord
from rollcall.pipeline.explain import Pipeline
from rollcall.pipeline.progress import Tell
from rollcall.pipeline.watching import Watch
from rollcall.settings import RepositoryMode, Settings, reread
from rollcall.telemetry import logs

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Service:
    """What the edge serves: the pipeline under the settings in force. Implements `rollcall.edge.port.ServicePort`."""

    settings: Settings
    read: Callable[[], Settings]
    """Reads them again; raises SettingsError."""
    pipeline: Pipeline
    watch: Watch
    loader: Loader

    @property
    def default_model(self) -> str | None:
        """Name of the model for requests without one."""
        return self.pipeline.default_model

    async def predict(self, request: PredictRequest) -> Predicted:
        """Classify."""
        return await self.pipeline.predict(request)

    async def explain(self, request: ExplainRequest, tell: Tell | None = None) -> Explanation:
        """Classify, map, check and decide; `tell` hears how far it is."""
        return await self.pipeline.explain(request, tell)

    def models(self) -> tuple[ModelCard, ...]:
        """List the models that are loaded."""
        return self.pipeline.models()

    def model(self, name: str) -> ModelCard:
        """Find one model."""
        return self.pipeline.model(name)

    async def load_model(self, name: str, revision: str) -> None:
        """Serve a model of the repository, where admins may."""
        self._check_explicit()
        try:
            await self.loader.load_named(name, revision)
        except ModelRejected as error:
            raise Unsupported("model", str(error)) from error

    async def unload_model(self, name: str) -> None:
        """Take no further requests for a model of the repository, where admins may."""
        self._check_explicit()
        await self.loader.unload(name)

    async def unserved(self) -> tuple[Unserved, ...]:
        """List what the repository holds and nobody is served from."""
        return await self.loader.unserved()

    def _check_explicit(self) -> None:
        if self.settings.repository.mode is not RepositoryMode.EXPLICIT:
            message = "models are loaded as the settings say: repository.mode is not explicit"
            raise Unsupported("repository", message)

    def record(self, name: str) -> ModelRecord | None:
        """Tell what a model's answers came to so far."""
        return self.watch.record(name)

    def limits(self) -> Limits:
        """Tell what is in force now."""
        limits = self.settings.limits
        return Limits(
            max_characters=limits.max_characters,
            max_rows=limits.max_rows,
            max_attention_bytes=limits.max_attention_bytes,
            max_attention_streams=limits.max_attention_streams,
        )

    def reload(self) -> bool:
        """Read the settings again and take over what may change; nothing, and False, if they are wrong."""
        reloaded = reread(self.settings, self.read)
        for mistake in reloaded.mistakes:
            logs.event(_log, logging.ERROR, "settings_rejected", place=mistake.place, problem=mistake.problem)
        if reloaded.mistakes:
            return False
        self.settings = reloaded.settings
        self.pipeline.defaults = server_defaults(self.settings)
        self.pipeline.gate.share = self.settings.live.share
        self.watch.sampler.share = self.settings.live.recheck_share
        logs.event(
            _log,
            logging.INFO,
            "settings_read_again",
            changed=list(reloaded.changed),
            needs_restart=list(reloaded.needs_restart),
        )
        return True
