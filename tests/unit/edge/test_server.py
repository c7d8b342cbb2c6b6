"""The gRPC door opens where it is told to, says who is ready, and closes without dropping calls."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import CollectorRegistry

from rollcall.edge.access.authenticate import Authenticator
from rollcall.edge.health import SERVICES, Health
from rollcall.edge.server import GrpcServer
from rollcall.settings import AuthSettings, GrpcSettings
from rollcall.telemetry.metrics import Metrics
from rollcall.v1 import common_pb2, explanation_pb2
from tests.unit.edge import samples
from tests.unit.edge.fakes import Door, FakeHouse, failure_of, open_door

TEXT = common_pb2.TextInput(text="a good film")
SERVICE, _ = SERVICES
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
NAMES = ("", *SERVICES, samples.MODEL)


async def check(door: Door, name: str) -> int:
    """Ask the health service about a name."""
    stub: Any = health_pb2_grpc.HealthStub(door.channel)
    status: int = (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status
    return status


async def test_health_follows_the_models() -> None:
    """The process takes calls at once; service and model serve once the model is ready."""
    async with open_door(FakeHouse()) as door:
        assert [await check(door, name) for name in NAMES] == [SERVING, *[NOT_SERVING] * 3]
        await door.health.mark(samples.MODEL, ready=True)
        assert [await check(door, name) for name in NAMES] == [SERVING] * 4
        await door.health.mark(samples.MODEL, ready=False)
        assert [await check(door, name) for name in NAMES] == [SERVING, *[NOT_SERVING] * 3]


async def test_the_service_waits_for_all_models() -> None:
    """With several models the service is ready only when each of them is."""
    health = Health(["a", "b"])
    await health.mark("a", ready=True)
    assert (health.ready, health.models) == (False, {"a": True, "b": False})
    await health.mark("b", ready=True)
    assert health.ready


async def test_unknown_names_are_not_found() -> None:
    """The health of what is not here is not known."""
    async with open_door(FakeHouse()) as door:
        assert (await failure_of(check(door, "nobody"))).code == "NOT_FOUND"


async def test_a_connection_grows_no_older_than_it_may() -> None:
    """Clients that stay connect again, perhaps to another process, and lose no call by it."""
    async with open_door(FakeHouse(), GrpcSettings(port=0, max_connection_seconds=0.1)) as door:
        await door.health.mark(samples.MODEL, ready=True)
        assert await check(door, SERVICE) == SERVING
        assert door.channel.get_state() is grpc.ChannelConnectivity.READY
        await asyncio.wait_for(door.channel.wait_for_state_change(grpc.ChannelConnectivity.READY), 20)
        assert await check(door, SERVICE) == SERVING


async def test_metadata_has_a_size_that_is_kept() -> None:
    """A token of the size that the setting allows always passes, one beyond it never does."""
    async with open_door(FakeHouse(), GrpcSettings(port=0, max_metadata_bytes=4096)) as door:
        stub: Any = health_pb2_grpc.HealthStub(door.channel)
        for _ in range(20):
            await stub.Check(health_pb2.HealthCheckRequest(), metadata=(("authorization", "x" * 3000),))
            call = stub.Check(health_pb2.HealthCheckRequest(), metadata=(("authorization", "x" * 4000),))
            assert (await failure_of(call)).code == "RESOURCE_EXHAUSTED"


async def test_connections_are_bounded() -> None:
    """Of more connections than are allowed the later ones are closed; those that are there go on."""
    async with AsyncExitStack() as opened:
        door = await opened.enter_async_context(open_door(FakeHouse(), GrpcSettings(port=0, max_connections=3)))
        codes = []
        own = (("grpc.use_local_subchannel_pool", 1),)
        for _ in range(5):
            channel = aio.insecure_channel(f"127.0.0.1:{door.port}", options=own)
            stub: Any = health_pb2_grpc.HealthStub(await opened.enter_async_context(channel))
            try:
                await stub.Check(health_pb2.HealthCheckRequest(), timeout=20)
                codes.append("OK")
            except aio.AioRpcError as error:
                codes.append(error.code().name)
        assert codes == ["OK"] * 3 + ["UNAVAILABLE"] * 2


async def test_draining_turns_away_and_finishes() -> None:
    """When draining, watchers hear of it first, calls in progress finish, and later calls find nobody."""
    house = FakeHouse(hangs=True)
    settings = GrpcSettings(port=0, drain_seconds=5, propagation_seconds=0.05)
    async with open_door(house, settings) as door:
        await door.health.mark(samples.MODEL, ready=True)
        stub: Any = health_pb2_grpc.HealthStub(door.channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        assert (await watch.read()).status == SERVING
        running = asyncio.ensure_future(door.stub.Explain(explanation_pb2.ExplainRequest(text=TEXT)))
        await house.entered.wait()
        draining = asyncio.ensure_future(door.server.drain(lambda: None))
        assert (await watch.read()).status == NOT_SERVING
        assert (door.health.ready, door.health.draining) == (False, True)
        assert await check(door, "") == NOT_SERVING
        watch.cancel()
        house.release.set()
        assert (await running).rows == 70
        await draining
        assert (await failure_of(door.stub.Explain(explanation_pb2.ExplainRequest(text=TEXT)))).code == "UNAVAILABLE"


async def test_readiness_does_not_come_back_while_draining() -> None:
    """A model that becomes ready during the drain does not attract calls."""
    health = Health(["a"])
    await health.drain()
    await health.mark("a", ready=True)
    assert (health.ready, health.models) == (False, {"a": False})


async def test_grace_ends() -> None:
    """A call that outlasts the grace is cancelled, and the server stops."""
    house = FakeHouse(hangs=True)
    async with open_door(house, GrpcSettings(port=0, drain_seconds=0.05)) as door:
        running = asyncio.ensure_future(failure_of(door.stub.Explain(explanation_pb2.ExplainRequest(text=TEXT))))
        await house.entered.wait()
        await door.server.drain(lambda: None)
        await asyncio.wait_for(house.cancelled.wait(), timeout=5)
        assert (await running).code == "UNAVAILABLE"


async def test_a_taken_port_is_reported() -> None:
    """Two servers do not silently share a port: the second one says which address it could not have."""
    async with open_door(FakeHouse()) as door:
        taken = GrpcSettings(port=door.port)
        second = GrpcServer(
            settings=taken,
            authenticator=Authenticator(AuthSettings()),
            port=FakeHouse(),
            health=Health([]),
            metrics=Metrics(CollectorRegistry(), models=[], default_model=None),
        )
        with pytest.raises(OSError, match=f"cannot listen for gRPC on 127.0.0.1:{door.port}; set another"):
            await second.start()


async def services(channel: aio.Channel) -> set[str]:
    """List the services by reflection."""
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    return {service.name for reply in [await call.read()] for service in reply.list_services_response.service}


async def test_reflection_is_a_setting() -> None:
    """The services are listed for tools only where the operator says so."""
    async with open_door(FakeHouse(), GrpcSettings(port=0, drain_seconds=0.2, reflection=True)) as door:
        assert {*SERVICES, "grpc.health.v1.Health"} <= await services(door.channel)
    async with open_door(FakeHouse()) as door:
        assert (await failure_of(services(door.channel))).code == "UNIMPLEMENTED"
