"""Servers that speak the Open Inference Protocol over gRPC, ours among them, or over HTTP."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import grpc
import numpy as np

from rollcall.bringing.tensors import (
    BYTES,
    TYPES,
    AnswerError,
    Port,
    Values,
    read_outputs,
    shape_of,
    write_input,
)
from rollcall.oip import open_inference_pb2 as oip
from rollcall.oip import open_inference_pb2_grpc

if TYPE_CHECKING:
    from rollcall.oip.open_inference_pb2_grpc import GRPCInferenceServiceStub

MOST_BYTES = 64 << 20
"""Of one answer."""


class CallFailed(Exception):
    """A server did not do what it was asked. `code` is one word, the message has the server's own."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server, how it is known, and who asks: plaintext without `ca`. `timeout`: seconds to wait for an answer."""

    target: str
    timeout: float
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    token: str | None = field(default=None, repr=False)

    @contextmanager
    def stub(self) -> Iterator[GRPCInferenceServiceStub]:
        """Open a channel. Raises OSError for a file that cannot be read, and CallFailed for a call that failed."""
        with self._channel([("grpc.max_receive_message_length", MOST_BYTES)]) as channel:
            yield open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)

    def ask(self, method: Any, request: Any) -> Any:  # noqa: ANN401 - the stubs have no types
        """Call a method of the stub. Raises CallFailed."""
        metadata = (("authorization", f"Bearer {self.token}"),) if self.token else ()
        try:
            return method(request, timeout=self.timeout, metadata=metadata)
        except grpc.RpcError as error:
            raise self._failed(error) from error

    def _channel(self, options: list[tuple[str, int]]) -> grpc.Channel:
        if self.ca is None:
            return grpc.insecure_channel(self.target, options=options)
        root, key, chain = (None if file is None else file.read_bytes() for file in (self.ca, self.key, self.cert))
        return grpc.secure_channel(self.target, grpc.ssl_channel_credentials(root, key, chain), options=options)

    def _failed(self, error: Any) -> CallFailed:  # noqa: ANN401 - grpc's errors are calls, too
        code: grpc.StatusCode = error.code()
        if code is grpc.StatusCode.UNAVAILABLE:
            said = f"nothing answers at {self.target}, or it cannot answer now: {error.details()}"
        elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
            said = f"no answer from {self.target} within {self.timeout:g} s"
        else:
            said = f"{self.target} refuses, {code.name}: {error.details()}"
        return CallFailed(code.name, said[:400])


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcPeer:
    """Implements `rollcall.bringing.tensors.Peer` over gRPC."""

    server: Server
    stub: Any

    def inputs(self, model: str) -> tuple[Port, ...]:
        """What a model takes."""
        told = self.server.ask(self.stub.ModelMetadata, oip.ModelMetadataRequest(name=model))
        return tuple(Port(name=one.name, datatype=one.datatype, rank=len(one.shape)) for one in told.inputs)

    def infer(self, model: str, tensors: Sequence[tuple[Port, Values]]) -> dict[str, Values]:
        """Every output for one input."""
        request = oip.ModelInferRequest(
            model_name=model, inputs=[write_input(port, values) for port, values in tensors]
        )
        return read_outputs(self.server.ask(self.stub.ModelInfer, request))


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpPeer:
    """The same over HTTP: `target` is its address, http://host:port. `trust`: whom certificates must lead to."""

    target: str
    timeout: float
    trust: ssl.SSLContext | None = None
    token: str | None = field(default=None, repr=False)

    def inputs(self, model: str) -> tuple[Port, ...]:
        """What a model takes."""
        told = self._call(f"/v2/models/{quote(model, safe='')}")
        try:
            return tuple(_port(one) for one in told.get("inputs") or [])
        except (AttributeError, KeyError, TypeError) as error:
            message = "its answer lists no inputs of the protocol's"
            raise AnswerError(message) from error

    def infer(self, model: str, tensors: Sequence[tuple[Port, Values]]) -> dict[str, Values]:
        """Every output for one input."""
        inputs = [
            {
                "name": port.name,
                "datatype": port.datatype,
                "shape": shape_of(port, values),
                "data": [each.decode() for each in values] if isinstance(values, list) else values.ravel().tolist(),
            }
            for port, values in tensors
        ]
        told = self._call(f"/v2/models/{quote(model, safe='')}/infer", {"inputs": inputs})
        try:
            outputs = [one for one in told["outputs"] if one["datatype"] in {BYTES, *TYPES}]
            return {_text(one["name"]): _from_json(one) for one in outputs}
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            message = "its answer has no outputs of the protocol's"
            raise AnswerError(message) from error

    def _call(self, path: str, asked: object = None) -> Any:  # noqa: ANN401 - JSON
        headers = {"content-type": "application/json"}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        body = None if asked is None else json.dumps(asked).encode()
        request = urllib.request.Request(self.target.rstrip("/") + path, data=body, headers=headers)  # noqa: S310 - checked
        try:
            with urllib.request.urlopen(request, timeout=self.timeout, context=self.trust) as reply:  # noqa: S310 - likewise
                return json.loads(reply.read(MOST_BYTES))
        except urllib.error.HTTPError as error:
            error.close()
            code = f"HTTP {error.code}"
            raise CallFailed(code, f"{self.target} refuses, {code}") from error
        except OSError as error:
            raise CallFailed("UNAVAILABLE", f"nothing answers at {self.target}: {error}"[:400]) from error
        except http.client.HTTPException as error:
            raise CallFailed("NOT_HTTP", f"{self.target} does not speak HTTP: {type(error).__name__}") from error
        except (ValueError, RecursionError) as error:
            message = "its answer is no JSON"
            raise AnswerError(message) from error


def _port(listed: dict[str, Any]) -> Port:
    return Port(name=_text(listed["name"]), datatype=_text(listed["datatype"]), rank=len(listed["shape"]))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _from_json(output: dict[str, Any]) -> Values:
    if output["datatype"] == BYTES:
        return [str(each).encode() for each in np.array(output["data"], dtype=object).ravel()]
    return np.array(output["data"], dtype=TYPES[output["datatype"]][1]).reshape(output["shape"])
