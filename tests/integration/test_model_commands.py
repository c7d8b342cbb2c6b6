"""`rollcall models import`, `load` and `unload`, as they are used beside a real server."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rollcall.__main__ import main
from rollcall.demo.server import ServerProcess, server_process
from rollcall.edge.access.callers import token_digest
from rollcall_client import Client, Explanation, NotFound
from tests.exports import export
from tests.tiny import TEXT, make_model

PATIENCE = 120.0
LARGE = {"hidden_size": 512, "num_hidden_layers": 8, "intermediate_size": 2048}
"""Some 100 MB of weights, far above what a process gives and takes by itself."""


def put(repository: Path, name: str, *, seed: int = 0, **overrides: Any) -> Path:  # noqa: ANN401 - config fields
    """Make a tiny model right in the repository; its settings come last."""
    own = make_model("bert", repository / name, seed=seed, **overrides)
    (own / "model.toml").write_text("")
    return own


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one revision of one model."""
    put(tmp_path / "models", "reviews/1", seed=1)
    return tmp_path / "models"


def serving(repository: Path, tmp_path: Path, mode: str) -> dict[str, str]:
    """The settings of a server that knows an admin and a caller."""
    callers = tmp_path / "callers.toml"
    callers.write_text(
        f'[ops]\nroles = "admin"\ntoken_sha256 = "{token_digest("ops-token")}"\n'
        f'[reviews]\nroles = "caller"\ntoken_sha256 = "{token_digest("reviews-token")}"\n'
    )
    for name in ("ops", "reviews"):
        (tmp_path / f"{name}.token").write_text(f"{name}-token\n")
    return {
        "ROLLCALL_REPOSITORY_DIRECTORY": str(repository),
        "ROLLCALL_REPOSITORY_MODE": mode,
        "ROLLCALL_AUTH_CALLERS": str(callers),
    }


def events(server: ServerProcess, name: str) -> list[dict[str, str]]:
    """Read the log."""
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == name]


def resident(server: ServerProcess) -> int:
    """Bytes of memory that the server's process holds."""
    (line,) = (
        line
        for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
        if line.startswith("VmRSS:")
    )
    return int(line.split()[1]) * 1024


def test_models_come_and_go_by_command(repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The newest revision, a named one, none: each command says what is served, and who is no admin is refused."""
    with server_process(environment=serving(repository, tmp_path, "explicit")) as server:
        door = ["--target", server.target, "--token-file", str(tmp_path / "ops.token")]
        put(repository, "reviews/2", seed=2)
        with Client(server.target, timeout=PATIENCE, token="reviews-token") as client:  # noqa: S106 - of this test
            assert client.predict(TEXT).model.revision == "1"
            assert main(["models", "load", "reviews", *door]) == 0
            assert capsys.readouterr().out == "reviews 2 is served\n"
            assert client.predict(TEXT).model.revision == "2"
            assert main(["models", "load", "reviews@1", "--json", *door]) == 0
            assert json.loads(capsys.readouterr().out) == {"model": "reviews", "revision": "1"}
            assert client.predict(TEXT).model.revision == "1"
            assert main(["models", "load", "reviews@7", *door]) == 1
            assert "NOT_FOUND" in capsys.readouterr().err
            assert client.predict(TEXT).model.revision == "1"
            broken = put(repository, "reviews/3", seed=3)
            (broken / "model.safetensors").write_bytes(b"\0" * 100)
            assert main(["models", "load", "reviews", *door]) == 1
            assert "FAILED_PRECONDITION" in (said := capsys.readouterr().err)
            assert "cannot be loaded" in said
            assert client.predict(TEXT).model.revision == "1"
            assert main(["models", "index", *door]) == 0
            *others, third = capsys.readouterr().out.splitlines()
            assert others == ["reviews 1 READY", "reviews 2 UNAVAILABLE (not loaded)"]
            assert third.startswith("reviews 3 UNAVAILABLE (could not be loaded: reviews/3 cannot be loaded: ")
            assert str(repository) not in third
            (broken / "model.toml").touch()  # somebody says that it has been mended
            assert main(["models", "index", *door]) == 0
            assert capsys.readouterr().out.splitlines()[-1] == "reviews 3 UNAVAILABLE (not loaded)"
            other = ["--target", server.target, "--token-file", str(tmp_path / "reviews.token")]
            for command in (["load", "reviews@2"], ["unload", "reviews"]):
                assert main(["models", *command, *other]) == 1
                assert "PERMISSION_DENIED" in capsys.readouterr().err
            assert client.predict(TEXT).model.revision == "1"
            assert main(["models", "unload", "reviews", *door]) == 0
            assert capsys.readouterr().out == "reviews takes no further requests\n"
            with pytest.raises(NotFound):
                client.predict(TEXT, model="reviews")


def test_a_model_of_another_server_is_brought_in_while_this_one_serves(repository: Path, tmp_path: Path) -> None:
    """A pickled checkpoint becomes the next revision, and a server that looks takes it: the same weights, proved."""
    checkpoint = make_model("bert", tmp_path / "reviews", seed=2)
    stock = AutoModelForSequenceClassification.from_pretrained(checkpoint)
    torch.save(load_file(checkpoint / "model.safetensors"), checkpoint / "pytorch_model.bin")
    (checkpoint / "model.safetensors").unlink()
    polling = {"ROLLCALL_REPOSITORY_POLL_SECONDS": "0.1", **serving(repository, tmp_path, "poll")}
    with (
        server_process(environment=polling) as server,
        Client(server.target, timeout=PATIENCE, token="reviews-token") as client,  # noqa: S106 - of this test
    ):
        assert client.explain(TEXT).model.revision == "1"
        labels = ["--labels", "bad,so-so,good"]
        assert main(["models", "import", str(checkpoint), "--repository", str(repository), *labels]) == 0
        deadline = time.monotonic() + PATIENCE
        while client.predict(TEXT).model.revision != "2":
            assert time.monotonic() < deadline, "it was not taken"
        prediction = client.explain(TEXT).prediction
        assert prediction.labels == ("bad", "so-so", "good")
        ids = AutoTokenizer.from_pretrained(checkpoint)(TEXT, return_tensors="pt")
        with torch.no_grad():
            expected = stock(**ids).logits.double().softmax(-1)[0].tolist()
        assert prediction.probabilities == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("mode", ["none", "poll"])
def test_nothing_is_loaded_by_rpc_unless_the_settings_say_so(
    repository: Path, tmp_path: Path, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even by an admin."""
    with server_process(environment=serving(repository, tmp_path, mode)) as server:
        door = ["--target", server.target, "--token-file", str(tmp_path / "ops.token")]
        for command in ("load", "unload"):
            assert main(["models", command, "reviews", *door]) == 1
            assert "repository.mode is not explicit" in capsys.readouterr().err
        assert not events(server, "model_unloaded")


def explaining(target: str, answers: list[Explanation], failures: list[Exception]) -> Iterator[threading.Thread]:
    """Threads that each ask for one explanation."""

    def ask() -> None:
        try:
            with Client(target, timeout=PATIENCE, token="reviews-token") as client:  # noqa: S106 - of this test
                answers.append(client.explain(TEXT, model="reviews"))
        except Exception as error:  # noqa: BLE001 - each is a failure of the test
            failures.append(error)

    for _ in range(3):
        yield threading.Thread(target=ask)


def freed(server: ServerProcess, count: int) -> int:
    """Wait until so many models were freed; bytes that are held then."""
    deadline = time.monotonic() + PATIENCE
    while len(events(server, "model_freed")) < count:
        assert time.monotonic() < deadline, "it was not freed"
        time.sleep(0.05)
    return resident(server)


def test_an_unloaded_model_ends_what_it_began_and_gives_its_memory_back(repository: Path, tmp_path: Path) -> None:
    """Three explanations are on their way when it is taken away: all are answered; then the memory is free.

    An exported model, which runs in two sessions, gives back what building them took as well.
    """
    shutil.rmtree(repository / "reviews")
    made = put(repository, "reviews/1", seed=1, **LARGE)
    size = (made / "model.safetensors").stat().st_size
    (export(made, repository / "exported" / "1").parent / "model.toml").write_text("")
    with server_process(environment=serving(repository, tmp_path, "explicit")) as server:
        door = ["--target", server.target, "--token-file", str(tmp_path / "ops.token")]
        loaded = resident(server)
        answers: list[Explanation] = []
        failures: list[Exception] = []
        threads = list(explaining(server.target, answers, failures))
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        assert main(["models", "unload", "reviews", *door]) == 0
        for thread in threads:
            thread.join()
        assert not [error for error in failures if not isinstance(error, NotFound)]
        assert {answer.model.revision for answer in answers} == {"1"}
        alone = freed(server, 1)
        assert loaded - alone > 0.8 * size
        assert main(["models", "unload", "exported", *door]) == 0
        assert alone - freed(server, 2) > 1.6 * size
