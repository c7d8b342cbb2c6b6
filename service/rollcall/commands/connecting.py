"""Which server a command asks, as whom, and how long it waits; and what it says where there is no answer."""
# ruff: noqa: PLC0415 - imports wait for their command

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rollcall.domain.verdicts import CheckLevel
from rollcall.ending import FAILED, WRONG, CommandError
from rollcall.settings import CLIENT_PREFIX, DEFAULT_TARGET

if TYPE_CHECKING:
    from rollcall_client import Client
    from rollcall_client import RollcallError as CallFailed

Answer = TypeVar("Answer")
AClient = TypeVar("AClient", bound="Client")

DEFAULT_TIMEOUT_SECONDS = 30.0
THOROUGH_TIMEOUT_SECONDS = 600.0


def target_options(parser: argparse.ArgumentParser, usual: float | None = None) -> None:
    """Say which server, as whom, how long to wait (`usual` seconds unless told otherwise), and how it is written."""
    connection_options(parser)
    _file_option(parser, "token-file", f"holds the token that says who you are; or {CLIENT_PREFIX}TOKEN")
    seconds = f"{DEFAULT_TIMEOUT_SECONDS:g}, for thorough checks {THOROUGH_TIMEOUT_SECONDS:g}"
    parser.add_argument(
        "--timeout",
        type=float,
        metavar="S",
        help=f"seconds to wait (default {seconds if usual is None else format(usual, 'g')})",
    )
    parser.add_argument("--json", action="store_true", help="write JSON")


def connection_options(parser: argparse.ArgumentParser) -> None:
    """Say which server, and by which certificates."""
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


def _variable(name: str, default: str | None = None) -> str | None:
    """What a variable of the environment says for an option that is not given."""
    return os.environ.get(CLIENT_PREFIX + name) or default


def who(options: argparse.Namespace) -> dict[str, Any]:
    """How to connect, and as whom. Raises OSError where the token's file cannot be read."""
    token = options.token_file.read_text().strip() if options.token_file else _variable("TOKEN")
    return {"ca": options.ca, "cert": options.cert, "key": options.key, "token": token}


def ask(
    options: argparse.Namespace, question: Callable[[AClient], Answer], kind: type[AClient] | None = None
) -> Answer:
    """Put a question to the server, through a `kind` of client. Raises CommandError with what is wrong."""
    from rollcall_client import Client
    from rollcall_client import RollcallError as CallFailed

    make: Any = kind or Client
    try:
        with make(options.target, timeout=_seconds(options), **who(options)) as client:
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
