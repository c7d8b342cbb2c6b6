"""The command line of the service, its models and its studies: `rollcall --help` lists the commands.

Exit codes: 0 done, 1 it failed, 2 the options or the settings are wrong. What fails says so on stderr, one line for
each thing that is wrong. Heavy packages are imported by the command that needs them, so that help is instant.

A new command is a row of COMMANDS: its name, what it does, its options, and the function that does it.
"""
# ruff: noqa: PLC0415 - imports wait for their command

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rollcall import __version__
from rollcall.audit import telling
from rollcall.audit.asking import ASKED, Asked
from rollcall.audit.commands import audit_options
from rollcall.commands.connecting import ask, connection_options, target_options
from rollcall.commands.explaining import explain, explain_options
from rollcall.commands.listing import models, models_options
from rollcall.commands.serving import check_config, check_config_options, serve, serve_options, token, token_options
from rollcall.console.arguments import console_options
from rollcall.domain.errors import RollcallError
from rollcall.ending import DONE, FAILED, WRONG, CommandError
from rollcall.models.commands import inspect, inspect_options
from rollcall.settings import SettingsError
from rollcall.studies.commands import StudyError, assess, assess_options, calibrate, calibrate_options
from rollcall.studies.flag.commands import flag_options, study_flag
from rollcall.studies.papers.commands import paper_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rollcall_client import AuditClient


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
        target_options(own)
        own.set_defaults(audit=partial(_ask_of_records, asked))


def _ask_of_records(asked: Asked, options: argparse.Namespace) -> int:
    from rollcall_client import AuditClient

    if asked.each:
        return ask(options, lambda client: _tell_each(asked, client, options), AuditClient)
    told = ask(options, lambda client: asked.question(client, options), AuditClient)
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
    connection_options(parser)


def _console(options: argparse.Namespace) -> int:
    from rollcall.console.commands import ConsoleError, console

    try:
        console(options)
    except ConsoleError as error:
        raise CommandError(WRONG, *error.lines) from error
    return DONE


COMMANDS = (
    Command(name="demo", help="serve the packaged model and explain four sentences", options=_demo_options, run=_tour),
    Command(name="serve", help="serve models until stopped", options=serve_options, run=serve),
    Command(name="explain", help="explain one decision of a running server", options=explain_options, run=explain),
    Command(
        name="models",
        help="list the models of a running server, or prove those of a repository",
        options=models_options,
        run=models,
    ),
    Command(
        name="check-config",
        help="say what is wrong with a settings file",
        options=check_config_options,
        run=check_config,
    ),
    Command(name="token", help="make a token and its entry in the file of callers", options=token_options, run=token),
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
