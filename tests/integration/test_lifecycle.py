"""Starting, re-reading settings, and stopping, as an operator does it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from rollcall.demo.server import ServerProcess, server_process
from rollcall_client import AsyncClient, Client, Explanation, Flag, InvalidArgument, Unavailable

TEXT = "The story is dull, but the actors are charming and I loved the ending of this film."
PATIENCE_SECONDS = 30.0


def events(server: ServerProcess, name: str) -> list[dict[str, object]]:
    """Return the log's events of one name."""
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == name]


def wait_for(server: ServerProcess, name: str, count: int) -> None:
    """Wait until an event has been logged `count` times."""
    until = time.monotonic() + PATIENCE_SECONDS
    while len(events(server, name)) < count:
        assert time.monotonic() < until, f"{name} was not logged {count} times"
        time.sleep(0.02)


def test_sighup_takes_over_what_may_change_and_keeps_it_where_the_file_is_wrong(
    tmp_path: Path, tiny_models: dict[str, Path]
) -> None:
    """An operator changes the check level while running; a mistake in the file changes nothing."""
    config = tmp_path / "rollcall.toml"

    def write(level: str) -> None:
        config.write_text(f'[explain]\ncheck_level = "{level}"\n[models.tiny]\npath = "{tiny_models["distilbert"]}"\n')

    write("none")
    with server_process("--config", str(config)) as server, Client(server.target) as client:
        assert client.explain(TEXT).flag is Flag.NOT_CHECKED
        write("standard")
        server.process.send_signal(signal.SIGHUP)
        wait_for(server, "settings_read_again", 1)
        assert client.explain(TEXT).flag is not Flag.NOT_CHECKED
        write("bogus")
        server.process.send_signal(signal.SIGHUP)
        wait_for(server, "settings_rejected", 1)
        assert client.explain(TEXT).flag is not Flag.NOT_CHECKED


def test_sigterm_lets_calls_in_progress_finish(tiny_models: dict[str, Path]) -> None:
    """Nobody loses an answer to a rolling update; the process ends with exit code 0."""

    async def scenario(server: ServerProcess) -> list[object]:
        async with AsyncClient(server.target, timeout=120, retries=0) as client:
            calls = [asyncio.create_task(client.explain(f"{TEXT} Number {i}.")) for i in range(12)]
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)  # they take turns: all are in progress
            server.process.send_signal(signal.SIGTERM)
            return list(await asyncio.gather(*calls, return_exceptions=True))

    with server_process("--model", f"tiny={tiny_models['roberta']}") as server:
        answers = asyncio.run(scenario(server))
        assert [type(answer) for answer in answers] == [Explanation] * 12
        assert server.stop() == 0
        with Client(server.target, retries=0) as client, pytest.raises(Unavailable):
            client.predict(TEXT)


def test_health_tells_of_process_service_and_models(server: ServerProcess) -> None:
    """Orchestrators and load balancers ask by the standard protocol."""
    with grpc.insecure_channel(server.target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", "rollcall.v1.ExplanationService", "demo", "roberta"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=30)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_the_admin_port_tells_what_is_served(server: ServerProcess) -> None:
    """Probes answer, and the status page names weights and self-tests."""
    for path in ("livez", "readyz"):
        with urlopen(f"{server.admin}/{path}", timeout=10) as reply:
            assert reply.status == 200
    with urlopen(f"{server.admin}/statusz", timeout=10) as reply:
        status = json.load(reply)
    assert status["models"]["demo"]["digest"].startswith("sha256:")
    assert len(status["models"]["demo"]["self_tests"]) == 16
    with pytest.raises(HTTPError):
        urlopen(f"{server.admin}/nothing", timeout=10)


def test_cancelled_explanations_leave_nothing_behind(server: ServerProcess) -> None:
    """Rows that nobody waits for are not run: queue and requests in flight fall to zero at once."""

    async def scenario() -> None:
        async with AsyncClient(server.target, timeout=120, retries=0) as client:
            calls = [asyncio.create_task(client.explain(f"{TEXT} Number {i}.")) for i in range(40)]
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            for call in calls:
                call.cancel()
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert any(isinstance(answer, asyncio.CancelledError) for answer in answers)

    asyncio.run(scenario())
    until = time.monotonic() + PATIENCE_SECONDS
    idle = ('rollcall_requests_in_flight{method="Explain"} 0.0', "rollcall_queue_depth 0.0")
    while not all(line in server.metrics() for line in idle):
        assert time.monotonic() < until
        time.sleep(0.2)


def test_the_server_stays_what_it_was_after_errors(client: Client) -> None:
    """An error of one caller is that caller's."""
    for _ in range(3):
        with pytest.raises(InvalidArgument):
            client.explain("")
    assert client.predict("A wonderful film.").prediction.predicted == "positive"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "at least one model"),
        (("--model", "x=/nothing/here"), 2, "no directory or .onnx file"),
        (("--model", "x"), 2, "NAME=PATH"),
        (("--config", "/nothing/here.toml"), 2, "cannot be read"),
    ],
)
def test_a_wrong_start_says_what_is_wrong(arguments: tuple[str, ...], code: int, says: str) -> None:
    """A mistake on the command line is one clear line, and exit code 2."""
    done = subprocess.run(
        [sys.executable, "-m", "rollcall", "serve", "--grpc-port", "0", "--admin-port", "0", *arguments],
        check=False,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_directory_that_is_no_supported_model_ends_the_start(tmp_path: Path) -> None:
    """An operator who points at the wrong architecture learns which are supported; exit code 1."""
    (tmp_path / "config.json").write_text('{"model_type": "gpt2", "architectures": ["GPT2ForSequenceClassification"]}')
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "rollcall",
            "serve",
            "--grpc-port",
            "0",
            "--admin-port",
            "0",
            "--model",
            f"m={tmp_path}",
        ],
        check=False,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "BERT, DistilBERT, RoBERTa, XLM-R, CamemBERT, ELECTRA, ALBERT" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_ends_the_start(server: ServerProcess) -> None:
    """Two servers do not share a port by accident."""
    port = server.target.rpartition(":")[2]
    done = subprocess.run(
        [sys.executable, "-m", "rollcall", "serve", "--demo", "--grpc-port", port, "--admin-port", "0"],
        check=False,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "cannot listen" in done.stderr
