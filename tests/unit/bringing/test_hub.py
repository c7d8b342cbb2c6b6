"""Models of the Hugging Face hub: at one commit, when it is allowed, and only what is needed; from a hub of our own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rollcall.__main__ import main
from rollcall.bringing.hub import read_hub
from rollcall.bringing.placing import Place, write
from rollcall.domain.errors import ModelRejected
from tests.unit.bringing.conftest import PICKLED

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PLACE = f"hub:somebody/reviews@{COMMIT}"


@dataclass
class Hub:
    """A hub that has one commit of one model, and what was fetched from it."""

    target: str = ""
    commit: str = COMMIT
    files: dict[str, bytes] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)
    """SHA-256 by file, where it is said."""
    fetched: list[str] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    """Answers as the hub does."""

    def __init__(self, hub: Hub, *given: Any) -> None:  # noqa: ANN401 - of the base class
        self.hub = hub
        super().__init__(*given)

    def do_HEAD(self) -> None:
        """Tell of a file."""
        self._answer(body=False)

    def do_GET(self) -> None:
        """Send a file, or tell of the model."""
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path, _, _ = self.path.partition("?")
        name = path.removeprefix(f"/somebody/reviews/resolve/{COMMIT}/")
        if path == f"/api/models/somebody/reviews/revision/{COMMIT}":
            self._send(200, json.dumps(self._told()).encode(), body=body)
        elif name in self.hub.files:
            self.hub.fetched += [name] if body else []
            self._send(200, self.hub.files[name], body=body)
        else:
            self._send(404, b"{}", body=body)

    def _told(self) -> dict[str, object]:
        listed: list[dict[str, object]] = [
            {"rfilename": name, "size": len(data), "blobId": "x"} for name, data in self.hub.files.items()
        ]
        for one in listed:
            if sha256 := self.hub.said.get(str(one["rfilename"])):
                one["lfs"] = {"sha256": sha256, "size": one["size"], "pointerSize": 1}
        return {"id": "somebody/reviews", "sha": self.hub.commit, "siblings": listed}

    def _send(self, status: int, content: bytes, *, body: bool) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.send_header("etag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("x-repo-commit", COMMIT)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def hub_of(directory: Path) -> Iterator[Hub]:
    """Serve the files of a directory as the hub does."""
    hub = Hub(files={path.name: path.read_bytes() for path in directory.iterdir()})
    hub.files["onnx/model.onnx"] = b"not looked at"
    hub.said[PICKLED] = hashlib.sha256(hub.files[PICKLED]).hexdigest()

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, hub))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    hub.target = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def hub(checkpoint: Path) -> Iterator[Hub]:
    """A hub with the tiny model, its weights in a pickle."""
    with hub_of(checkpoint) as served:
        yield served


def bring(hub: Hub, models: Path) -> Path:
    """Bring its model."""
    place = Place(repository=models, name="reviews", revision="1")
    source = read_hub(PLACE, endpoint=hub.target)
    assert (source.name, source.kind) == ("reviews", f"the Hugging Face hub, commit {COMMIT}")
    with place.staging(0) as staged:
        write(source, place, staged, "")
    return place.path


def test_a_commit_is_fetched_and_nothing_else(hub: Hub, checkpoint: Path, tmp_path: Path) -> None:
    """Weights and descriptions, each once; code and other folders are not fetched at all."""
    found = bring(hub, tmp_path / "models")
    assert (found / "tokenizer.json").read_bytes() == (checkpoint / "tokenizer.json").read_bytes()
    assert (found / "model.safetensors").is_file()
    assert sorted(hub.fetched) == ["config.json", PICKLED, "tokenizer.json", "tokenizer_config.json"]


def test_what_the_hub_sends_is_what_it_names(hub: Hub, tmp_path: Path) -> None:
    """Weights with another SHA-256 than the hub says, and an answer about another commit, are refused."""
    hub.said[PICKLED] = "0" * 64
    with pytest.raises(ModelRejected, match="is not the file that its place names"):
        bring(hub, tmp_path / "models")
    hub.commit = "f" * 40
    with pytest.raises(ModelRejected, match="answers with another commit"):
        bring(hub, tmp_path / "models")
    hub.commit = COMMIT
    del hub.files["tokenizer.json"], hub.files[PICKLED]
    with pytest.raises(ModelRejected, match=r"holds no model\.safetensors"):
        bring(hub, tmp_path / "models")
    assert not (tmp_path / "models" / "reviews").exists()


def test_a_hub_that_is_not_there_is_said(hub: Hub) -> None:
    """In a sentence."""
    with pytest.raises(ModelRejected, match="does not tell of it"):
        read_hub(PLACE.replace("somebody", "nobody"), endpoint=hub.target)


def test_a_hub_that_cannot_be_reached_is_said() -> None:
    """In a sentence."""
    with pytest.raises(ModelRejected, match="the hub does not tell of it: ConnectError"):
        read_hub(PLACE, endpoint="http://127.0.0.1:1")


@pytest.mark.parametrize(
    "place", ["hub:a/b", "hub:a/b@main", "hub:a/b@v1.0", f"hub:a@{COMMIT}", f"hub:a/b@{COMMIT[:12]}"]
)
def test_what_moves_is_refused(place: str) -> None:
    """A branch, a tag, a short commit: tomorrow they may be another model."""
    with pytest.raises(ModelRejected, match="branches and tags move"):
        read_hub(place, endpoint="http://127.0.0.1:1")


def test_the_command_fetches_where_it_is_allowed(hub: Hub, tmp_path: Path) -> None:
    """From the hub that the environment names, loaded and proved like any other source."""
    command = [sys.executable, "-m", "rollcall", "models", "import", PLACE, "--allow-download", "--json"]
    done = subprocess.run(
        [*command, "--repository", str(tmp_path / "models")],
        env={**os.environ, "HF_ENDPOINT": hub.target},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=200,
    )
    found = json.loads(done.stdout)
    assert (found["name"], found["revision"], found["serves"]) == ("reviews", "1", "calibration NONE")
    assert COMMIT in (tmp_path / "models" / "reviews" / "1" / "imported.toml").read_text()


def test_nothing_is_fetched_unless_somebody_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is off by default."""
    assert main(["models", "import", PLACE, "--repository", str(tmp_path / "models")]) == 1
    assert "--allow-download" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()
