"""Who may send requests here: readiness of the process and of each model, for grpc.health.v1 and for /readyz.

The empty name says that the process takes connections, a service's name that every configured model is ready, and a
model's name that this model is. When draining starts, all of them turn NOT_SERVING for good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpc_health.v1 import health, health_pb2

from rollcall.oip import open_inference_pb2
from rollcall.v1 import explanation_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

EVERYTHING = ""
SERVICES = (
    explanation_service_pb2.DESCRIPTOR.services_by_name["ExplanationService"].full_name,
    open_inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name,
)

_STATUS = {
    True: health_pb2.HealthCheckResponse.SERVING,
    False: health_pb2.HealthCheckResponse.NOT_SERVING,
}


class Health:
    """Readiness of the configured models. None is ready at first."""

    def __init__(self, models: Iterable[str]) -> None:
        self.servicer = health.aio.HealthServicer()  # type: ignore[attr-defined] # the stubs lack the aio half
        self._models = dict.fromkeys(sorted(models), False)
        self._draining = False

    @property
    def models(self) -> Mapping[str, bool]:
        """Each configured model, and whether it takes requests."""
        return {name: ready and not self._draining for name, ready in self._models.items()}

    @property
    def draining(self) -> bool:
        """Whether the server has begun to stop."""
        return self._draining

    @property
    def ready(self) -> bool:
        """Whether requests should be sent here: every model is ready, and the server is not stopping."""
        return all(self.models.values()) and not self._draining

    async def publish(self) -> None:
        """Tell watchers of the initial state; call once, before the server starts."""
        await self._set(EVERYTHING, serving=True)
        await self._set_services()
        for name, ready in self._models.items():
            await self._set(name, serving=ready)

    async def mark(self, model: str, *, ready: bool) -> None:
        """Set whether a configured model takes requests."""
        self._models[model] = ready
        await self._set(model, serving=ready)
        await self._set_services()

    async def remove(self, model: str) -> None:
        """Forget a model that is not served any more."""
        self._models.pop(model, None)
        await self._set(model, serving=False)
        await self._set_services()

    async def drain(self) -> None:
        """Turn everything NOT_SERVING, for good."""
        self._draining = True
        await self.servicer.enter_graceful_shutdown()

    async def _set_services(self) -> None:
        for service in SERVICES:
            await self._set(service, serving=self.ready)

    async def _set(self, name: str, *, serving: bool) -> None:
        await self.servicer.set(name, _STATUS[serving])
