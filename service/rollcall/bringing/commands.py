"""`rollcall models ...`: what is done with a repository here, and what is asked of a server. Heavy imports wait."""
# ruff: noqa: PLC0415, T201 - imports wait for their command, which prints its answer

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rollcall.bringing.compare_command import compare_models, compare_options
from rollcall.bringing.import_command import import_model, import_options
from rollcall.bringing.names import named_revision, plain_name
from rollcall.ending import DONE, FAILED, WRONG, CommandError

if TYPE_CHECKING:
    from rollcall.bringing.peers import Server

LOAD_SECONDS = 600.0
"""To build and prove a large model."""
ANSWER_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """What is done with files; `run` returns the exit code."""

    name: str
    help: str
    options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class There:
    """What a server is asked for; `timeout` in seconds, unless told otherwise."""

    name: str
    help: str
    timeout: float
    options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Server], int]


def _verify_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="as repository.directory")


def _verify(options: argparse.Namespace) -> int:
    """FAILED where anything cannot be served, or nothing is there."""
    from rollcall.bringing.proving import prove_repository

    try:
        found = list(prove_repository(options.directory))
    except OSError as error:
        raise CommandError(WRONG, f"{options.directory} cannot be read: {error.strerror}") from error
    if options.json:
        print(json.dumps([one.to_dict() for one in found], indent=2))
    else:
        print("\n".join(map(str, found)) or f"{options.directory} holds no revision of a model")
    return FAILED if any(one.problem for one in found) or not found else DONE


def _load_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", type=named_revision, metavar="NAME[@REVISION]", help="which (default: its newest revision)"
    )


def _load(options: argparse.Namespace, server: Server) -> int:
    from rollcall.bringing.asking import load

    name, revision = options.model
    serving = load(server, name, revision)
    told = {"model": name, "revision": serving}
    print(json.dumps(told) if options.json else f"{name} {serving} is served")
    return DONE


def _no_options(_: argparse.ArgumentParser) -> None:
    """Nothing but what everybody is asked."""


def _index(options: argparse.Namespace, server: Server) -> int:
    from rollcall.bringing.asking import index

    found = index(server)
    print(json.dumps([asdict(one) for one in found], indent=2) if options.json else "\n".join(map(str, found)))
    return DONE


def _unload_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=plain_name, metavar="NAME", help="which")


def _unload(options: argparse.Namespace, server: Server) -> int:
    from rollcall.bringing.asking import unload

    unload(server, options.model)
    print(json.dumps({"model": options.model}) if options.json else f"{options.model} takes no further requests")
    return DONE


HERE = (
    Here(
        name="import",
        help="bring a model of another server into a repository, and prove it",
        options=import_options,
        run=import_model,
    ),
    Here(
        name="verify",
        help="load and prove every revision of a repository, without serving it",
        options=_verify_options,
        run=_verify,
    ),
)
THERE = (
    There(
        name="compare",
        help="compare another server's predictions with ours, text by text",
        timeout=ANSWER_SECONDS,
        options=compare_options,
        run=compare_models,
    ),
    There(
        name="index",
        help="list what a server serves, and the revisions of its repository that it does not",
        timeout=ANSWER_SECONDS,
        options=_no_options,
        run=_index,
    ),
    There(
        name="load",
        help="have a server take a model of its repository, where repository.mode is explicit",
        timeout=LOAD_SECONDS,
        options=_load_options,
        run=_load,
    ),
    There(
        name="unload",
        help="have a server take no further requests for a model, and give back its memory",
        timeout=LOAD_SECONDS,
        options=_unload_options,
        run=_unload,
    ),
)
