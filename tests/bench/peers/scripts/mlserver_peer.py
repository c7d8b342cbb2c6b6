"""MLServer: starts servers with given settings, and calls them over gRPC with one or more callers at once."""

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import mlserver.grpc.dataplane_pb2 as messages
import mlserver.grpc.dataplane_pb2_grpc as stubs
from _peer import serve

HOST = "127.0.0.1"
START_SECONDS = 120
CALL_SECONDS = 120
STOP_SECONDS = 20
PR_SET_PDEATHSIG = 1
RUNTIME = Path(__file__).parent / "mlserver_runtime.py"


class Peer:
    """The servers by name, and one event loop for all calls."""

    def __init__(self) -> None:
        """Start with none."""
        self.servers: dict[str, tuple[subprocess.Popen[bytes], int]] = {}
        self.loop = asyncio.new_event_loop()

    def start(self, name: str, work: str, server: dict[str, Any], models: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Start a server in a folder of its own and wait until its models are ready."""
        folder = Path(work) / name
        shutil.rmtree(folder, ignore_errors=True)
        ports = _free_ports(3)
        for model, settings in models.items():
            (folder / model).mkdir(parents=True)
            shutil.copy(RUNTIME, folder / model / "mlserver_runtime.py")
            (folder / model / "model-settings.json").write_text(json.dumps({"name": model, **settings}))
        kinds = ("http_port", "grpc_port", "metrics_port")
        settings = {"host": HOST, "debug": False, **dict(zip(kinds, ports, strict=True)), **server}
        (folder / "settings.json").write_text(json.dumps(settings))
        with (folder / "server.log").open("wb") as log:
            process = subprocess.Popen(
                [str(Path(sys.executable).with_name("mlserver")), "start", "."],
                cwd=folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - no thread of ours runs yet
            )
        self.servers[name] = (process, ports[1])
        self.loop.run_until_complete(self._ready(process, ports[1], list(models)))
        return {"pid": process.pid}

    async def _ready(self, process: subprocess.Popen[bytes], port: int, models: list[str]) -> None:
        deadline = time.monotonic() + START_SECONDS
        async with grpc.aio.insecure_channel(f"{HOST}:{port}") as channel:
            stub = stubs.GRPCInferenceServiceStub(channel)
            for model in models:
                while process.poll() is None and time.monotonic() < deadline:
                    with contextlib.suppress(grpc.aio.AioRpcError):
                        if (await stub.ModelReady(messages.ModelReadyRequest(name=model), timeout=5)).ready:
                            break
                    await asyncio.sleep(0.2)
                else:
                    message = f"{model} did not become ready"
                    raise RuntimeError(message)

    def call(self, name: str, model: str, texts: list[str], callers: int) -> dict[str, Any]:
        """Call with each text in turn, `callers` calls at a time; scores in the order of the texts."""
        scores = self.loop.run_until_complete(self._call(self.servers[name][1], model, texts, callers))
        return {"scores": scores, "rows": len(texts)}

    async def _call(self, port: int, model: str, texts: list[str], callers: int) -> list[list[float]]:
        scores: list[list[float]] = [[] for _ in texts]
        waiting = iter(enumerate(texts))
        async with grpc.aio.insecure_channel(f"{HOST}:{port}") as channel:
            stub = stubs.GRPCInferenceServiceStub(channel)

            async def caller() -> None:
                for number, text in waiting:
                    reply = await stub.ModelInfer(_request(model, text), timeout=CALL_SECONDS)
                    scores[number] = list(reply.outputs[0].contents.fp64_contents)

            await asyncio.gather(*(caller() for _ in range(callers)))
        return scores

    def stop(self) -> None:
        """End every server and what it started, each by its own session's id."""
        for process, _ in self.servers.values():
            process.send_signal(signal.SIGTERM)
        for process, _ in self.servers.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _end_with_parent() -> None:
    """Have the kernel send SIGTERM when this script is gone, however it went."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _request(model: str, text: str) -> Any:
    tensor = messages.ModelInferRequest.InferInputTensor(
        name="text",
        datatype="BYTES",
        shape=[1, 1],
        contents=messages.InferTensorContents(bytes_contents=[text.encode()]),
    )
    return messages.ModelInferRequest(model_name=model, inputs=[tensor])


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


if __name__ == "__main__":
    peer = Peer()
    try:
        serve({"start": peer.start, "call": peer.call})
    finally:
        peer.stop()
