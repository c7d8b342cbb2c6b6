"""Two workers behind one port, on a processor: they share the callers, and one that dies is replaced."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from rollcall import app
from rollcall.__main__ import parser
from rollcall.commands.serving import serve_sources
from rollcall.demo.server import ServerProcess, server_process
from rollcall.domain.errors import DeviceLost
from rollcall.engine import dispatch
from rollcall.engine.device import Outcome
from rollcall.engine.engine import Engine
from rollcall.scheduling.queue import Batch
from rollcall.settings import Settings, load_settings
from rollcall.supervisor import supervise
from rollcall.workers import Worker
from rollcall_client import AsyncClient, Client, Explanation, Unavailable
from tests.integration.test_lifecycle import TEXT, events, wait_for

PATIENCE_SECONDS = 120.0
RETRIES = 10
"""A connection to a worker that was just killed is reset, and a channel waits a second before it tries again."""
CHANNELS = 40
"""Connections that are tried until both workers have answered: all on one side once in 2 ** 39."""
ANSWERED = re.compile(r'^grpc_server_handled_total\{grpc_code="OK",grpc_method="Explain",.*\} ([0-9.]+)$', re.MULTILINE)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the workers keep their records."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def server(state: Path) -> Iterator[ServerProcess]:
    """Serve the demo model with two workers."""
    with server_process(
        "--demo", "--devices", "cpu,cpu", environment={"ROLLCALL_STATE_DIRECTORY": str(state)}
    ) as process:
        yield process


def workers(server: ServerProcess) -> dict[int, dict[str, Any]]:
    """The latest start of each worker, with its admin port if it got ready after it."""
    found: dict[int, dict[str, Any]] = {}
    for line in server.log.read_text().splitlines():
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("event") == "worker_started":
            found[event["worker"]] = event
        if event.get("event") == "worker_ready":
            found[event["worker"]] = found[event["worker"]] | {"admin_port": event["admin_port"]}
    return found


def page(worker: dict[str, Any], path: str) -> str:
    """A page of a worker's admin port."""
    with urlopen(f"http://127.0.0.1:{worker['admin_port']}/{path}", timeout=10) as reply:
        return str(reply.read().decode())


def answered(worker: dict[str, Any]) -> float:
    """Explanations that a worker gave."""
    found = ANSWERED.search(page(worker, "metrics"))
    assert found is not None
    return float(found[1])


def explain(server: ServerProcess, text: str = TEXT) -> dict[str, Any]:
    """Ask on a connection of its own; what must be the same in every answer, to the digit."""
    with Client(server.target, timeout=PATIENCE_SECONDS, retries=RETRIES) as client:
        answer: dict[str, Any] = client.explain(text).to_dict()
    return {
        "prediction": answer["prediction"],
        "effects": answer["effects"],
        "maps": {found["map"]: found["scores"] for found in answer["attributions"]},
        "verdicts": {found["map"]: found["verdict"] for found in answer["attributions"]},
    }


def explain_by_both(server: ServerProcess) -> list[dict[str, Any]]:
    """Answers of both workers to the same question."""
    before = {index: answered(worker) for index, worker in workers(server).items()}
    answers: list[dict[str, Any]] = []
    for _ in range(CHANNELS):
        answers.append(explain(server))
        if all(answered(worker) > before[index] for index, worker in workers(server).items()):
            return answers
        time.sleep(1.0)  # /metrics is rendered once a second
    pytest.fail(f"one worker gave all of {len(answers)} answers")


def test_both_workers_answer_and_agree_to_the_digit(server: ServerProcess) -> None:
    """Whoever gets a connection, the same question has the same verdict, with the same numbers behind it."""
    answers = explain_by_both(server)
    assert all(answer == answers[0] for answer in answers)
    for index, worker in workers(server).items():
        status = json.loads(page(worker, "statusz"))
        assert status["worker"] == {"index": index, "of": 2, "device": "cpu"}
        assert json.loads(page(worker, "readyz"))["ready"]
        assert 0 < status["batches"]["demo"]["longest_row_bytes"]["rows"] < status["batches"]["demo"]["batch_bytes"]


def test_a_second_server_shares_neither_port_nor_state(server: ServerProcess, state: Path) -> None:
    """The workers mean to share a port; another server that is given it by mistake does not start."""
    port = server.target.rpartition(":")[2]
    for arguments, environment, says in (
        (("--grpc-port", port), {}, "cannot listen"),
        (("--grpc-port", port, "--devices", "cpu,cpu"), {}, "cannot listen"),
        (("--grpc-port", "0", "--devices", "cpu"), {"ROLLCALL_STATE_DIRECTORY": str(state)}, "another server"),
        (("--grpc-port", "0"), {"ROLLCALL_STATE_DIRECTORY": str(state / "worker-1")}, "another server"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "rollcall", "serve", "--demo", "--admin-port", "0", *arguments],
            check=False,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE_SECONDS,
            env={**os.environ, **environment},
        )
        assert done.returncode == 1
        assert says in done.stderr


def test_a_killed_worker_is_replaced_while_the_other_one_answers(server: ServerProcess) -> None:
    """Callers notice no more than a connection that has to be made again."""
    victim = workers(server)[0]
    count = len(events(server, "worker_ready"))
    os.kill(victim["pid"], signal.SIGKILL)
    expected, answers = explain(server), 0
    until = time.monotonic() + PATIENCE_SECONDS
    while len(events(server, "worker_ready")) == count:
        assert explain(server) == expected
        answers += 1
        assert time.monotonic() < until
    assert answers > 0
    (died,) = events(server, "worker_died")
    assert (died["worker"], died["code"]) == (0, -signal.SIGKILL)
    assert workers(server)[0]["pid"] != victim["pid"]
    assert all(answer == expected for answer in explain_by_both(server))


def test_sigterm_drains_all_workers() -> None:
    """Answers in progress are finished by whoever works on them; then everybody is gone, with exit code 0."""

    async def scenario(server: ServerProcess) -> list[object]:
        clients = [AsyncClient(server.target, timeout=PATIENCE_SECONDS, retries=0) for _ in range(8)]
        calls = [asyncio.create_task(client.explain(f"{TEXT} Number {i}.")) for i, client in enumerate(clients)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        server.process.send_signal(signal.SIGTERM)
        answers: list[object] = list(await asyncio.gather(*calls, return_exceptions=True))
        for client in clients:
            await client.close()
        return answers

    with server_process("--demo", "--devices", "cpu,cpu") as server:
        pids = [worker["pid"] for worker in workers(server).values()]
        assert [type(answer) for answer in asyncio.run(scenario(server))] == [Explanation] * 8
        assert server.stop() == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
        with Client(server.target, retries=0) as client, pytest.raises(Unavailable):
            client.predict(TEXT)


def test_workers_stop_when_their_supervisor_is_killed() -> None:
    """Nobody is left behind on the port."""
    with server_process("--demo", "--devices", "cpu") as server:
        server.process.kill()
        wait_for(server, "stopped", 1)


def loses_its_device(settings: Settings, worker: Worker, ready: Callable[[int], None]) -> int:
    """Serve; the first time the device is lost at the first request, the second time that is the end of the test."""
    assert settings.state.directory is not None
    lost, mark, run = threading.Event(), settings.state.directory / "lost", dispatch.run_batch

    def run_while_it_lasts(engine: Engine, batch: Batch) -> list[Outcome]:
        if lost.is_set():
            raise DeviceLost
        return run(engine, batch)

    def ask() -> None:
        with Client(f"127.0.0.1:{worker.grpc_port}", retries=0) as client, suppress(Unavailable):
            client.predict(TEXT)

    def then(port: int) -> None:
        ready(port)
        if mark.exists():
            os.kill(os.getppid(), signal.SIGTERM)
            return
        mark.touch()
        lost.set()
        threading.Thread(target=ask).start()

    dispatch.run_batch = run_while_it_lasts
    return app.serve(settings, worker, then)


def test_a_worker_that_loses_its_device_is_replaced(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nobody restarts one process of a container by its probe: it ends by itself, and another one is started."""
    arguments = "serve --demo --devices cpu --grpc-port 0 --admin-port 0"
    environ = {"ROLLCALL_STATE_DIRECTORY": str(tmp_path)}
    settings = load_settings(serve_sources(parser().parse_args(arguments.split()), environ))
    handlers, level = list(logging.root.handlers), logging.root.level
    try:
        assert supervise(settings, loses_its_device) == 0
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
    log = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    died = [event["code"] for event in log if event["event"] == "worker_died"]
    assert died == [1]
    assert [event["event"] for event in log].count("worker_ready") == 2


def test_a_worker_that_cannot_load_its_model_ends_the_start(tmp_path: Path) -> None:
    """A wrong start fails as a whole, at once, and says why."""
    (tmp_path / "config.json").write_text('{"model_type": "gpt2", "architectures": ["GPT2ForSequenceClassification"]}')
    arguments = f"serve --grpc-port 0 --admin-port 0 --devices cpu --model m={tmp_path}"
    done = subprocess.run(
        [sys.executable, "-m", "rollcall", *arguments.split()],
        check=False,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 1
    assert "BERT, DistilBERT, RoBERTa" in done.stderr
    assert "Traceback" not in done.stderr
