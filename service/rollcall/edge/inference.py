"""The Open Inference Protocol over the same `ServicePort`: convert, ask the house item by item, convert back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

from rollcall import __version__
from rollcall.domain.errors import FieldViolation, InvalidInput, ModelNotFound
from rollcall.domain.identity import Role
from rollcall.edge.access.identity import current
from rollcall.edge.bounded import IN_FLIGHT, all_of
from rollcall.edge.converters import requests
from rollcall.edge.converters.oip import listings
from rollcall.edge.converters.oip.catalog import version as version_of
from rollcall.edge.converters.oip.options import timeout_seconds
from rollcall.edge.converters.oip.replies import infer_response
from rollcall.edge.converters.oip.requests import predict_message, read_batch, renamed
from rollcall.edge.servicer import deadline_of
from rollcall.edge.statistics import Statistics
from rollcall.oip import open_inference_pb2 as oip
from rollcall.oip import open_inference_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from grpc import aio

    from rollcall.domain.explanation import Explanation, Predicted
    from rollcall.domain.model import ModelCard
    from rollcall.edge.converters.oip.requests import Batch
    from rollcall.edge.health import Health
    from rollcall.edge.port import ServicePort
    from rollcall.telemetry.metrics import Metrics
    from rollcall.v1 import explanation_pb2

    Context = aio.ServicerContext[Any, Any]

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

EXTENSIONS = ("rollcall_explanations", "model_configuration", "statistics", "model_repository")
ONE_REPOSITORY = "must be empty: there is one repository"


class InferenceServicer(open_inference_pb2_grpc.GRPCInferenceServiceServicer):
    """The protocol's methods. Models are the same, and so are their answers."""

    def __init__(self, port: ServicePort, health: Health, metrics: Metrics) -> None:
        self._port = port
        self._health = health
        self._metrics = metrics
        self._statistics = Statistics()

    async def ServerLive(  # noqa: N802 - the proto's name
        self, request: oip.ServerLiveRequest, context: Context
    ) -> oip.ServerLiveResponse:
        """Whoever answers is live."""
        del request, context
        return oip.ServerLiveResponse(live=True)

    async def ServerReady(  # noqa: N802 - the proto's name
        self, request: oip.ServerReadyRequest, context: Context
    ) -> oip.ServerReadyResponse:
        """Whether every model takes requests."""
        del request, context
        return oip.ServerReadyResponse(ready=self._health.ready)

    async def ModelReady(  # noqa: N802 - the proto's name
        self, request: oip.ModelReadyRequest, context: Context
    ) -> oip.ModelReadyResponse:
        """Whether a model takes requests, in this version if one is named."""
        del context
        name = request.name or self._port.default_model or ""
        ready = self._health.models.get(name, False)
        if ready and request.version:
            ready = request.version == version_of(self._port.model(name).ref)
        return oip.ModelReadyResponse(ready=ready)

    async def ServerMetadata(  # noqa: N802 - the proto's name
        self, request: oip.ServerMetadataRequest, context: Context
    ) -> oip.ServerMetadataResponse:
        """Say what this is."""
        del request, context
        return oip.ServerMetadataResponse(name="rollcall", version=__version__, extensions=EXTENSIONS)

    async def ModelMetadata(  # noqa: N802 - the proto's name
        self, request: oip.ModelMetadataRequest, context: Context
    ) -> oip.ModelMetadataResponse:
        """List a model's tensors."""
        del context
        return listings.metadata(self._card(request.name, request.version))

    async def ModelConfig(  # noqa: N802 - the proto's name
        self, request: oip.ModelConfigRequest, context: Context
    ) -> oip.ModelConfigResponse:
        """List the same as a configuration."""
        del context
        return listings.config(self._card(request.name, request.version))

    async def ModelStatistics(  # noqa: N802 - the proto's name
        self, request: oip.ModelStatisticsRequest, context: Context
    ) -> oip.ModelStatisticsResponse:
        """Tell what ModelInfer answered."""
        del context
        cards = [self._card(request.name, request.version)] if request.name else self._port.models()
        tallies = self._statistics.tallies
        return oip.ModelStatisticsResponse(
            model_stats=[listings.statistics(card.ref, tallies[card.ref.name]) for card in cards]
        )

    async def RepositoryIndex(  # noqa: N802 - the proto's name
        self, request: oip.RepositoryIndexRequest, context: Context
    ) -> oip.RepositoryIndexResponse:
        """List the models, and what else the repository holds; what revisions failed with is for admins."""
        del context
        if request.repository_name:
            raise InvalidInput.of("repository_name", ONE_REPOSITORY)
        unserved = () if request.ready else await self._port.unserved()
        return listings.index(
            self._port.models(),
            self._health.models,
            unserved,
            ready_only=request.ready,
            in_detail=Role.ADMIN in current().roles,
        )

    async def RepositoryModelLoad(  # noqa: N802 - the proto's name
        self, request: oip.RepositoryModelLoadRequest, context: Context
    ) -> oip.RepositoryModelLoadResponse:
        """Serve a model of the repository: the newest revision, or the one of the parameter `revision`."""
        del context
        revision = _repository_request(request, "revision").get("revision", "")
        await self._port.load_model(request.model_name, revision)
        return oip.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(  # noqa: N802 - the proto's name
        self, request: oip.RepositoryModelUnloadRequest, context: Context
    ) -> oip.RepositoryModelUnloadResponse:
        """Take no further requests for a model of the repository."""
        del context
        _repository_request(request, "unload_dependents")
        await self._port.unload_model(request.model_name)
        return oip.RepositoryModelUnloadResponse()

    async def ModelInfer(  # noqa: N802 - the proto's name
        self, request: oip.ModelInferRequest, context: Context
    ) -> oip.ModelInferResponse:
        """Predict a batch, and explain it where that is asked for."""
        card = self._card(request.model_name, request.model_version)
        batch = read_batch(request, self._port.limits(), revision=card.ref.revision)
        deadline = _sooner(deadline_of(context), timeout_seconds(request.parameters))
        with self._statistics.counting(card.ref.name, len(batch.items)):
            answers = await self._answer(batch, deadline)
            started = time.perf_counter()
            reply = infer_response(batch, answers, request_id=request.id)
            self._metrics.stage(card.ref.name, "serialize", time.perf_counter() - started)
        return reply

    async def _answer(self, batch: Batch, deadline: float | None) -> list[Explanation] | list[Predicted]:
        """Read all items, then answer each through the calls that a native request takes."""
        port = self._port
        told: Any = {"limits": port.limits(), "deadline": deadline, "caller": current()}
        if batch.explained:
            explaining = _each(batch, lambda item: requests.explain_request(item, **told))
            return await all_of([_named(i, port.explain, one) for i, one in enumerate(explaining)], most=IN_FLIGHT)
        predicting = _each(batch, lambda item: requests.predict_request(predict_message(item), **told))
        return await all_of([_named(i, port.predict, one) for i, one in enumerate(predicting)], most=IN_FLIGHT)

    def _card(self, name: str, version: str) -> ModelCard:
        card = self._port.model(name)
        serving = version_of(card.ref)
        if version and version != serving:
            raise ModelNotFound(card.ref.name, f"model {card.ref.name} is serving version {serving}")
        return card


def _each(batch: Batch, read: Callable[[explanation_pb2.ExplainRequest], Asked]) -> list[Asked]:
    """Read every item. Raises InvalidInput with everything that is wrong, each with its item."""
    violations: list[FieldViolation] = []
    asked: list[Asked] = []
    for i, item in enumerate(batch.items):
        try:
            asked.append(read(item))
        except InvalidInput as error:
            violations += [each for each in renamed(error, i).violations if each not in violations]
    if violations:
        raise InvalidInput(*violations[: requests.MAX_VIOLATIONS])
    return asked


def _named(item: int, answer: Callable[[Asked], Awaitable[Answer]], asked: Asked) -> Callable[[], Awaitable[Answer]]:
    """An item's work, whose refusal names the item."""

    async def begin() -> Answer:
        try:
            return await answer(asked)
        except InvalidInput as error:
            raise renamed(error, item) from error

    return begin


def _sooner(deadline: float | None, seconds: float | None) -> float | None:
    """Which comes first, the call's deadline (of time.monotonic()) or so many seconds from now."""
    own = None if seconds is None else time.monotonic() + seconds
    return min((each for each in (deadline, own) if each is not None), default=None)


def _repository_request(
    request: oip.RepositoryModelLoadRequest | oip.RepositoryModelUnloadRequest, *known: str
) -> dict[str, str]:
    """Read the parameters of a request to the repository, those that are text. Raises InvalidInput."""
    violations = [
        FieldViolation(field=f"parameters[{name}]", description="is not offered here")
        for name in request.parameters
        if name not in known
    ]
    if request.repository_name:
        violations.append(FieldViolation(field="repository_name", description=ONE_REPOSITORY))
    if not request.model_name:
        violations.append(FieldViolation(field="model_name", description="is required"))
    if violations:
        raise InvalidInput(*violations)
    return {name: parameter.string_param for name, parameter in request.parameters.items()}
