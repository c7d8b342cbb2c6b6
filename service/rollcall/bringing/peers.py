"""Servers that speak the Open Inference Protocol over gRPC, ours among them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from rollcall.domain.errors import RollcallError
from rollcall.oip import open_inference_pb2_grpc

if TYPE_CHECKING:
    from rollcall.oip.open_inference_pb2_grpc import GRPCInferenceServiceStub

MOST_BYTES = 64 << 20
"""Of one answer."""


class CallFailed(RollcallError):
    """A server did not do what it was asked; the message says why, in its own words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server, how it is known, and who asks: plaintext without `ca`. `timeout`: seconds to wait for an answer."""

    target: str
    timeout: float
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    token: str | None = field(default=None, repr=False)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What says who asks."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    @contextmanager
    def stub(self) -> Iterator[GRPCInferenceServiceStub]:
        """Open a channel. Raises OSError for a file that cannot be read, and CallFailed for a call that failed."""
        options = [("grpc.max_receive_message_length", MOST_BYTES)]
        with self._channel(options) as channel:
            try:
                yield open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
            except grpc.RpcError as error:
                raise CallFailed(self._said(error)) from error

    def ask(self, method: Any, request: Any) -> Any:  # noqa: ANN401 - the stubs have no types
        """Call a method of the stub. Raises grpc.RpcError."""
        return method(request, timeout=self.timeout, metadata=self.metadata)

    def _channel(self, options: list[tuple[str, int]]) -> grpc.Channel:
        if self.ca is None:
            return grpc.insecure_channel(self.target, options=options)
        root, key, chain = (None if file is None else file.read_bytes() for file in (self.ca, self.key, self.cert))
        return grpc.secure_channel(self.target, grpc.ssl_channel_credentials(root, key, chain), options=options)

    def _said(self, error: Any) -> str:  # noqa: ANN401 - grpc's errors are calls, too
        code = error.code()
        if code is grpc.StatusCode.UNAVAILABLE:
            return f"nothing answers at {self.target}, or it cannot answer now: {error.details()}"[:400]
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"no answer from {self.target} within {self.timeout:g} s"
        return f"{self.target} refuses, {code.name}: {error.details()}"[:400]
