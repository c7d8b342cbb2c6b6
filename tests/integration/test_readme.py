"""Everything that the README tells people to run, run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from rollcall.admission.quota import Quota, parse_quotas
from rollcall.demo.server import ServerProcess, server_process
from rollcall.edge.access.callers import parse_callers
from tests.exports import export
from tests.integration.conftest import Gallery
from tests.pictures import digits, png
from tests.tiny import make_model

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line.strip()]


def run(command: str, directory: Path) -> str:
    """Run a rollcall command of the README; return what it prints."""
    program, *arguments = shlex.split(command)
    assert program == "rollcall"
    done = subprocess.run(
        [BIN / program, *arguments], cwd=directory, check=True, stdout=subprocess.PIPE, text=True, timeout=120
    )
    return done.stdout


def test_every_command_is_of_a_kind_that_is_run_here() -> None:
    """A command that nobody runs may not be promised."""
    assert {command.split()[0] for command in COMMANDS} == {"make", "rollcall"}
    assert {command.split()[1] for command in COMMANDS} == {
        "demo",
        "test",
        "serve",
        "explain",
        "models",
        "check-config",
        "inspect",
    }


@pytest.mark.parametrize("target", ["demo", "test"])
def test_make_targets_are_what_continuous_integration_calls(target: str) -> None:
    """`make demo` and `make test` run in every change's CI."""
    makefile = (ROOT / "Makefile").read_text()
    (ci,) = re.findall(r"^ci:(.*?)##", makefile, flags=re.MULTILINE)
    assert target in ci.split()
    assert "make ci" in (ROOT / ".ci" / "run").read_text()


ELSEWHERE = ("--image", "--word")
"""Questions to models of other tasks, which are asked below."""


@pytest.mark.parametrize(
    "command",
    [
        c
        for c in COMMANDS
        if c.startswith(("rollcall explain", "rollcall models")) and not any(option in c for option in ELSEWHERE)
    ],
)
def test_questions_are_answered(server: ServerProcess, tmp_path: Path, command: str) -> None:
    """The questions of the README get answers from a running server."""
    (tmp_path / "reviews.txt").write_text("A wonderful film.\nThe plot is thin.\n")
    assert run(f"{command} --target {server.target}", tmp_path).strip()
    if "--html" in command:
        assert "<!doctype html>" in (tmp_path / "report.html").read_text().lower()


def test_a_picture_is_explained(gallery: Gallery, tmp_path: Path) -> None:
    """The question about a picture gets its answer, and a page with the map laid over it."""
    images, _ = digits()
    (tmp_path / "photo.png").write_bytes(png(images[-1]))
    (command,) = (c for c in COMMANDS if "--image" in c)
    assert "digit" in run(f"{command} --target {gallery.process.target}", tmp_path)
    assert "data:image/png;base64," in (tmp_path / "photo.html").read_text()


def test_a_word_is_asked_about(tmp_path: Path) -> None:
    """The question about a word gets its answer from a model that labels words, and says which word it was."""
    (command,) = (c for c in COMMANDS if "--word" in c)
    model = make_model("bert", tmp_path / "names", words=True)
    with server_process("--model", f"names={model}", environment={}) as process:
        assert "\N{LEFT DOUBLE QUOTATION MARK}Paris" in run(f"{command} --target {process.target}", tmp_path)


@pytest.fixture(scope="module")
def exported(tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model's file for ONNX Runtime."""
    return export(tiny_models["roberta"], tmp_path_factory.mktemp("exported") / "model")


def test_exported_files_are_inspected(exported: Path, tmp_path: Path) -> None:
    """The command finds every layer."""
    (command,) = [command for command in COMMANDS if command.startswith("rollcall inspect")]
    assert "layers of" in run(command.replace("/models/reviews/model.onnx", str(exported)), tmp_path)


def test_the_servers_start(tiny_models: dict[str, Path], exported: Path) -> None:
    """The ways to serve of the README start and stop."""
    serves = [command for command in COMMANDS if command.startswith("rollcall serve")]
    paths = {
        "/models/reviews/model.onnx": exported,
        "/models/reviews": tiny_models["roberta"],
        "/models/fraud": tiny_models["distilbert"],
    }
    for command in serves:
        arguments = shlex.split(command)[2:]
        for written, real in paths.items():
            arguments = [argument.replace(written, str(real)) for argument in arguments]
        with server_process(*arguments) as server:
            assert server.stop() == 0


def test_the_settings_are_right(tmp_path: Path, tiny_models: dict[str, Path]) -> None:
    """The example settings pass check-config."""
    example, prompts, callers, quotas = blocks("toml")
    (tmp_path / "callers.toml").write_text(callers)
    for written, real in {"/models/fraud": tiny_models["distilbert"], "/etc/rollcall": tmp_path}.items():
        example = example.replace(written, str(real))
    example += prompts.replace("/models/small-llama", str(tiny_models["roberta"]))
    (tmp_path / "rollcall.toml").write_text(example)
    (command,) = [c for c in COMMANDS if "check-config" in c]
    assert "no mistakes" in run(command, tmp_path)
    assert parse_callers(callers.encode()).by_token("foo") is not None
    assert parse_quotas(quotas.encode(), Quota()).keys() == {"reviews"}


@pytest.mark.parametrize(
    ("number", "prints"),
    [
        (0, r"(positive|negative) (FAITHFUL|UNFAITHFUL|INCONCLUSIVE) "),
        (1, r"(?=(.*\n)*r-2 INVALID_ARGUMENT)(?=(.*\n)*r-1 [A-Z]+\n)(?=(.*\n)*r-3 [A-Z]+\n)"),
        (2, r"capture: 0 of \d+ rows\n(.*\n)*heads "),
        (3, r"(FAITHFUL|UNFAITHFUL|INCONCLUSIVE) \(\d+, \d+, \d+, \d+\)\n"),
    ],
)
def test_the_python_examples_work(server: ServerProcess, number: int, prints: str) -> None:
    """The examples of the README run as they stand, on another port."""
    example = blocks("python")[number]
    done = subprocess.run(
        [sys.executable, "-c", example.replace("127.0.0.1:8001", server.target)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    assert re.match(prints, done.stdout)


def test_every_metric_is_in_the_table(server: ServerProcess) -> None:
    """An SRE finds each family of /metrics in the README, and no family that is not there."""
    served = set(re.findall(r"^# TYPE ((?:rollcall|grpc)_\w+) ", server.metrics(), flags=re.MULTILINE))
    listed = set(re.findall(r"^\| `((?:rollcall|grpc)_\w+)` \|", README, flags=re.MULTILINE))
    assert served == listed
