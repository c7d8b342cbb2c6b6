"""Models that come, change and go in a directory, while a real server answers."""

from __future__ import annotations

import json
import shutil
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from rollcall.__main__ import main
from rollcall.demo.server import ServerProcess, server_process
from rollcall.oip import open_inference_pb2 as oip
from rollcall.oip import open_inference_pb2_grpc
from rollcall_client import Client, NotFound
from tests.tiny import TEXT, make_model

PATIENCE = 120.0
POLLING = {"ROLLCALL_REPOSITORY_MODE": "poll", "ROLLCALL_REPOSITORY_POLL_SECONDS": "0.1"}


def put(repository: Path, name: str, *, seed: int, text: str = "") -> Path:
    """Copy a tiny model into the repository as operators should: its settings come last."""
    made = make_model("bert", repository.parent / f"made-{name.replace('/', '-')}", seed=seed)
    own = repository / name
    shutil.copytree(made, own)
    (own / "model.toml").write_text(text)
    return own


def events(server: ServerProcess, name: str) -> list[dict[str, str]]:
    """Read the log."""
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == name]


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for what has to come, or fail."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


def metric(server: ServerProcess, name: str) -> list[str]:
    """Find the lines of a metric."""
    with urllib.request.urlopen(f"{server.admin}/metrics") as response:
        return [line for line in response.read().decode().splitlines() if line.startswith(name)]


@contextmanager
def asking(target: str, revisions: list[str], failures: list[Exception]) -> Iterator[None]:
    """Ask for explanations all the time; note which revision answered, and every failure."""
    ended = threading.Event()

    def ask() -> None:
        with Client(target, timeout=PATIENCE) as client:
            while not ended.is_set():
                try:
                    revisions.append(client.explain(TEXT, model="reviews").model.revision)
                except Exception as error:  # noqa: BLE001 - each is a failure of the test
                    failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one revision of one model."""
    put(tmp_path / "models", "reviews/1", seed=1)
    return tmp_path / "models"


def test_revisions_change_without_a_failed_call(repository: Path) -> None:
    """A newer one takes over, a broken one does not, and taking the newest away goes back; the memory is given back."""
    revisions: list[str] = []
    failures: list[Exception] = []
    environment = {**POLLING, "ROLLCALL_REPOSITORY_DIRECTORY": str(repository)}
    with server_process(environment=environment) as server, asking(server.target, revisions, failures):
        wait_until(lambda: "1" in revisions)
        put(repository, "reviews/2", seed=2)
        wait_until(lambda: "2" in revisions)
        wait_until(lambda: [one["revision"] for one in events(server, "model_freed")] == ["1"])
        broken = repository / "reviews" / "3"
        shutil.copytree(repository / "reviews" / "2", broken, ignore=shutil.ignore_patterns("model.toml"))
        weights = (broken / "model.safetensors").read_bytes()
        (broken / "model.safetensors").write_bytes(weights[: len(weights) // 2])
        (broken / "model.toml").write_text("")
        wait_until(lambda: bool(events(server, "model_rejected")))
        rejected = "rollcall_repository_rejected_revisions"
        assert metric(server, f"{rejected} ") == [f"{rejected} 1.0"]
        time.sleep(1)
        assert len(events(server, "model_rejected")) == 1  # it is not tried again and again
        put(repository, "other/1", seed=3)
        with Client(server.target, timeout=PATIENCE) as client:
            wait_until(lambda: "other" in {model.ref.name for model in client.models()})
            assert client.predict(TEXT, model="other").model.revision == "1"
            shutil.rmtree(repository / "other")
            wait_until(lambda: bool(events(server, "model_unloaded")))
            with pytest.raises(NotFound):
                client.predict(TEXT, model="other")
            shutil.rmtree(repository / "reviews" / "2")
            count = len(revisions)
            wait_until(lambda: "1" in revisions[count:])
            (info,) = metric(server, "rollcall_model_info{")
            assert 'revision="1"' in info
    assert failures == []
    assert {"1", "2"} == set(revisions)


def test_a_start_with_a_broken_newest_revision_serves_the_one_before(repository: Path) -> None:
    """As it would be had the broken one come later; and a server of which nothing can be served does not start."""
    broken = put(repository, "reviews/2", seed=2)
    (broken / "config.json").write_text("{")
    environment = {"ROLLCALL_REPOSITORY_DIRECTORY": str(repository)}
    with server_process(environment=environment) as server, Client(server.target, timeout=PATIENCE) as client:
        assert client.predict(TEXT).model.revision == "1"
        assert [one["revision"] for one in events(server, "model_rejected")] == ["2"]
    shutil.rmtree(repository / "reviews" / "1")
    with pytest.raises(RuntimeError, match="none of its revisions"), server_process(environment=environment):
        pass


def test_admins_load_and_unload(repository: Path) -> None:
    """In mode explicit nothing comes by itself; what does not fit into the budget changes nothing."""
    size = sum(path.stat().st_size for path in (repository / "reviews" / "1").iterdir())
    environment = {
        "ROLLCALL_REPOSITORY_DIRECTORY": str(repository),
        "ROLLCALL_REPOSITORY_MODE": "explicit",
        "ROLLCALL_REPOSITORY_MAX_BYTES": str(int(2.5 * size)),
        "ROLLCALL_AUTH_DANGEROUSLY_TRUST_ANYONE": "true",
    }
    with server_process(environment=environment) as server, grpc.insecure_channel(server.target) as channel:
        stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)

        def load(name: str, revision: str = "") -> str:
            said = {"revision": oip.ModelRepositoryParameter(string_param=revision)} if revision else {}
            try:
                stub.RepositoryModelLoad(oip.RepositoryModelLoadRequest(model_name=name, parameters=said))
            except grpc.RpcError as error:
                return str(error.code().name)
            return "OK"

        put(repository, "reviews/2", seed=2)
        put(repository, "other/1", seed=3)
        with Client(server.target, timeout=PATIENCE) as client:
            assert client.predict(TEXT, model="reviews").model.revision == "1"
            assert load("reviews") == "OK"
            assert client.predict(TEXT, model="reviews").model.revision == "2"
            assert load("reviews", "1") == "OK"
            assert client.predict(TEXT, model="reviews").model.revision == "1"
            assert load("reviews", "7") == "NOT_FOUND"
            assert load("other") == "OK"
            assert load("reviews", "2") == "FAILED_PRECONDITION"  # it would be the third one at a time
            assert client.predict(TEXT, model="reviews").model.revision == "1"
            stub.RepositoryModelUnload(oip.RepositoryModelUnloadRequest(model_name="other"))
            with pytest.raises(NotFound):
                client.predict(TEXT, model="other")
            wait_until(lambda: any(one["model"] == "other" for one in events(server, "model_freed")))
            assert load("reviews", "2") == "OK"


def test_a_repository_is_proved_before_it_is_served(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipeline: each revision with its digest, or why no server would take it; the exit code is the answer."""
    assert main(["models", "verify", str(repository)]) == 0
    assert capsys.readouterr().out.startswith("ok        reviews 1: sha256:")
    put(repository, "reviews/2", seed=2, text='dtype = "int4"')
    (put(repository, "reviews/3", seed=3) / "config.json").write_text("{")
    assert main(["models", "verify", str(repository), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [one["place"].split("reviews/")[1] for one in found if "problem" in one] == ["2/model.toml: dtype", "3"]
    assert [one["revision"] for one in found if "serves" in one] == ["1"]
    assert main(["models", "verify", str(repository / "none")]) == 2
    assert main(["models", "verify", str(repository / "reviews" / "1")]) == 1
