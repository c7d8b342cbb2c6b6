"""`rollcall models compare` between two real servers: equal weights, another runtime, other weights."""

from __future__ import annotations

import json
import shutil
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from rollcall.__main__ import main
from rollcall.demo.server import ServerProcess, server_process
from tests.certificates import Authority
from tests.exports import export
from tests.tiny import CORPUS, make_model

Told = dict[str, object]


def other_classes(model: Path, out: Path) -> Path:
    """The same model, whose classes are in another order: it never decides alike."""
    shutil.copytree(model, out)
    weights = load_file(out / "model.safetensors")
    for name in ("classifier.weight", "classifier.bias"):
        weights[name] = weights[name].roll(1, dims=0).contiguous()
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    return out


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same weights for torch and exported, and others under the same name."""
    root = tmp_path_factory.mktemp("compared")
    made = make_model("bert", root / "reviews")
    return {
        "reviews": made,
        "exported": export(made, root / "exported"),
        "other": other_classes(made, root / "other"),
    }


@pytest.fixture(scope="module")
def ours(models: dict[str, Path]) -> Iterator[ServerProcess]:
    """Our server."""
    with server_process("--model", f"reviews={models['reviews']}") as server:
        yield server


@pytest.fixture(scope="module")
def theirs(models: dict[str, Path]) -> Iterator[ServerProcess]:
    """The server that is being replaced."""
    served = [f"{name}={path}" for name, path in models.items()]
    with server_process(*(part for each in served for part in ("--model", each))) as server:
        yield server


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Texts, with an empty line among them, and one that no server takes."""
    file = tmp_path / "texts.txt"
    file.write_text("\n".join([*CORPUS[:3], "", *CORPUS[3:]]) + "\n", encoding="utf-8")
    return file


def compared(
    ours: ServerProcess, theirs: ServerProcess, data: Path, capsys: pytest.CaptureFixture[str], *options: str
) -> tuple[int, Told]:
    """Run the command; its exit code and what it told, in which there is no text."""
    where = ["--ours", ours.target, "--target", theirs.target, "--data", str(data)]
    code = main(["models", "compare", "reviews", *where, "--json", *options])
    said = capsys.readouterr()
    assert not any(text[:12] in said.out + said.err for text in CORPUS)
    return code, json.loads(said.out)


def test_equal_weights_agree(
    ours: ServerProcess, theirs: ServerProcess, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Asked with texts, and asked with ids as a model without a tokenizer is."""
    for options in ([], ["--output", "logits"]):
        code, told = compared(ours, theirs, data, capsys, *options)
        assert (code, told["inputs"], told["failed"]) == (0, 6, [])
        assert isinstance(told["largest_difference"], float)
        assert told["largest_difference"] < 1e-6


def test_another_runtime_is_asked_with_ids(
    ours: ServerProcess,
    theirs: ServerProcess,
    models: dict[str, Path],
    data: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As Triton is: it knows no texts, and the tokenizer is here."""
    ids = ["--their-model", "exported", "--tokenizer", str(models["reviews"])]
    code, told = compared(ours, theirs, data, capsys, *ids)
    assert (code, told["failed"], told["disagreeing"]) == (0, [], [])
    assert isinstance(told["largest_difference"], float)
    assert 0 < told["largest_difference"] < 1e-4
    assert compared(ours, theirs, data, capsys, *ids, "--tolerance", "0")[0] == 1


def test_other_weights_are_told_by_line(
    ours: ServerProcess, theirs: ServerProcess, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which inputs, by the number of their line in the file, empty lines counted."""
    code, told = compared(ours, theirs, data, capsys, "--their-model", "other")
    assert code == 1
    assert [one["line"] for one in told["beyond_tolerance"]] == [1, 2, 3, 5, 6, 7]  # type: ignore[attr-defined]
    assert [one["line"] for one in told["disagreeing"]] == [1, 2, 3, 5, 6, 7]  # type: ignore[attr-defined]
    where = ["--ours", ours.target, "--target", theirs.target, "--data", str(data), "--their-model", "other"]
    assert main(["models", "compare", "reviews", *where]) == 1
    assert "decided otherwise: " in capsys.readouterr().out


@contextmanager
def something_else(certificate: tuple[Path, Path] | None = None) -> Iterator[str]:
    """A web server that knows no models; with a certificate and its key over TLS."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        known = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        known.load_cert_chain(*certificate)
        server.socket = known.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_what_goes_wrong_is_said(
    ours: ServerProcess, theirs: ServerProcess, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that one of the two does not have, nobody there, one server twice, an input that one refuses."""
    door = ["--ours", ours.target, "--target", theirs.target, "--data", str(data)]
    assert main(["models", "compare", "exported", *door]) == 1
    assert "our server at" in capsys.readouterr().err
    assert main(["models", "compare", "reviews", *door, "--their-model", "gone"]) == 1
    assert "NOT_FOUND" in capsys.readouterr().err
    assert main(["models", "compare", "reviews", *door[:2], "--target", ours.target, "--data", str(data)]) == 2
    assert "name the other one" in capsys.readouterr().err
    assert main(["models", "compare", "reviews", *door[:2], "--target", "127.0.0.1:1", *door[4:]]) == 1
    assert "nothing answers at 127.0.0.1:1" in capsys.readouterr().err
    assert main(["models", "compare", "reviews", *door[:2], "--target", f"http://{theirs.target}", *door[4:]]) == 1
    assert f"http://{theirs.target} does not speak HTTP" in capsys.readouterr().err
    with something_else() as target:
        assert main(["models", "compare", "reviews", *door[:2], "--target", target, *door[4:]]) == 1
    assert f"{target}: its answer is no JSON" in capsys.readouterr().err
    assert main(["models", "compare", "reviews", *door[:4], "--data", str(tmp_path / "none")]) == 1
    long = shutil.copy(data, tmp_path / "long.txt")
    with Path(long).open("a") as file:
        file.write("word " * 30_000)
    code, told = compared(ours, theirs, Path(long), capsys)
    assert (code, told["failed"]) == (1, [{"line": 8, "error": "ours: INVALID_ARGUMENT"}])


def test_a_peer_over_https_is_who_it_should_be(
    ours: ServerProcess, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--their-ca` says whose certificate it must have; its answer is read where it has it, and not elsewhere."""
    own, other = Authority(), Authority(name="other")
    right, wrong = own.write(tmp_path / "own.pem"), other.write(tmp_path / "other.pem")
    asked = ["models", "compare", "reviews", "--ours", ours.target, "--data", str(data), "--target"]
    with something_else(own.server().write(tmp_path, "server")) as target:
        assert main([*asked, target, "--their-ca", str(right)]) == 1
        assert f"{target}: its answer is no JSON" in capsys.readouterr().err
        for refused in (["--their-ca", str(wrong)], []):
            assert main([*asked, target, *refused]) == 1
            assert "certificate verify failed" in capsys.readouterr().err
        for unread in (tmp_path / "none.pem", data):
            assert main([*asked, target, "--their-ca", str(unread)]) == 1
            assert f"--their-ca {unread}: " in capsys.readouterr().err
    assert main([*asked, "http://127.0.0.1:1", "--their-ca", str(right)]) == 2
    assert "--their-ca is for https" in capsys.readouterr().err
