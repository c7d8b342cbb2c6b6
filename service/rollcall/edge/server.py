"""The gRPC door: built, bound, opened, and closed in order."""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import TYPE_CHECKING

from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from rollcall.edge.access.interceptor import AccessInterceptor
from rollcall.edge.audit_servicer import AuditServicer
from rollcall.edge.calls import AUDIT_SERVICE
from rollcall.edge.health import SERVICES
from rollcall.edge.inference import InferenceServicer
from rollcall.edge.interceptors import CallInterceptor
from rollcall.edge.servicer import ExplanationServicer
from rollcall.oip import open_inference_pb2_grpc
from rollcall.settings import is_loopback
from rollcall.telemetry import logs
from rollcall.telemetry.traces import OFF
from rollcall.v1 import audit_service_pb2_grpc, explanation_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from rollcall.audit.replaying import Replayer
    from rollcall.edge.access.authenticate import Authenticator
    from rollcall.edge.health import Health
    from rollcall.edge.port import ServicePort
    from rollcall.settings import GrpcSettings
    from rollcall.telemetry.metrics import Metrics
    from rollcall.telemetry.traces import Spans

_log = logging.getLogger("rollcall.edge")

HANDSHAKE_SECONDS = 10.0
"""For TLS and the first frames: who only opens connections does not keep them."""
HEALTH_SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


class GrpcServer:
    """One port with ExplanationService, the Open Inference Protocol, health, and reflection if the settings say so.

    Plain without `credentials`.

    `shared`: other processes of ours listen on the same port, and the kernel spreads connections over us.
    """

    def __init__(
        self,
        *,
        settings: GrpcSettings,
        authenticator: Authenticator,
        credentials: grpc.ServerCredentials | None = None,
        port: ServicePort,
        health: Health,
        metrics: Metrics,
        spans: Spans = OFF,
        shared: bool = False,
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._health = health
        self._port = port
        self._closing = asyncio.Event()
        self._server = aio.server(
            interceptors=(AccessInterceptor(authenticator, metrics), CallInterceptor(metrics, spans)),
            options=_options(settings, shared=shared),
        )
        servicer = ExplanationServicer(port, metrics, spans)
        explanation_service_pb2_grpc.add_ExplanationServiceServicer_to_server(servicer, self._server)
        open_inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(
            InferenceServicer(port, health, metrics), self._server
        )
        health_pb2_grpc.add_HealthServicer_to_server(health.servicer, self._server)
        self._services = [*SERVICES, HEALTH_SERVICE, reflection.SERVICE_NAME]

    def serve_records(self, replayer: Replayer) -> None:
        """Answer what is asked of the records, too; call before `start`."""
        servicer = AuditServicer(replayer, self._port, self._closing)
        audit_service_pb2_grpc.add_AuditServiceServicer_to_server(servicer, self._server)
        self._services.append(AUDIT_SERVICE.full_name)

    async def start(self) -> int:
        """Open the door; return the port. Raises OSError where the address cannot be had."""
        if self._settings.reflection:
            reflection.enable_server_reflection(self._services, self._server)
        address = f"{self._settings.host}:{self._settings.port}"
        try:
            if self._credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, self._credentials)
        except RuntimeError as error:
            message = f"cannot listen for gRPC on {address}; set another grpc.host or grpc.port"
            raise OSError(errno.EADDRNOTAVAIL, message) from error
        if self._credentials is None and not is_loopback(self._settings.host):
            logs.event(_log, logging.WARNING, "plain_text", host=self._settings.host)
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
        self._closing.set()
        await self._server.stop(self._settings.drain_seconds)


def _options(settings: GrpcSettings, *, shared: bool) -> list[tuple[str, int]]:
    """Channel arguments of gRPC, in bytes and milliseconds."""
    age = int(settings.max_connection_seconds * 1000)
    return [
        ("grpc.max_receive_message_length", settings.max_inbound_bytes),
        # With a soft limit below the hard one, what lies between is refused at random.
        ("grpc.max_metadata_size", settings.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", settings.max_metadata_bytes),
        ("grpc.max_concurrent_streams", settings.max_concurrent_streams),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        ("grpc.server_handshake_timeout_ms", int(HANDSHAKE_SECONDS * 1000)),
        # A second server on the same port must fail, unless it is meant to share it.
        ("grpc.so_reuseport", int(shared)),
        *([("grpc.max_connection_age_ms", max(1, age))] if settings.max_connection_seconds else []),
    ]
