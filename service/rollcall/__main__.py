"""The command line of the service, its models and its studies: `rollcall --help` lists the commands.

Exit codes: 0 done, 1 it failed, 2 the options or the settings are wrong. What fails says so on stderr, one line for
each thing that is wrong. Heavy packages are imported by the command that needs them, so that help is instant.

A new command is a row of COMMANDS: its name, what it does, its options, and the function that does it.
"""
# ruff: noqa: PLC0415 - imports wait for their command

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rollcall import __version__
from rollcall.audit import telling
from rollcall.audit.asking import ASKED, Asked
from rollcall.audit.commands import audit_options
from rollcall.bringing.commands import HERE, THERE, There
from rollcall.console.arguments import console_options
from rollcall.domain.errors import RollcallError
from rollcall.domain.identity import Role
from rollcall.domain.maps import MapKind
from rollcall.domain.verdicts import CheckLevel
from rollcall.models.commands import inspect, inspect_options
from rollcall.settings import CLIENT_PREFIX, Entry, Mistake, Settings, SettingsError, Sources
from rollcall.studies.commands import StudyError, assess, assess_options, calibrate, calibrate_options
from rollcall.studies.flag.commands import flag_options, study_flag
from rollcall.studies.papers.commands import paper_options
from rollcall.verdict.policies import POLICIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Self, TextIO

    from rollcall_client import AuditClient, Client, Explanation, MapRecord, Model, ModelRecord, Progress
    from rollcall_client import RollcallError as CallFailed

Answer = TypeVar("Answer")
AClient = TypeVar("AClient", bound="Client")

DONE, FAILED, WRONG = 0, 1, 2
DEFAULT_TARGET = "127.0.0.1:8001"
DEFAULT_TIMEOUT_SECONDS = 30.0
THOROUGH_TIMEOUT_SECONDS = 600.0
TOKEN_BYTES = 32


class CommandError(Exception):
    """A command cannot do what it was asked: its exit code, and one line for each reason."""

    def __init__(self, code: int, *lines: str) -> None:
        super().__init__("; ".join(lines))
        self.code = code
        self.lines = lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command; `run` returns the exit code."""

    name: str
    help: str
    options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    options = parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except SettingsError as error:
        return _complain(WRONG, *map(str, error.mistakes))
    except CommandError as error:
        return _complain(error.code, *error.lines)
    except RollcallError as error:
        return _complain(FAILED, str(error))
    except OSError as error:
        return _complain(FAILED, f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        return _complain(FAILED, "interrupted")


def parser() -> argparse.ArgumentParser:
    """Build the parser from COMMANDS."""
    whole = argparse.ArgumentParser(
        prog="rollcall", description="Explanations of decisions that say whether they may be relied on."
    )
    whole.add_argument("--version", action="version", version=f"rollcall {__version__}")
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        own = commands.add_parser(command.name, help=command.help, description=command.help)
        command.options(own)
        own.set_defaults(run=command.run)
    return whole


def _complain(code: int, *lines: str) -> int:
    for line in lines:
        print(f"rollcall: {line}", file=sys.stderr)
    return code


def _load(sources: Sources) -> Settings:
    """Read the settings and check what their own room cannot know: which policies there are."""
    settings = sources.load()
    if settings.explain.policy not in POLICIES:
        expected = f"expected one of {', '.join(sorted(POLICIES))}, got {settings.explain.policy!r}"
        raise SettingsError(Mistake(place="explain.policy", problem=expected))
    return settings


# --- serve and check-config ------------------------------------------------------------------------------------------


def _serve_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--demo", action="store_true", help="serve the packaged model as 'demo', with reflection on")
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        type=_named_path,
        metavar="NAME=PATH",
        help="serve this model, a directory or an .onnx file; may be repeated",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings in TOML; ROLLCALL_* variables win over it"
    )
    parser.add_argument(
        "--devices", metavar="D,D", help='one process for each of these, on one port: "cpu,cpu" or "cuda:0,cuda:1"'
    )
    parser.add_argument("--grpc-port", type=int, metavar="N", help="port for gRPC, 0 for a free one (default 8001)")
    parser.add_argument("--admin-port", type=int, metavar="N", help="port for metrics and probes (default 8002)")


def _named_path(text: str) -> Entry:
    name, separator, path = text.partition("=")
    if not (name and separator and path):
        message = f"expected NAME=PATH, got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return Entry(place=f"--model {text}", key=("models", name, "path"), value=path)


def _serve(options: argparse.Namespace) -> int:
    settings = _load(serve_sources(options, os.environ))
    if settings.devices:
        from rollcall.supervisor import supervise
        from rollcall.work import work

        return supervise(settings, work)
    from rollcall import app

    return app.serve(settings)


def serve_sources(options: argparse.Namespace, environ: Mapping[str, str]) -> Sources:
    """Collect what `serve` takes its settings from."""
    ports = {"grpc": options.grpc_port, "admin": options.admin_port}
    overrides = (
        *(_demo() if options.demo else ()),
        *options.model,
        *([Entry(place="--devices", key=("devices",), value=options.devices)] if options.devices is not None else ()),
        *(Entry(place=f"--{s}-port", key=(s, "port"), value=n) for s, n in ports.items() if n is not None),
    )
    return Sources(config=options.config, environ=dict(environ), overrides=overrides)


def _demo() -> list[Entry]:
    from rollcall import demo

    directory = demo.model_directory()
    return [
        Entry(place="--demo", key=("models", "demo", "path"), value=directory),
        Entry(place="--demo", key=("grpc", "reflection"), value=True),
        Entry(place="--demo", key=("auth", "dangerously_reflect_to_anyone"), value=True),
        Entry(place="--demo", key=("models", "demo", "audit_mode"), value="full"),
    ]


def _check_config_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="FILE", help="settings in TOML")


def _check_config(options: argparse.Namespace) -> int:
    settings = _load(Sources(config=options.config, environ=dict(os.environ)))
    _read_files(settings)
    names = ", ".join(model.name for model in settings.models)
    print(f"{options.config}: no mistakes; models: {names}")
    return DONE


def _read_files(settings: Settings) -> None:
    """Read what says who may ask, who this is, and what is masked, as the server would. Raises FileRejected."""
    from rollcall.audit.journal import recognisers_of
    from rollcall.edge.access.authenticate import Authenticator
    from rollcall.edge.access.quotas import quota_of
    from rollcall.edge.tls import server_credentials

    Authenticator(settings.auth)
    server_credentials(settings.tls)
    quota_of(settings.quota)
    recognisers_of(settings.audit)


def _token_options(parser: argparse.ArgumentParser) -> None:
    roles = [role.value for role in Role]
    parser.add_argument("name", help="who will have it")
    parser.add_argument("--role", action="append", required=True, choices=roles, help="what for; may be repeated")
    parser.add_argument("--tenant", metavar="NAME", help="on whose behalf (default: the name)")


def _token(options: argparse.Namespace) -> int:
    """The entry on stdout, for the file; the token itself only on stderr, once."""
    from rollcall.edge.access.callers import parse_callers, token_digest

    token = secrets.token_urlsafe(TOKEN_BYTES)
    values = {"tenant": options.tenant or options.name, "roles": options.role, "token_sha256": [token_digest(token)]}
    entry = "\n".join(
        [f"[{json.dumps(options.name)}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    )
    try:
        parse_callers(entry.encode())
    except ValueError as error:
        raise CommandError(WRONG, str(error)) from error
    print(entry)
    print(f"rollcall: the token of {options.name}, shown this once: {token}", file=sys.stderr)
    return DONE


# --- explain and models ----------------------------------------------------------------------------------------------


def _target_options(parser: argparse.ArgumentParser, usual: float | None = None) -> None:
    _connection_options(parser)
    _file_option(parser, "token-file", f"holds the token that says who you are; or {CLIENT_PREFIX}TOKEN")
    seconds = f"{DEFAULT_TIMEOUT_SECONDS:g}, for thorough checks {THOROUGH_TIMEOUT_SECONDS:g}"
    parser.add_argument(
        "--timeout",
        type=float,
        metavar="S",
        help=f"seconds to wait (default {seconds if usual is None else format(usual, 'g')})",
    )
    parser.add_argument("--json", action="store_true", help="write JSON")


def _connection_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target",
        default=_variable("TARGET", DEFAULT_TARGET),
        metavar="HOST:PORT",
        help="the server to ask (default %(default)s)",
    )
    files = {
        "ca": "certificates (PEM) that the server's must lead to; without them, plaintext",
        "cert": "your certificate (PEM), where the server asks for one",
        "key": "its private key (PEM)",
    }
    for name, use in files.items():
        _file_option(parser, name, use)


def _file_option(parser: argparse.ArgumentParser, name: str, use: str) -> None:
    variable = name.upper().replace("-", "_")
    parser.add_argument(
        f"--{name}",
        type=Path,
        default=_variable(variable),
        metavar="FILE",
        help=f"{use} ({CLIENT_PREFIX}{variable})",
    )


def _explain_options(parser: argparse.ArgumentParser) -> None:
    maps = [kind.value.replace("_", "-") for kind in MapKind]
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("text", nargs="?", help="what to classify and explain")
    what.add_argument(
        "--file",
        type=Path,
        metavar="FILE",
        help="explain each line of a file; print a line of JSON for each",
    )
    what.add_argument("--image", type=Path, metavar="FILE", help="explain a picture, a PNG or JPEG file")
    parser.add_argument("--text-pair", metavar="TEXT", help="second text, for models that read pairs")
    parser.add_argument("--model", default="", metavar="NAME", help="which model (default: the server's default)")
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        choices=maps,
        help="a map to return; may be repeated (default: the four usual ones)",
    )
    parser.add_argument("--primary", choices=maps, help="the map whose flag is the answer's flag")
    depth = parser.add_mutually_exclusive_group()
    depth.add_argument("--level", choices=[level.value for level in CheckLevel], help="how much to check")
    depth.add_argument(
        "--thorough",
        dest="level",
        action="store_const",
        const=CheckLevel.THOROUGH.value,
        help="check everything, with progress on stderr: --level thorough",
    )
    parser.add_argument(
        "--class", dest="target_class", metavar="LABEL|INDEX", help="explain this class, not the predicted one"
    )
    parser.add_argument(
        "--threshold", type=_labelled_probability, metavar="LABEL=P", help="decide by: probability of LABEL at least P"
    )
    parser.add_argument("--max-rows", type=int, metavar="N", help="most counterfactual rows to spend")
    parser.add_argument("--seed", type=int, metavar="N", help="seed of all random draws")
    parser.add_argument("--decision", default="", metavar="REF", help="what you call this decision, for its record")
    parser.add_argument("--reported", metavar="LABEL", help="the label that was acted on, to be compared")
    parser.add_argument("--subject", default="", metavar="REF", help="what you call the person whom it is about")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write a page for the browser")
    _target_options(parser)


def _labelled_probability(text: str) -> tuple[str, float]:
    label, separator, probability = text.rpartition("=")
    try:
        value = float(probability)
    except ValueError:
        value = -1.0
    if not (label and separator and 0 < value < 1):
        message = f"expected LABEL=P with P between 0 and 1, got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return label, value


def _explain(options: argparse.Namespace) -> int:
    if options.file is not None:
        return _explain_file(options)
    explanation = _ask(options, lambda client: _explanation(client, options))
    if options.html is not None:
        from rollcall_client.html import render_page

        options.html.write_text(render_page([explanation]), encoding="utf-8")
    if options.json:
        print(json.dumps(explanation.to_dict(), ensure_ascii=False, indent=2))
        return DONE
    from rollcall_client.terminal import render

    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    print(render(explanation, color=color, width=shutil.get_terminal_size().columns))
    return DONE


def _explain_file(options: argparse.Namespace) -> int:
    """Explain the lines of a file that hold something; the exit code tells whether all could be."""
    if options.html is not None:
        raise CommandError(WRONG, "--html shows one explanation: leave out --file")
    with options.file.open(encoding="utf-8") as lines:
        failed = _ask(options, lambda client: _explain_lines(client, lines, options))
    return FAILED if failed else DONE


def _explain_lines(client: Client, lines: Iterable[str], options: argparse.Namespace) -> int:
    """Print what became of each line, by its number from 1; return how many could not be explained."""
    from rollcall_client import Question

    question = _question(options)
    pair = question.pop("text_pair", None)
    texts = ((number, line.rstrip("\r\n")) for number, line in enumerate(lines, start=1) if line.strip())
    questions = (Question(text=text, text_pair=pair, request_id=f"line-{number}") for number, text in texts)
    failed = 0
    for result in client.explain_many(questions, timeout=options.timeout, **question):
        told: dict[str, Any] = {"line": int(result.request_id.removeprefix("line-"))}
        if result.explanation is None:
            failed += 1
            told |= {"error": str(result.error)}
        elif options.json:
            told |= {"explanation": result.explanation.to_dict()}
        else:
            told |= _in_short(result.explanation)
        print(json.dumps(told, ensure_ascii=False), flush=True)
    return failed


def _in_short(explanation: Explanation) -> dict[str, Any]:
    """What a table of many decisions needs of one."""
    shown, record = explanation.shown, explanation.audit
    return {
        "predicted": explanation.prediction.predicted,
        "flag": explanation.flag.name,
        "reason": explanation.reason.name,
        "map": explanation.primary_map.name,
        "shown": {"map": shown.map.name, "flag": shown.verdict.flag.name},
        "explanation_id": explanation.explanation_id,
        "record_id": record.record_id if record else None,
    }


def _explanation(client: Client, options: argparse.Namespace) -> Explanation:
    """Ask, with progress on stderr where it will take a while."""
    from rollcall_client import CheckLevel as WireLevel

    question = _question(options)
    if options.image is not None:
        if options.text_pair is not None:
            raise CommandError(WRONG, "--text-pair goes with a text: leave out --image")
        return client.explain_image(options.image, **question)
    if question.get("level") is not WireLevel.THOROUGH:
        return client.explain(options.text, **question)
    with ProgressBar(stream=sys.stderr, width=shutil.get_terminal_size().columns) as bar:
        return client.explain_stream(options.text, progress=bar.show, **question)


@dataclass(slots=True, kw_only=True)
class ProgressBar:
    """Draws how far an explanation is: over and over on one line of a terminal, elsewhere a line for each quarter."""

    stream: TextIO
    width: int
    started: float = field(default_factory=time.monotonic)
    _drawn: bool = False
    _told: tuple[str, int] = ("", -1)

    def show(self, progress: Progress) -> None:
        """Draw the newest state."""
        done = progress.rows / progress.planned_rows if progress.planned_rows else 0.0
        seconds = time.monotonic() - self.started
        counted = f"{progress.rows}/{progress.planned_rows} rows [{seconds:.0f}s, {progress.stage}]"
        if self.stream.isatty():
            cells = max(10, min(40, self.width - len(counted) - 10))
            full = min(cells, int(done * cells))
            line = f"{done:>4.0%}|{'#' * full}{'.' * (cells - full)}| {counted}"
            print(f"\r{line:<{self.width - 1}}"[: self.width], end="", file=self.stream, flush=True)
            self._drawn = True
        elif self._told != (told := (progress.stage, int(4 * done))):
            print(f"rollcall: {done:.0%} {counted}", file=self.stream, flush=True)
            self._told = told

    def __enter__(self) -> Self:
        """Begin with nothing drawn."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the line off the terminal."""
        if self._drawn:
            print("\r" + " " * (self.width - 1), end="\r", file=self.stream, flush=True)


def _question(options: argparse.Namespace) -> dict[str, Any]:
    """Turn options into keyword arguments of the client; what was left out stays out."""
    from rollcall_client import CheckLevel as WireLevel
    from rollcall_client import MapKind as WireMap
    from rollcall_client import Threshold

    def kind(name: str) -> WireMap:
        return WireMap[name.upper().replace("-", "_")]

    asked = options.target_class
    question = {
        "text_pair": options.text_pair,
        "model": options.model or None,
        "maps": [kind(name) for name in options.map] or None,
        "primary_map": options.primary and kind(options.primary),
        "level": options.level and WireLevel[options.level.upper()],
        "target": int(asked) if asked is not None and asked.isdecimal() else asked,
        "threshold": options.threshold and Threshold(label=options.threshold[0], probability=options.threshold[1]),
        "max_rows": options.max_rows,
        "seed": options.seed,
        "decision_ref": options.decision or None,
        "subject_ref": options.subject or None,
        "reported_label": options.reported,
    }
    return {name: value for name, value in question.items() if value is not None}


def _models_options(parser: argparse.ArgumentParser) -> None:
    _target_options(parser)
    actions = parser.add_subparsers(metavar="ACTION", title="actions (default: list)")
    listing = actions.add_parser("list", help="list the models of a running server")
    _target_options(listing)
    for action in HERE:
        own = actions.add_parser(action.name, help=action.help, description=action.help)
        action.options(own)
        own.add_argument("--json", action="store_true", help="write JSON")
        own.set_defaults(act=action.run)
    for asked in THERE:
        own = actions.add_parser(asked.name, help=asked.help, description=asked.help)
        asked.options(own)
        _target_options(own, asked.timeout)
        own.set_defaults(act=partial(_ask_server, asked))


def _ask_server(asked: There, options: argparse.Namespace) -> int:
    from rollcall.bringing.peers import Server

    timeout = asked.timeout if options.timeout is None else options.timeout
    return asked.run(options, Server(target=options.target, timeout=timeout, **_who(options)))


def _models(options: argparse.Namespace) -> int:
    if hasattr(options, "act"):
        return int(options.act(options))
    models = _ask(options, lambda client: client.models())
    if options.json:
        print(json.dumps([model.to_dict() for model in models], ensure_ascii=False, indent=2))
    else:
        print("\n\n".join(_described(model) for model in models))
    return DONE


def _described(model: Model) -> str:
    ref, calibration = model.ref, model.calibration
    failed = [test for test in model.self_tests if not test.passed]
    facts = {
        "decides": f"{model.task.words}: {', '.join(model.labels)}",
        "by": f"{model.threshold.label} at {model.threshold.probability:g} or more"
        if model.threshold
        else "the largest",
        "weights": f"{ref.digest} {ref.revision}".strip(),
        "runs on": f"{ref.backend}, {ref.device}, {ref.dtype} ({model.family})",
        "reads": _reads(model),
        "maps": ", ".join(kind.words for kind in model.maps),
        "lacks": "; ".join(f"{missing.map.words}: {missing.reason}" for missing in model.missing_maps),
        "flags": f"calibration {calibration.id} {calibration.statement}".strip() if calibration else "not calibrated",
        "explains": "yes"
        if model.explainable
        else "no: " + "; ".join(f"{test.name}: {test.detail}" for test in failed),
    }
    head = ref.name + (" (default)" if model.is_default else "")
    lines = [head, *(f"  {name:9}{fact}" for name, fact in facts.items() if fact)]
    return "\n".join(lines + [f"  {'so far':9}{fact}" for fact in _so_far(model.record)])


def _reads(model: Model) -> str:
    from rollcall_client import Modality

    if model.modality is Modality.IMAGE:
        return f"images, as {model.max_tokens} tokens" + ("; experimental" if model.experimental else "")
    return f"{model.max_tokens} tokens, {model.max_characters} characters" + ("; pairs" if model.text_pairs else "")


def _so_far(record: ModelRecord | None) -> list[str]:
    """What the answers of a model came to, a line for each map that was asked for, and one for the promise."""
    if record is None:
        return []
    lines = [_map_so_far(found) for found in record.maps]
    promise = record.promise
    if promise is not None:
        kept = f"BROKEN: more than {promise.alpha:.0%} of answers are wrong" if promise.broken else "kept"
        lines.append(
            f"promise {kept}; {promise.wrong} of the latest {promise.answers:,} answers checked again were wrong "
            f"(95 % lower limit {promise.lower_limit:.1%}, promised at most {promise.alpha:.0%})"
        )
    return [f"{line}; since {record.since:%Y-%m-%d}" for line in lines]


def _map_so_far(found: MapRecord) -> str:
    flags = ", ".join(f"{flag.name} in {found.share(flag):.0%}" for flag in found.flags)
    mean = "" if found.mean_alignment is None else f", mean A {found.mean_alignment:+.2f}"
    again = "".join(
        f"; of {one.rechecked:,} {one.flag.name} checked again {one.wrong:,} wrong ({one.lower:.1%} to {one.upper:.1%})"
        for one in found.rechecked
    )
    return f"{found.map.words}: {flags} of {found.requests:,} requests{mean}, ln E {found.log_e_value:+.1f}{again}"


def _variable(name: str, default: str | None = None) -> str | None:
    """What a variable of the environment says for an option that is not given."""
    return os.environ.get(CLIENT_PREFIX + name) or default


def _who(options: argparse.Namespace) -> dict[str, Any]:
    """How to connect, and as whom. Raises OSError where the token's file cannot be read."""
    token = options.token_file.read_text().strip() if options.token_file else _variable("TOKEN")
    return {"ca": options.ca, "cert": options.cert, "key": options.key, "token": token}


def _ask(
    options: argparse.Namespace, question: Callable[[AClient], Answer], kind: type[AClient] | None = None
) -> Answer:
    """Put a question to the server, through a `kind` of client. Raises CommandError with what is wrong."""
    from rollcall_client import Client
    from rollcall_client import RollcallError as CallFailed

    make: Any = kind or Client
    try:
        with make(options.target, timeout=_seconds(options), **_who(options)) as client:
            return question(client)
    except CallFailed as error:
        raise CommandError(FAILED, *_reasons(error, options)) from error
    except (TypeError, ValueError) as error:
        raise CommandError(WRONG, str(error)) from error


def _seconds(options: argparse.Namespace) -> float:
    """How long to wait."""
    thorough = getattr(options, "level", None) == CheckLevel.THOROUGH.value
    usual = THOROUGH_TIMEOUT_SECONDS if thorough else DEFAULT_TIMEOUT_SECONDS
    return usual if options.timeout is None else float(options.timeout)


def _reasons(error: CallFailed, options: argparse.Namespace) -> list[str]:
    """Say what a failed call means here. A service that is there but busy says when to come back; nobody does not."""
    from rollcall_client import DeadlineExceeded, InvalidArgument, Unavailable

    if isinstance(error, Unavailable) and error.retry_after is None:
        trust = "; or it does not trust you, nor you it (--ca, --cert, --key)" if options.ca else ""
        return [f"nothing answers at {options.target}{trust or '; start a server with: rollcall serve --demo'}"]
    if isinstance(error, DeadlineExceeded):
        return [f"no answer from {options.target} within {_seconds(options):g} s"]
    if isinstance(error, InvalidArgument) and error.violations:
        return [f"{field}: {description}" for field, description in error.violations]
    return [error.message]


def _demo_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/demo"),
        metavar="DIRECTORY",
        help="where the page goes (default %(default)s)",
    )


def _tour(options: argparse.Namespace) -> int:
    from rollcall.demo.tour import tour

    return tour(options.out)


def _ended(study: Callable[[argparse.Namespace], bool]) -> Callable[[argparse.Namespace], int]:
    """A command of a study, which says whether all that was asked of it holds."""

    def run(options: argparse.Namespace) -> int:
        try:
            return DONE if study(options) else FAILED
        except StudyError as error:
            raise CommandError(WRONG, str(error)) from error

    return run


def _study_options(parser: argparse.ArgumentParser) -> None:
    studies = parser.add_subparsers(title="studies", metavar="STUDY", required=True)
    flag = "how often is the flag wrong? models whose truth is known"
    own = studies.add_parser("flag", help=flag, description=flag)
    flag_options(own)
    own.set_defaults(study=study_flag)
    paper_options(studies)


def _audit_options(parser: argparse.ArgumentParser) -> None:
    commands = audit_options(parser)
    for asked in ASKED:
        own = commands.add_parser(asked.name, help=asked.help, description=asked.help)
        asked.options(own)
        _target_options(own)
        own.set_defaults(audit=partial(_ask_of_records, asked))


def _ask_of_records(asked: Asked, options: argparse.Namespace) -> int:
    from rollcall_client import AuditClient

    if asked.each:
        return _ask(options, lambda client: _tell_each(asked, client, options), AuditClient)
    told = _ask(options, lambda client: asked.question(client, options), AuditClient)
    print(telling.written(told) if options.json else "\n".join(asked.lines(told)))
    return DONE


def _tell_each(asked: Asked, client: AuditClient, options: argparse.Namespace) -> int:
    for each in asked.question(client, options):
        print(*asked.lines(each), sep="\n", flush=True)
    return DONE


def _audit(options: argparse.Namespace) -> int:
    from rollcall.audit.commands import AuditError, audit

    try:
        return audit(options)
    except AuditError as error:
        raise CommandError(FAILED, str(error)) from error


def _console_options(parser: argparse.ArgumentParser) -> None:
    console_options(parser)
    _connection_options(parser)


def _console(options: argparse.Namespace) -> int:
    from rollcall.console.commands import ConsoleError, console

    try:
        console(options)
    except ConsoleError as error:
        raise CommandError(WRONG, *error.lines) from error
    return DONE


COMMANDS = (
    Command(name="demo", help="serve the packaged model and explain four sentences", options=_demo_options, run=_tour),
    Command(name="serve", help="serve models until stopped", options=_serve_options, run=_serve),
    Command(name="explain", help="explain one decision of a running server", options=_explain_options, run=_explain),
    Command(
        name="models",
        help="list the models of a running server, or prove those of a repository",
        options=_models_options,
        run=_models,
    ),
    Command(
        name="check-config",
        help="say what is wrong with a settings file",
        options=_check_config_options,
        run=_check_config,
    ),
    Command(name="token", help="make a token and its entry in the file of callers", options=_token_options, run=_token),
    Command(
        name="inspect",
        help="show where an exported file's attention is, layer by layer",
        options=inspect_options,
        run=inspect,
    ),
    Command(
        name="calibrate",
        help="give a model's flags their promise: measure it on held-out texts",
        options=calibrate_options,
        run=_ended(calibrate),
    ),
    Command(
        name="assess",
        help="may a model's maps be shown to users? one page on a sample of texts",
        options=assess_options,
        run=_ended(assess),
    ),
    Command(
        name="audit",
        help="verify, search, replay, review, hold, erase and export records",
        options=_audit_options,
        run=_audit,
    ),
    Command(
        name="console",
        help="serve pages for auditors, reviewers and officers: search, review, verify, hold, erase",
        options=_console_options,
        run=_console,
    ),
    Command(
        name="study",
        help="run a study and write its report",
        options=_study_options,
        run=_ended(lambda options: options.study(options)),
    ),
)

if __name__ == "__main__":
    raise SystemExit(main())
