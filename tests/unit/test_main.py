"""The command line asks, serves and checks; what goes wrong is one clear line and an exit code."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import rollcall_client
from rollcall import __main__ as command_line
from rollcall import __version__
from rollcall.__main__ import COMMANDS, main
from rollcall.commands.progress_bar import ProgressBar
from rollcall.commands.serving import serve_sources
from rollcall.domain import errors
from rollcall.domain.explanation import ExplainRequest, Progress
from rollcall.domain.identity import Identity, Role
from rollcall.domain.inputs import Target, TextInput, Threshold, WordRef
from rollcall.domain.maps import MapKind
from rollcall.domain.verdicts import CheckLevel
from rollcall.edge.access.callers import parse_callers, token_digest
from rollcall.settings import AuthSettings, TlsSettings, load_settings
from tests.certificates import Authority
from tests.unit.edge import samples
from tests.unit.edge.fakes import FakeHouse, open_door

if TYPE_CHECKING:
    from pathlib import Path

    from rollcall.domain.model import ModelCard
    from rollcall.settings import Settings

NOBODY = "127.0.0.1:1"


async def ask(
    house: FakeHouse, *arguments: str, auth: AuthSettings | None = None, tls: TlsSettings | None = None
) -> int:
    """Run a command against a server in front of the house; return its exit code."""
    async with open_door(house, auth=auth, tls=tls) as door:
        return await asyncio.to_thread(main, [*arguments, "--target", f"127.0.0.1:{door.port}"])


# --- who asks ------------------------------------------------------------------------------------------------------


@pytest.fixture
def known(tmp_path: Path) -> AuthSettings:
    """Know one caller, by a token."""
    file = tmp_path / "callers.toml"
    file.write_text(f'[reviews]\nroles = "caller"\ntoken_sha256 = "{token_digest("good-token")}"\n')
    return AuthSettings(callers=file)


async def test_a_token_comes_from_a_file_or_the_environment(
    known: AuthSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody has to write a secret where others see it: on a command line."""
    house, file = FakeHouse(), tmp_path / "token"
    file.write_text("good-token\n")
    assert await ask(house, "explain", "text", auth=known) == 1
    assert "say who you are" in capsys.readouterr().err
    assert await ask(house, "explain", "text", "--token-file", str(file), auth=known) == 0
    monkeypatch.setenv("ROLLCALL_CLIENT_TOKEN", "good-token")
    assert await ask(house, "models", auth=known) == 0
    monkeypatch.setenv("ROLLCALL_CLIENT_TOKEN", "bad-token")
    assert await ask(house, "models", auth=known) == 1
    assert "bad-token" not in capsys.readouterr().err
    monkeypatch.setenv("ROLLCALL_CLIENT_TOKEN_FILE", str(file))
    assert await ask(house, "models", auth=known) == 0
    assert [asked.caller.name for asked in house.asked] == ["reviews"]


async def test_the_client_is_sure_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With certificates by options or by the environment the command speaks TLS, and says so where it fails."""
    authority, house = Authority(), FakeHouse()
    certificate, key = authority.server().write(tmp_path, "server")
    cert, own = authority.client().write(tmp_path, "client")
    ca = authority.write(tmp_path / "ca.pem")
    tls = TlsSettings(certificate=certificate, key=key, client_ca=ca)
    assert await ask(house, "models", "--ca", str(ca), "--timeout", "5", tls=tls) == 1
    assert "--cert" in capsys.readouterr().err
    assert await ask(house, "models", "--ca", str(ca), "--cert", str(cert), "--key", str(own), tls=tls) == 0
    for name, file in (("CA", ca), ("CERT", cert), ("KEY", own)):
        monkeypatch.setenv(f"ROLLCALL_CLIENT_{name}", str(file))
    assert await ask(house, "models", tls=tls) == 0
    monkeypatch.delenv("ROLLCALL_CLIENT_KEY")
    assert await ask(house, "models", tls=tls) == 2
    assert "cert and key belong together" in capsys.readouterr().err


def test_variables_of_commands_are_no_settings_of_a_server(folder: Path) -> None:
    """Somebody who asks and serves from one shell is not told of mistakes."""
    environ = {"ROLLCALL_CLIENT_TOKEN": "x", "ROLLCALL_CLIENT_TARGET": "y"}
    parsed = command_line.parser().parse_args(["serve", "--model", f"a={folder / 'model'}"])
    assert load_settings(serve_sources(parsed, environ)).models


# --- explain and models --------------------------------------------------------------------------------------------


async def test_explain_shows_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody at a terminal sees the flag and its reason, without colours where the output is no terminal."""
    assert await ask(FakeHouse(), "explain", "a good film") == 0
    shown = capsys.readouterr().out
    assert "INCONCLUSIVE" in shown
    assert "\x1b[" not in shown


async def test_explain_passes_every_option() -> None:
    """No option is accepted and ignored."""
    house = FakeHouse()
    options = "--text-pair second --model m --map raw-attention --map gradient-rollout --primary raw-attention"
    more = "--level standard --class positive --threshold a=b=0.93 --max-rows 9 --seed 7 --timeout 20"
    assert await ask(house, "explain", "first", *options.split(), *more.split()) == 0
    (asked,) = house.asked
    assert isinstance(asked, ExplainRequest)
    assert asked.deadline is not None
    assert replace(asked, request_id="", deadline=None) == ExplainRequest(
        request_id="",
        model="m",
        revision="",
        input=TextInput(text="first", text_pair="second"),
        target=Target(target="positive"),
        threshold=Threshold(label="a=b", probability=0.93),
        deadline=None,
        maps=(MapKind.RAW_ATTENTION, MapKind.GRADIENT_ROLLOUT),
        primary_map=MapKind.RAW_ATTENTION,
        check_level=CheckLevel.STANDARD,
        max_rows=9,
        seed=7,
    )


async def test_a_class_can_be_given_by_number() -> None:
    """A class that is written as a number is an index."""
    house = FakeHouse()
    assert await ask(house, "explain", "text", "--class", "1") == 0
    assert house.asked[0].target == Target(target=1)


class StarsHouse(FakeHouse):
    """Its labels are numbers."""

    def model(self, name: str) -> ModelCard:
        """Find the only model."""
        return replace(super().model(name), labels=("1", "2", "3", "4", "5"))


async def test_a_number_that_is_a_label_is_that_label() -> None:
    """Of one to five stars "1" is the first and not the second; a number that is no label is an index still."""
    house = StarsHouse()
    assert await ask(house, "explain", "text", "--class", "1", "--foil", "5") == 0
    assert await ask(house, "explain", "text", "--class", "0") == 0
    assert [asked.target for asked in house.asked] == [Target(target="1", foil="5"), Target(target=0)]


async def test_a_foil_is_asked_for() -> None:
    """By its label or its number, beside the class or alone."""
    house = FakeHouse()
    assert await ask(house, "explain", "text", "--class", "1", "--foil", "negative") == 0
    assert await ask(house, "explain", "text", "--foil", "0") == 0
    assert [asked.target for asked in house.asked] == [Target(target=1, foil="negative"), Target(foil=0)]


@pytest.mark.parametrize(("option", "word"), [("--word", WordRef(index=3)), ("--character", WordRef(character=3))])
async def test_a_word_is_asked_about(tmp_path: Path, option: str, word: WordRef) -> None:
    """By its number or by a character, of a text and of each line of a file; not of a picture."""
    house, file = FakeHouse(), tmp_path / "texts.txt"
    file.write_text("a b c d\ne f g h\n")
    assert await ask(house, "explain", "a text of words", option, "3") == 0
    assert await ask(house, "explain", "--file", str(file), option, "3") == 0
    assert [asked.input for asked in house.asked] == [
        TextInput(text=text, word=word) for text in ("a text of words", "a b c d", "e f g h")
    ]
    assert await ask(house, "explain", "--image", str(file), option, "3") == 2


STEPS = [Progress(stage=stage, rows=rows, planned_rows=400) for stage, rows in (("look", 8), ("thorough", 300))]


@pytest.mark.parametrize("options", ["--thorough", "--level thorough"])
async def test_thorough_checks_show_progress_beside_the_answer(
    capsys: pytest.CaptureFixture[str], options: str
) -> None:
    """Progress is on stderr; what is on stdout is the answer and nothing else."""
    house = FakeHouse(progress=STEPS)
    assert await ask(house, "explain", "a good film", *options.split(), "--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["verdict"]["flag"] == "INCONCLUSIVE"
    assert "300/400 rows" in said.err
    assert "thorough" in said.err
    (asked,) = house.asked
    assert isinstance(asked, ExplainRequest)
    assert asked.check_level is CheckLevel.THOROUGH


def test_the_bar_is_drawn_over_and_taken_away_on_a_terminal() -> None:
    """One line that fills up, and is gone when the answer comes."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    with ProgressBar(stream=terminal, width=80) as bar:
        for step in STEPS:
            bar.show(rollcall_client.Progress(stage=step.stage, rows=step.rows, planned_rows=step.planned_rows))
    drawn = terminal.getvalue()
    assert "\n" not in drawn
    lines = drawn.split("\r")
    assert " 75%|" in lines[2]
    assert "300/400 rows" in lines[2]
    assert lines[2].count("#") > lines[1].count("#")
    assert lines[-2].strip() == lines[-1] == ""


async def test_a_file_is_explained_line_by_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Each line that holds something gets a line of JSON with its number; options apply to all; failures are told."""
    file = tmp_path / "texts.txt"
    file.write_text("a good film\n\n" + "x" * 100_001 + "\nanother\n", encoding="utf-8")
    house = FakeHouse()
    assert await ask(house, "explain", "--file", str(file), "--seed", "7") == 1
    told = {line["line"]: line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert set(told) == {1, 3, 4}
    assert (told[1]["flag"], told[1]["predicted"]) == ("INCONCLUSIVE", "positive")
    assert "text.text: must have at most 100000 characters" in told[3]["error"]
    assert {asked.seed for asked in house.asked if isinstance(asked, ExplainRequest)} == {7}
    file.write_text("a good film", encoding="utf-8")
    assert await ask(FakeHouse(), "explain", "--file", str(file), "--json") == 0
    assert json.loads(capsys.readouterr().out)["explanation"]["attributions"]
    assert await ask(FakeHouse(), "explain", "--file", str(file), "--html", str(tmp_path / "x.html")) == 2
    assert await ask(FakeHouse(), "explain", "--file", str(tmp_path / "missing")) == 1


async def test_explain_writes_json_and_a_page(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Programs get JSON, browsers a page."""
    page = tmp_path / "report.html"
    assert await ask(FakeHouse(), "explain", "text", "--json", "--html", str(page)) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 70
    assert page.read_text().startswith("<!doctype html>")


async def test_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody sees which models are served, and whether they can be explained."""
    assert await ask(FakeHouse(), "models") == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"{samples.MODEL} (default)\n")
    assert "negative, positive" in shown
    assert (
        "gradient rollout: FAITHFUL in 81%, INCONCLUSIVE in 19% of 100 requests, mean A +0.70, ln E +31.5; of 20 "
        "FAITHFUL checked again 5 wrong (8.7% to 49.1%); since 2023-11-14"
    ) in shown
    assert "promise BROKEN: more than 5% of answers are wrong; 5 of the latest 20 answers" in shown
    assert await ask(FakeHouse(), "models", "--json") == 0
    (model,) = json.loads(capsys.readouterr().out)
    assert (model["ref"]["name"], model["task"]) == (samples.MODEL, "SINGLE_LABEL")
    assert model["record"]["maps"][0]["flags"] == {"FAITHFUL": 81, "INCONCLUSIVE": 19}
    assert model["record"]["since"] == "2023-11-14T22:13:20+00:00"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            errors.InvalidInput(
                errors.FieldViolation(field="text.text", description="has no words"),
                errors.FieldViolation(field="max_rows", description="is too large"),
            ),
            "rollcall: text.text: has no words\nrollcall: max_rows: is too large\n",
        ),
        (errors.ModelNotFound("m", "no model m"), "rollcall: no model m\n"),
        (errors.Unsupported("THOROUGH", "not available yet"), "rollcall: not available yet\n"),
        (errors.DeadlineTooShort("late"), "rollcall: no answer from 127.0.0.1:PORT within 30 s\n"),
    ],
)
async def test_refusals_are_explained(capsys: pytest.CaptureFixture[str], error: Exception, line: str) -> None:
    """What the server refuses is told line by line, with exit code 1."""
    async with open_door(FakeHouse(error=error)) as door:
        target = f"127.0.0.1:{door.port}"
        assert await asyncio.to_thread(main, ["explain", "text", "--target", target]) == 1
        assert capsys.readouterr() == ("", line.replace("PORT", str(door.port)))


def test_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    """Where no server is, the line says where it was sought and how to start one."""
    assert main(["explain", "text", "--target", NOBODY, "--timeout", "0.5"]) == 1
    line = f"rollcall: nothing answers at {NOBODY}; start a server with: rollcall serve --demo\n"
    assert capsys.readouterr().err == line


def test_a_page_that_cannot_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A file that cannot be written is named."""
    missing = tmp_path / "gone" / "report.html"

    async def run() -> int:
        return await ask(FakeHouse(), "explain", "text", "--html", str(missing))

    assert asyncio.run(run()) == 1
    assert capsys.readouterr().err == f"rollcall: {missing}: No such file or directory\n"


def test_values_that_no_server_could_read(capsys: pytest.CaptureFixture[str]) -> None:
    """A number that does not fit the wire is a mistake in the options."""
    assert main(["explain", "text", "--seed", "-1", "--target", NOBODY]) == 2
    assert capsys.readouterr().err.startswith("rollcall: ")


# --- serve and check-config ----------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with a model directory."""
    (tmp_path / "model").mkdir()
    return tmp_path


def settings_of(options: list[str]) -> Settings:
    """Read the settings that `serve` would run with."""
    parsed = command_line.parser().parse_args(["serve", *options])
    return load_settings(serve_sources(parsed, {}))


def test_serve_options_become_settings(folder: Path) -> None:
    """Options of `serve` win over the file."""
    config = folder / "rollcall.toml"
    config.write_text("[grpc]\nport = 5\nreflection = false\n")
    options = (
        f"--config {config} --model a={folder / 'model'} --model b={folder / 'model'} --grpc-port 0 --admin-port 6"
    )
    settings = settings_of(options.split())
    assert [model.name for model in settings.models] == ["a", "b"]
    assert (settings.grpc.port, settings.admin.port, settings.grpc.reflection) == (0, 6, False)


def test_demo_serves_the_packaged_model() -> None:
    """`--demo` needs nothing else: a model, and reflection for those who explore."""
    settings = settings_of(["--demo"])
    assert (settings.default_model, settings.grpc.reflection) == ("demo", True)


def test_mistakes_of_all_sources_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each mistake is a line with its place, and the exit code says that it is a matter of configuration."""
    config = folder / "rollcall.toml"
    config.write_text("[grpc]\nprot = 5\n")
    assert main(["serve", "--config", str(config), "--model", f"a={folder / 'gone'}", "--grpc-port", "99999"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"rollcall: {config}: grpc.prot: is not a setting; did you mean grpc.port?",
        "rollcall: --grpc-port: expected a whole number from 0 to 65535, got '99999'",
        f"rollcall: --model a={folder / 'gone'}: no directory or .onnx file {folder / 'gone'}",
    ]


def test_config_is_checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A settings file can be checked without starting anything."""
    config = folder / "rollcall.toml"
    config.write_text('[models.a]\npath = "model"\n')
    assert main(["check-config", str(config)]) == 0
    assert capsys.readouterr().out == f"{config}: no mistakes; models: a\n"
    config.write_text("[models.a]\n")
    assert main(["check-config", str(config)]) == 2
    assert (
        capsys.readouterr().err
        == "rollcall: models.a.path: is missing: the directory of the model, or its .onnx file\n"
    )


def test_a_token_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    """The entry goes to the file of callers, and knows the token, which is shown once and is not in it."""
    assert main(["token", "reviews@example", "--role", "caller", "--role", "auditor", "--tenant", "reviews"]) == 0
    said = capsys.readouterr()
    token = said.err.split()[-1]
    assert len(token) >= 43
    assert token not in said.out
    roles = frozenset({Role.CALLER, Role.AUDITOR})
    assert parse_callers(said.out.encode()).by_token(token) == Identity(
        name="reviews@example", tenant="reviews", roles=roles
    )


def test_a_token_needs_a_good_name(capsys: pytest.CaptureFixture[str]) -> None:
    """What the server would refuse is not made."""
    assert main(["token", "a b", "--role", "caller"]) == 2
    assert "expected names of callers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("[auth]\ncallers = 'wrong'", "wrong: is not valid TOML"),
        ("[auth]\njwt_keys_file = 'wrong'\njwt_issuer = 'i'\njwt_audience = 'a'", "wrong: is no set of JSON Web Keys"),
        ("[tls]\ncertificate = 'wrong'\nkey = 'wrong'", "wrong: the certificate is no PEM certificate"),
        ("[quota]\ntenants = 'wrong'", "wrong: is not valid TOML"),
        ("[audit]\npatterns = 'wrong'", "audit.patterns: "),
    ],
)
def test_files_are_checked_with_the_config(
    folder: Path, capsys: pytest.CaptureFixture[str], section: str, problem: str
) -> None:
    """A file that a server could not use is found before one is started."""
    (folder / "wrong").write_text("{wrong")
    config = folder / "rollcall.toml"
    config.write_text(f'{section}\n[models.a]\npath = "model"\n')
    assert main(["check-config", str(config)]) == 1
    assert problem in capsys.readouterr().err


# --- help ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["explain"],
        ["explain", "text", "--map", "nonsense"],
        ["explain", "text", "--threshold", "label"],
        ["explain", "text", "--threshold", "label=2"],
        ["serve", "--model", "no-directory"],
        ["dance"],
    ],
)
def test_wrong_options_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Options that make no sense are refused with a hint."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert "usage: rollcall" in capsys.readouterr().err


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command says what it does and what its options are."""
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    assert f"usage: rollcall {command}" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The version can be asked for."""
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"rollcall {__version__}\n"


def test_help_is_light() -> None:
    """Help does not wait for heavy packages."""
    program = (
        "import sys; from rollcall.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print({'torch', 'grpc', 'transformers', 'aiohttp'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert shown.stdout.splitlines()[-1] == "set()"


def test_a_policy_that_does_not_exist_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An operator learns of a misspelt policy before the first caller does."""
    model = tmp_path / "model"
    model.mkdir()
    config = tmp_path / "rollcall.toml"
    config.write_text(f'[explain]\npolicy = "standart"\n[models.m]\npath = "{model}"\n')
    assert main(["check-config", str(config)]) == 2
    assert "explain.policy: expected one of standard, got 'standart'" in capsys.readouterr().err
