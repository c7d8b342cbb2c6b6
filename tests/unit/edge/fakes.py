"""A house behind the door that answers as told, and a door that is open on a loopback port."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from google.rpc import error_details_pb2, status_pb2
from grpc import aio
from prometheus_client import CollectorRegistry

from rollcall.domain.errors import ModelNotFound
from rollcall.domain.model import ModelCard, Unserved
from rollcall.edge.access.authenticate import Authenticator
from rollcall.edge.health import Health
from rollcall.edge.port import Limits
from rollcall.edge.server import GrpcServer
from rollcall.edge.status import DETAILS_KEY
from rollcall.edge.tls import server_credentials
from rollcall.oip import open_inference_pb2_grpc
from rollcall.settings import AuthSettings, GrpcSettings, TlsSettings
from rollcall.telemetry.metrics import SERVICES, Metrics, grpc_type
from rollcall.telemetry.traces import OFF
from rollcall.v1 import explanation_service_pb2_grpc
from tests.unit.edge import samples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from google.protobuf.message import Message

    from rollcall.audit.replaying import Replayer
    from rollcall.domain.explanation import ExplainRequest, Explanation, Predicted, PredictRequest, Progress
    from rollcall.monitor.record import ModelRecord
    from rollcall.oip.open_inference_pb2_grpc import GRPCInferenceServiceAsyncStub
    from rollcall.telemetry.traces import Spans
    from rollcall.v1.explanation_service_pb2_grpc import ExplanationServiceAsyncStub

LIMITS = Limits(max_characters=100_000, max_rows=4096, max_attention_bytes=2**28, max_attention_streams=2)


@dataclass(kw_only=True)
class FakeHouse:
    """Implements `ServicePort`: raises `error` if there is one, waits for `release` if `hangs`, else answers."""

    error: Exception | None = None
    hangs: bool = False
    asked: list[PredictRequest] = field(default_factory=list)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    explanation: Explanation | None = None
    loaded: list[tuple[str, str | None]] = field(default_factory=list)
    """Models that were to be loaded, with the revision, or unloaded, with None."""
    progress: list[Progress] = field(default_factory=list)

    @property
    def default_model(self) -> str | None:
        """Name the only model."""
        return samples.MODEL

    async def predict(self, request: PredictRequest) -> Predicted:
        """Answer with the sample."""
        await self._serve(request)
        return samples.predicted(request.request_id)

    async def explain(self, request: ExplainRequest, tell: Callable[[Progress], None] | None = None) -> Explanation:
        """Answer with the sample, after telling all progress there is; with its attention where that is asked for."""
        for progress in self.progress if tell is not None else ():
            tell(progress)  # type: ignore[misc] # it is there
            await asyncio.sleep(0)
        await self._serve(request)
        answer = self.explanation or samples.explanation(request.request_id)
        return answer if request.attention else replace(answer, attention=None)

    def models(self) -> tuple[ModelCard, ...]:
        """List the only model."""
        return (samples.card(),)

    def model(self, name: str) -> ModelCard:
        """Find the only model."""
        if name not in {"", samples.MODEL}:
            raise ModelNotFound(name, "no such model")
        return samples.card()

    async def load_model(self, name: str, revision: str) -> None:
        """Remember."""
        self.loaded.append((name, revision))
        if self.error is not None:
            raise self.error

    async def unload_model(self, name: str) -> None:
        """Remember."""
        self.loaded.append((name, None))

    async def unserved(self) -> tuple[Unserved, ...]:
        """Two, of which one could not be loaded."""
        return (
            Unserved(name=samples.MODEL, revision="0"),
            Unserved(name="another", revision="7", problem="it holds no .safetensors file"),
        )

    def record(self, name: str) -> ModelRecord | None:
        """Tell the sample."""
        return samples.record() if name == samples.MODEL else None

    def limits(self) -> Limits:
        """Tell the usual limits."""
        return LIMITS

    async def _serve(self, request: PredictRequest) -> None:
        self.asked.append(request)
        self.entered.set()
        if self.error is not None:
            raise self.error
        if self.hangs:
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise


@dataclass(frozen=True, kw_only=True)
class Door:
    """An open gRPC port with a channel to it."""

    house: FakeHouse
    server: GrpcServer
    port: int
    health: Health
    registry: CollectorRegistry
    channel: aio.Channel
    stub: ExplanationServiceAsyncStub
    inference: GRPCInferenceServiceAsyncStub

    def sample(self, name: str, **labels: str) -> float:
        """Read a metric; 0 where there is none."""
        return self.registry.get_sample_value(name, labels) or 0.0

    def handled(self, method: str, code: str) -> float:
        """Read how many calls ended with a code, by grpc-prometheus name."""
        labels = {"grpc_type": grpc_type(method), "grpc_service": SERVICES[method], "grpc_method": method}
        return self.sample("grpc_server_handled_total", **labels, grpc_code=code)


@asynccontextmanager
async def open_door(
    house: FakeHouse,
    settings: GrpcSettings | None = None,
    auth: AuthSettings | None = None,
    tls: TlsSettings | None = None,
    replayer: Replayer | None = None,
    spans: Spans = OFF,
) -> AsyncIterator[Door]:
    """Serve the house on a free port for the length of a `with` block. With TLS, the door's own channel is no use."""
    registry = CollectorRegistry()
    metrics = Metrics(registry, models=[samples.MODEL], default_model=samples.MODEL, trace_id=spans.trace_id)
    health = Health([samples.MODEL])
    server = GrpcServer(
        settings=settings or GrpcSettings(port=0, drain_seconds=0.2),
        authenticator=Authenticator(auth or AuthSettings()),
        credentials=server_credentials(tls or TlsSettings()),
        port=house,
        health=health,
        metrics=metrics,
        spans=spans,
    )
    if replayer is not None:
        server.serve_records(replayer)
    port = await server.start()
    try:
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub: Any = explanation_service_pb2_grpc.ExplanationServiceStub(channel)
            inference: Any = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
            yield Door(
                house=house,
                server=server,
                port=port,
                health=health,
                registry=registry,
                channel=channel,
                stub=stub,
                inference=inference,
            )
    finally:
        await server.drain(lambda: None)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A failed call as a client sees it."""

    code: str
    message: str
    status: status_pb2.Status
    request_id: str
    size: int

    def detail(self, kind: type[Any]) -> Any:  # noqa: ANN401 - the fields of a message made from its descriptor
        """Unpack the one detail of a kind."""
        message: Message = kind()
        (unpacked,) = (detail for detail in self.status.details if detail.Unpack(message))
        assert unpacked.ByteSize() > 0
        return message

    @property
    def fields(self) -> dict[str, str]:
        """Field violations by path."""
        bad = self.detail(error_details_pb2.BadRequest)
        return {violation.field: violation.description for violation in bad.field_violations}


async def failure_of(call: Awaitable[object]) -> Failure:
    """Await a call that must fail."""
    try:
        await call
    except aio.AioRpcError as error:
        pairs: Any = error.trailing_metadata() or ()
        trailers: dict[str, Any] = dict(pairs)
        return Failure(
            code=error.code().name,
            message=error.details() or "",
            status=status_pb2.Status.FromString(trailers.get(DETAILS_KEY, b"")),
            request_id=str(trailers.get("x-request-id", "")),
            size=len(trailers.get(DETAILS_KEY, b"")),
        )
    message = "the call succeeded"
    raise AssertionError(message)
