"""`rollcall models compare`: its options, and what it prints. Heavy packages wait until it runs."""
# ruff: noqa: PLC0415, T201 - imports wait for their command, which prints its answer

from __future__ import annotations

import argparse
import json
import os
import ssl
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rollcall.bringing.names import plain_name
from rollcall.ending import DONE, FAILED, WRONG, CommandError
from rollcall.settings import CLIENT_PREFIX, DEFAULT_TARGET

if TYPE_CHECKING:
    from rollcall.bringing.comparing import Compared
    from rollcall.bringing.peers import Server
    from rollcall.bringing.tensors import Peer
    from rollcall_client import Client

HTTPS = "https://"
HTTP = ("http://", HTTPS)


def compare_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options; `--target` and what goes with it are everybody's."""
    parser.add_argument("model", type=plain_name, metavar="NAME", help="of our model")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="texts, one a line")
    parser.add_argument(
        "--ours",
        default=os.environ.get(f"{CLIENT_PREFIX}TARGET") or DEFAULT_TARGET,
        metavar="HOST:PORT",
        help="our server (default %(default)s), for which --ca, --cert, --key and --token-file are",
    )
    parser.add_argument("--their-model", metavar="NAME", help="what the other server calls it (default: the same)")
    parser.add_argument("--their-token-file", type=Path, metavar="FILE", help="holds a token for the other server")
    parser.add_argument("--their-ca", type=Path, metavar="FILE", help="certificates (PEM) that its own must lead to")
    parser.add_argument("--input", default="", metavar="NAME", help="its input for texts (default: text, or the first)")
    parser.add_argument(
        "--tokenizer", type=Path, metavar="DIRECTORY", help="for a model that takes ids: what makes them of texts"
    )
    parser.add_argument("--output", default="", metavar="NAME", help="its output of classes (default: what looks so)")
    parser.add_argument("--gives", choices=["logits", "probabilities"], help="what that is (default: as it looks)")
    parser.add_argument(
        "--tolerance", type=float, default=1e-4, metavar="P", help="of a probability (default %(default)g)"
    )


def compare_models(options: argparse.Namespace, server: Server) -> int:
    """DONE if all decisions are the same and all probabilities close, FAILED else.

    Raises CallFailed, CommandError, OSError.
    """
    from rollcall.bringing.report import Report
    from rollcall.bringing.tensors import AnswerError
    from rollcall_client import Client
    from rollcall_client import RollcallError as OursFailed

    if (options.ours, options.model) == (server.target, options.their_model or options.model):
        raise CommandError(WRONG, "--target is our own server and model: name the other one, or --ours")
    try:
        with Client(
            options.ours, timeout=server.timeout, ca=server.ca, cert=server.cert, key=server.key, token=server.token
        ) as ours:
            found = _compared(options, server, ours)
    except OursFailed as error:
        raise CommandError(FAILED, f"our server at {options.ours}: {error.message}") from error
    except AnswerError as error:
        raise CommandError(FAILED, f"{server.target}: {error}") from error
    except ValueError as error:
        raise CommandError(WRONG, str(error)) from error
    report = Report(found=found, tolerance=options.tolerance)
    print(json.dumps(report.to_dict(), indent=2, ensure_ascii=False) if options.json else report)
    return DONE if report.holds else FAILED


def _trust(options: argparse.Namespace, target: str) -> ssl.SSLContext | None:
    """Whom the certificate of a server over HTTP must lead to; None: whom the system trusts."""
    if options.their_ca is None:
        return None
    if not target.startswith(HTTPS):
        raise CommandError(WRONG, f"--their-ca is for https, and {target} has no certificate")
    try:
        return ssl.create_default_context(cafile=options.their_ca)
    except OSError as error:
        raise CommandError(FAILED, f"--their-ca {options.their_ca}: {error.strerror or error}") from error


def _compared(options: argparse.Namespace, server: Server, ours: Client) -> tuple[Compared, ...]:
    from tqdm import tqdm

    from rollcall.bringing.comparing import Question, ask_of, compare
    from rollcall.bringing.peers import GrpcPeer, HttpPeer
    from rollcall.domain.decision import Task
    from rollcall_client import Task as WireTask

    with options.data.open(encoding="utf-8") as file:
        lines = [(number, line.rstrip("\r\n")) for number, line in enumerate(file, start=1) if line.strip()]
    token = options.their_token_file.read_text().strip() if options.their_token_file else None
    theirs = replace(server, ca=options.their_ca, cert=None, key=None, token=token)
    with ExitStack() as closing:
        peer: Peer = (
            HttpPeer(target=server.target, timeout=server.timeout, trust=_trust(options, server.target), token=token)
            if server.target.startswith(HTTP)
            else GrpcPeer(server=theirs, stub=closing.enter_context(theirs.stub()))
        )
        name, known = options.their_model or options.model, ours.model(options.model)
        if known.task is WireTask.TOKEN_LABEL:
            raise CommandError(
                WRONG, f"{known.ref.name} labels words, and what is compared are answers about whole texts"
            )
        port, reading = ask_of(peer, name, named=options.input, tokenizer=options.tokenizer)
        question = Question(
            model=name,
            task=Task.MULTI_LABEL if known.task is WireTask.MULTI_LABEL else Task.SINGLE_LABEL,
            labels=tuple(known.labels),
            port=port,
            reading=reading,
            output=options.output,
            logits=None if options.gives is None else options.gives == "logits",
        )
        asked = compare(lines, lambda text: ours.predict(text, model=options.model).prediction, peer, question)
        return tuple(
            tqdm(asked, total=len(lines), unit="input", file=sys.stderr, disable=not sys.stderr.isatty(), leave=False)
        )
