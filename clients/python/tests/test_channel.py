"""What callers may put between themselves and the service: interceptors, balancing, options of gRPC."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest

import canned
from fake_service import Failure, FakeService, Stream
from rollcall_client import AsyncClient, Client, RollcallError
from rollcall_client._v1 import explanation_service_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = 12
STREAMED = Stream(messages=(explanation_service_pb2.ExplainStreamResponse(header=canned.explain_reply()),))


class Noting(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):  # type: ignore[type-arg]  # in stubs
    """Notes the method of each try, and signs it."""

    def __init__(self) -> None:
        """Nothing is noted yet."""
        self.seen: list[str] = []

    def _sign(self, continuation: Callable[[Any, Any], Any], details: Any, request: Any) -> Any:  # noqa: ANN401 - grpc's
        self.seen.append(details.method.rpartition("/")[2])
        signed = details._replace(metadata=(*details.metadata, ("x-signed", "yes")))
        return continuation(signed, request)

    intercept_unary_unary = intercept_unary_stream = _sign  # type: ignore[assignment]  # one for both


class NotingLater(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[type-arg]  # in stubs
    """The same for asyncio."""

    def __init__(self) -> None:
        """Nothing is noted yet."""
        self.seen: list[str] = []

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:  # noqa: ANN401 - grpc's
        """Note and sign."""
        self.seen.append(details.method.decode().rpartition("/")[2])
        details.metadata.add("x-signed", "yes")
        return await continuation(details, request)


def test_every_try_passes_through_the_interceptors() -> None:
    """Unary calls and streams, and each retry."""
    busy = Failure(code=grpc.StatusCode.UNAVAILABLE)
    noting = Noting()
    with FakeService.serving(busy, canned.predict_reply(), STREAMED) as service:
        with Client(service.target, interceptors=[noting], sleep=lambda _: None) as client:
            client.predict("a")
            client.explain_stream("a")
        assert noting.seen == ["Predict", "Predict", "ExplainStream"]
        assert all(metadata["x-signed"] == "yes" for metadata in service.metadata)


def test_asynchronous_clients_have_theirs() -> None:
    """grpc.aio's interceptors, likewise."""
    noting = NotingLater()

    async def predict(target: str) -> None:
        async with AsyncClient(target, interceptors=[noting]) as client:
            await client.predict("a")

    with FakeService.serving(canned.predict_reply()) as service:
        asyncio.run(predict(service.target))
        assert noting.seen == ["Predict"]
        assert service.metadata[0]["x-signed"] == "yes"


@pytest.mark.parametrize(("balancing", "shares"), [("round_robin", {CALLS // 2}), ("pick_first", {0, CALLS})])
@pytest.mark.parametrize("colour", [Client, AsyncClient])
def test_calls_are_spread_over_addresses_where_that_is_asked_for(
    balancing: Any,  # noqa: ANN401 - one of two words
    shares: set[int],
    colour: type[Client | AsyncClient],
) -> None:
    """Of two addresses each gets half the calls, or one of them gets all."""
    with ExitStack() as serving:
        services = [serving.enter_context(FakeService.serving(canned.predict_reply())) for _ in range(2)]
        target = "ipv4:" + ",".join(service.target for service in services)

        def connected() -> bool:
            """Both, where both are to be used; what came until then does not count."""
            done = balancing == "pick_first" or all(service.requests for service in services)
            for service in services if done else ():
                service.requests.clear()
            return done

        def now() -> None:
            with Client(target, balancing=balancing) as client:
                while not connected():
                    client.predict("a")
                for _ in range(CALLS):
                    client.predict("a")

        async def later() -> None:
            async with AsyncClient(target, balancing=balancing) as client:
                while not connected():
                    await client.predict("a")
                for _ in range(CALLS):
                    await client.predict("a")

        now() if colour is Client else asyncio.run(later())
        assert {len(service.requests) for service in services} == shares


def test_no_other_way_of_balancing() -> None:
    """A word that gRPC does not know is refused before anything is sent."""
    with pytest.raises(ValueError, match="round_robin"):
        Client("127.0.0.1:1", balancing="fastest")  # type: ignore[arg-type]


def test_options_of_the_channel_are_grpcs() -> None:
    """E.g. what name a certificate is held against, or how large a request may be."""
    with FakeService.serving(canned.predict_reply()) as service:
        tight = (("grpc.max_send_message_length", 8),)
        with (
            Client(service.target, channel_options=tight, retries=0) as client,
            pytest.raises(RollcallError, match="larger than max"),
        ):
            client.predict("a text that is too long for it")
        assert service.requests == []
