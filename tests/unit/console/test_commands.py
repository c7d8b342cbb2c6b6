"""What the command is told, and what it refuses."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from rollcall.audit.notes import Signer
from rollcall.console.arguments import console_options
from rollcall.console.commands import ConsoleError, connecting, read_options
from rollcall_client import AccessDenied


def options(*arguments: str) -> argparse.Namespace:
    """Read a command line."""
    parser = argparse.ArgumentParser()
    console_options(parser)
    return parser.parse_args(arguments)


def test_everything_that_is_told_is_read(tmp_path: Path) -> None:
    """The log's key and the issuer's secret come from files."""
    key = Signer.generate("log.example").verifier
    (tmp_path / "key").write_text(f"{key.line()}\n")
    (tmp_path / "secret").write_text("hush\n")
    issuer = ("--oidc-issuer", "https://issuer.example", "--oidc-client", "console")
    secret = ("--oidc-secret-file", str(tmp_path / "secret"), "--oidc-sends", "id_token")
    where = ("--public-url", "https://audit.example", "--host", "10.0.0.1", "--log-key", str(tmp_path / "key"))
    read = read_options(options(*issuer, *secret, *where), "server:8001")
    assert (read.log_key, read.target) == (key, "server:8001")
    assert read.open_id is not None
    assert (read.open_id.client_secret, read.open_id.sends) == ("hush", "id_token")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--oidc-issuer", "https://issuer.example"), "needs --oidc-client"),
        (("--host", "0.0.0.0"), "browsers must come by https"),  # noqa: S104 - refused
        (("--log-key", __file__), "--log-key"),
    ],
)
def test_what_cannot_be_is_named(arguments: tuple[str, ...], problem: str) -> None:
    """By its option."""
    with pytest.raises(ConsoleError, match=problem):
        read_options(options(*arguments), "server:8001")


def test_nobody_acts_as_the_consoles_own_certificate() -> None:
    """Whoever has no token is nobody, where the console itself has to show one."""
    with pytest.raises(AccessDenied):
        connecting("server:8001", ca="ca.pem", cert="cert.pem", key="key.pem")(None)
    connecting("server:8001")(None).close()
