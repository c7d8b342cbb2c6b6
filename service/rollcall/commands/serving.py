"""`rollcall serve`, `check-config` and `token`. Heavy imports wait."""
# ruff: noqa: PLC0415, T201 - imports wait for their command, which prints its answer

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rollcall.domain.identity import Role
from rollcall.ending import DONE, WRONG, CommandError
from rollcall.settings import Entry, Mistake, Settings, SettingsError, Sources, load_settings
from rollcall.verdict.policies import POLICIES

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN_BYTES = 32


def _load(sources: Sources) -> Settings:
    """Read the settings and check what their own room cannot know: which policies there are."""
    settings = load_settings(sources)
    if settings.explain.policy not in POLICIES:
        expected = f"expected one of {', '.join(sorted(POLICIES))}, got {settings.explain.policy!r}"
        raise SettingsError(Mistake(place="explain.policy", problem=expected))
    return settings


def serve_options(parser: argparse.ArgumentParser) -> None:
    """Say what is served, and where."""
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


def serve(options: argparse.Namespace) -> int:
    """Serve until stopped: here, or in a process for each device."""
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


def check_config_options(parser: argparse.ArgumentParser) -> None:
    """Say which file."""
    parser.add_argument("config", type=Path, metavar="FILE", help="settings in TOML")


def check_config(options: argparse.Namespace) -> int:
    """Read a settings file, and the files that it names, as a server would."""
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


def token_options(parser: argparse.ArgumentParser) -> None:
    """Say who gets a token, and what for."""
    roles = [role.value for role in Role]
    parser.add_argument("name", help="who will have it")
    parser.add_argument("--role", action="append", required=True, choices=roles, help="what for; may be repeated")
    parser.add_argument("--tenant", metavar="NAME", help="on whose behalf (default: the name)")


def token(options: argparse.Namespace) -> int:
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
