"""The gRPC door: built, bound, opened, and closed in order."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING

from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from rollcall.edge.audit_servicer import AuditServicer
from rollcall.edge.health import SERVICE
from rollcall.edge.interceptors import AUDIT_SERVICE, CallInterceptor
from rollcall.edge.servicer import ExplanationServicer
from rollcall.v1 import audit_service_pb2_grpc, explanation_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollcall.audit.replaying import Replayer
    from rollcall.edge.health import Health
    from rollcall.edge.port import ServicePort
    from rollcall.settings import GrpcSettings
    from rollcall.telemetry.metrics import Metrics

HEALTH_SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


class GrpcServer:
    """One port with ExplanationService, health, and reflection if the settings say so.

    `shared`: other processes of ours listen on the same port, and the kernel spreads connections over us.
    """

    def __init__(
        self, *, settings: GrpcSettings, port: ServicePort, health: Health, metrics: Metrics, shared: bool = False
    ) -> None:
        self._settings = settings
        self._health = health
        self._port = port
        options: tuple[tuple[str, int], ...] = (
            ("grpc.max_receive_message_length", settings.max_inbound_bytes),
            ("grpc.max_concurrent_streams", settings.max_concurrent_streams),
            (
                "grpc.so_reuseport",
                int(shared),
            ),  # a second server on the same port must fail, unless it is meant to share it
        )
        if settings.max_connection_seconds:
            age = int(settings.max_connection_seconds * 1000)
            options = (*options, ("grpc.max_connection_age_ms", max(1, age)))
        self._server = aio.server(interceptors=(CallInterceptor(metrics),), options=options)
        servicer = ExplanationServicer(port, metrics)
        explanation_service_pb2_grpc.add_ExplanationServiceServicer_to_server(servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(health.servicer, self._server)
        if settings.reflection:
            reflection.enable_server_reflection((SERVICE, HEALTH_SERVICE, reflection.SERVICE_NAME), self._server)

    def serve_records(self, replayer: Replayer) -> None:
        """Answer what is asked of the records, too; call before `start`."""
        audit_service_pb2_grpc.add_AuditServiceServicer_to_server(AuditServicer(replayer, self._port), self._server)
        if self._settings.reflection:
            names = (AUDIT_SERVICE.full_name, SERVICE, HEALTH_SERVICE, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)

    async def start(self) -> int:
        """Open the door; return the port. Raises OSError where the address cannot be had."""
        address = f"{self._settings.host}:{self._settings.port}"
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            message = f"cannot listen for gRPC on {address}; set another grpc.host or grpc.port"
            raise OSError(errno.EADDRNOTAVAIL, message) from error
        await self._health.publish()
        await self._server.start()
        return port

    async def drain(self, on_closing: Callable[[], None]) -> None:
        """Close the door: say "not ready", let load balancers notice, refuse new calls, let the others finish.

        `on_closing` is called when load balancers have had their time.
        """
        await self._health.drain()
        await asyncio.sleep(self._settings.propagation_seconds)
        on_closing()
        await self._server.stop(self._settings.drain_seconds)
