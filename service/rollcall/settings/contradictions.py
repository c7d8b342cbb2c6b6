"""What must hold between keys."""

from __future__ import annotations

import importlib.util
from dataclasses import fields
from typing import TYPE_CHECKING

from rollcall.settings.kinds import MOST_PORTS
from rollcall.settings.mistakes import Mistake
from rollcall.settings.sections import RepositoryMode, RepositorySettings, TlsSettings
from rollcall.settings.sources import suggestion
from rollcall.settings.whole import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rollcall.settings.keys import Key
    from rollcall.settings.sources import Entry
    from rollcall.settings.whole import Settings

OTLP = "opentelemetry.exporter.otlp.proto.grpc"
"""What only rollcall[otel] brings."""


def contradictions(settings: Settings, names: list[str], winners: Mapping[Key, Entry]) -> Iterator[Mistake]:
    """Everything that does not go together, each with the place of the key to change."""

    def at(*path: str) -> str:
        return winners[path].place if path in winners else ".".join(path)

    if not names and settings.repository.directory is None:
        yield Mistake(
            place="models",
            problem="expected at least one model: a section [models.NAME] with a path, or --model NAME=PATH",
        )
    yield from _of_repository(settings.repository, at)
    may_come = settings.repository.directory is not None
    if settings.default_model is not None and settings.default_model not in names and not may_come:
        close = suggestion(settings.default_model, dict.fromkeys(names))
        yield Mistake(place=at("default_model"), problem=f"no model of this name is configured{close}")
    grpc, admin = settings.grpc, settings.admin
    if grpc.port == admin.port != 0 and grpc.host == admin.host:
        yield Mistake(place=at("admin", "port"), problem=f"expected another port than grpc.port, both are {admin.port}")
    last = admin.port + max(len(settings.devices) - 1, 0)
    if admin.port and admin.host == grpc.host and admin.port < grpc.port <= last:
        problem = f"expected a port that no worker needs for grpc.port; they need {admin.port} to {last} for admin"
        yield Mistake(place=at("grpc", "port"), problem=problem)
    if last > MOST_PORTS:
        yield Mistake(
            place=at("admin", "port"), problem=f"expected ports up to {last}, one for each of devices, to exist"
        )
    for name in names if settings.devices else ():
        if ("models", name, "device") in winners:
            problem = "expected no device for single models where there are devices for processes"
            yield Mistake(place=at("models", name, "device"), problem=problem)
    yield from _unguarded(settings, at)
    yield from _incomplete(settings, at)
    if settings.explain.max_rows > settings.limits.max_rows:
        problem = f"expected at most limits.max_rows, which is {settings.limits.max_rows}"
        yield Mistake(place=at("explain", "max_rows"), problem=problem)


def _unguarded(settings: Settings, at: Callable[..., str]) -> Iterator[Mistake]:
    """Doors that would be open to anyone."""
    auth, grpc = settings.auth, settings.grpc
    if not auth.required:
        who = "where nobody has to say who they are (auth.callers, auth.jwt_keys_file, auth.jwt_keys_url)"
        if not is_loopback(grpc.host) and not auth.dangerously_serve_anyone:
            problem = f"expected a loopback address {who}; or set auth.dangerously_serve_anyone"
            yield Mistake(place=at("grpc", "host"), problem=problem)
        if grpc.reflection and not auth.dangerously_reflect_to_anyone:
            problem = f"expected false {who}; or set auth.dangerously_reflect_to_anyone"
            yield Mistake(place=at("grpc", "reflection"), problem=problem)
        if settings.audit.serve and not is_loopback(grpc.host):
            yield Mistake(place=at("audit", "serve"), problem=f"expected false beyond the loopback {who}")


def _incomplete(settings: Settings, at: Callable[..., str]) -> Iterator[Mistake]:
    """Files and software that are not there, and halves of what belongs together."""
    auth = settings.auth
    files = {("tls", item.name): getattr(settings.tls, item.name) for item in fields(TlsSettings)}
    files |= {("auth", "callers"): auth.callers, ("auth", "jwt_keys_file"): auth.jwt_keys_file}
    files |= {("quota", "tenants"): settings.quota.tenants, ("audit", "patterns"): settings.audit.patterns}
    for path, file in files.items():
        if file is not None and not file.is_file():
            yield Mistake(place=at(*path), problem=f"no file {file}")
    for name, other in (("certificate", "key"), ("key", "certificate"), ("client_ca", "certificate")):
        if getattr(settings.tls, name) is not None and getattr(settings.tls, other) is None:
            yield Mistake(place=at("tls", other), problem=f"is missing: tls.{name} needs it")
    if auth.jwt_keys_file and auth.jwt_keys_url:
        yield Mistake(place=at("auth", "jwt_keys_url"), problem="expected nothing beside auth.jwt_keys_file")
    if settings.traces.endpoint and not _is_installed(OTLP):
        yield Mistake(place=at("traces", "endpoint"), problem="expected rollcall[otel] to be installed")
    for name in ("jwt_issuer", "jwt_audience"):
        if (auth.jwt_keys_file or auth.jwt_keys_url) and not getattr(auth, name):
            yield Mistake(place=at("auth", name), problem="is missing: without it tokens meant for others would do")


def _of_repository(repository: RepositorySettings, at: Callable[..., str]) -> Iterator[Mistake]:
    if repository.directory is not None and not repository.directory.is_dir():
        yield Mistake(place=at("repository", "directory"), problem=f"no directory {repository.directory}")
    if repository.directory is None and repository.mode is not RepositoryMode.NONE:
        yield Mistake(place=at("repository", "mode"), problem="expected a repository.directory, too")


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
